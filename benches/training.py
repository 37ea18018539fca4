#!/usr/bin/env python3
"""A training step of `train fit` beside PyTorch's: the same U-Net, the same batch, the same cores.

    training.py [--train target/release/train] [--steps 40] [--rounds 3]

A step is forward, loss, backward and update. Both take crops that are ready: PyTorch's are random numbers, and `train fit`
tells how long it waited for its own, which is taken off. Median of the steps of all rounds, each round one after the other;
the first five steps of each are left out. Needs torch and numpy; `make bench-training` puts them into a virtual environment.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from peers import unet

CASES = [(16, 4, 224), (32, 2, 448)]
SKIPPED = 5
# With which of PyTorch's runs each is held.
PRECISIONS = {"f32": 0, "f32-grade": 0, "bf16": 1}


def torch_steps(width, batch, side, steps, autocast):
    import torch

    torch.manual_seed(1)
    net = unet(width, bilinear=True).train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4, nesterov=True)
    x = torch.randn(batch, 1, side, side).to(memory_format=torch.channels_last)
    label = (torch.rand(batch, 1, side, side) > 0.99).float()

    def loss_of(logits):
        p = torch.sigmoid(logits.float())
        tp, fp, fn = (p * label).sum(), (p * (1 - label)).sum(), ((1 - p) * label).sum()
        tversky = (tp + 1) / (tp + 0.5 * fp + 0.5 * fn + 1)
        focal = torch.where(label > 0.5, (1 - p) ** 2 * -torch.log(p + 1e-7), p**2 * -torch.log(1 - p + 1e-7)).mean()
        return 0.5 * focal + 0.5 * (-torch.log(tversky)) ** 0.3

    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = net(x)
        loss_of(logits).backward()
        optimiser.step()
        seconds.append(time.perf_counter() - start)
    return seconds[SKIPPED:]


def own_steps(train, width, batch, side, steps, precision):
    with tempfile.TemporaryDirectory() as folder:
        command = [train, "fit", "--simulate", "laser", "--base-width", width, "--batch", batch, "--crop", side, "--steps", steps,
                   "--eval-every", 10 * steps, "--validation-wafers", 1, "--precision", precision, "--out", f"{folder}/model.safetensors"]
        subprocess.run([str(part) for part in command], check=True, stderr=subprocess.DEVNULL)
        log = [json.loads(line) for line in pathlib.Path(f"{folder}/model.jsonl").read_text().splitlines()]
    told = [line for line in log if line["event"] == "step"]
    took = [b["elapsed_s"] - a["elapsed_s"] - b["waited_s"] for a, b in zip(told, told[1:])]
    return took[SKIPPED - 1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", default="target/release/train")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        width, batch, side, autocast = map(int, options.peer)
        print(json.dumps(torch_steps(width, batch, side, options.steps, bool(autocast))))
        return
    print(f"seconds a step, {os.cpu_count()} cores\n\n| | torch f32 | torch bf16 autocast | train fit f32, of torch f32 | f32-grade, of torch f32 | bf16, of autocast |\n|---|---|---|---|---|---|")
    for width, batch, side in CASES:
        found = {name: [] for name in (0, 1, *PRECISIONS)}
        for _ in range(options.rounds):
            for autocast in (0, 1):
                command = [sys.executable, __file__, "--steps", options.steps, "--peer", width, batch, side, autocast]
                told = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE)
                found[autocast] += json.loads(told.stdout.decode().splitlines()[-1])
            for precision in PRECISIONS:
                found[precision] += own_steps(options.train, width, batch, side, options.steps, precision)
        took = {key: statistics.median(seconds) for key, seconds in found.items()}
        own = (f"{took[name]:.3f} ({took[name] / took[peer]:.2f} ×)" for name, peer in PRECISIONS.items())
        print(f"| base {width}, {batch} × {side}² | {took[0]:.3f} | {took[1]:.3f} | {' | '.join(own)} |", flush=True)


if __name__ == "__main__":
    main()
