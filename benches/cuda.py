#!/usr/bin/env python3
"""The engine and `train fit` on CUDA beside PyTorch, compiled, channels-last, bf16: the same U-Net on the same device.

    cuda.py --hairline target/release/hairline --train target/release/train [--widths 16,64] [--bilinear] [--cells 300]
    cuda.py --training [--batch 8] [--steps 60]

A cell is nine tiles of 448². PyTorch's time is from tiles in the device's memory to logits there; Hairline's is that of
`hairline bench`, which begins with grey values and ends with probabilities in the host's memory ("at once": all nine tiles as
one batch; "network": row by row, as on the line). A training step is forward, loss, backward and update. Needs torch, numpy
and safetensors.
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from peers import TILE_PX, TILES, unet, with_random_weights

CROP_PX = 448

SKIPPED = 10


def prepared(folder, width, bilinear, train):
    """The network with random weights, and our checkpoint of it."""
    import torch
    from safetensors.torch import save_file

    net = with_random_weights(width, bilinear)
    with torch.no_grad():
        # Nothing is found, so that judging, which is not timed here, takes no time.
        net.outc.conv.bias.fill_(-100.0)
    weights = {name: value.contiguous() for name, value in net.state_dict().items() if "num_batches" not in name}
    save_file(weights, f"{folder}/{width}.safetensors")
    model = f"{folder}/{width}-hairline.safetensors"
    subprocess.run([train, "import", f"{folder}/{width}.safetensors", "--out", model], check=True, stdout=subprocess.DEVNULL)
    return net, model


def on_device(work, times):
    """Milliseconds of each turn, by the device's clock."""
    import torch

    took = []
    for _ in range(times):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        end.synchronize()
        took.append(start.elapsed_time(end))
    return took


def inference(net, cells):
    import torch

    net = net.cuda().to(memory_format=torch.channels_last, dtype=torch.bfloat16)
    tiles = torch.randn(TILES, 1, TILE_PX, TILE_PX).cuda().to(memory_format=torch.channels_last, dtype=torch.bfloat16)
    compiled = torch.compile(net, mode="reduce-overhead")
    with torch.inference_mode():
        on_device(lambda: compiled(tiles), SKIPPED)
        return on_device(lambda: compiled(tiles), cells)


def ours(hairline, model, cells, further=()):
    command = [hairline, "bench", "--model", model, "--device", "cuda:0", "--precision", "bf16", "--cells", cells, *further]
    text = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True).stdout.decode()
    print(text, flush=True)
    stage = lambda name: [float(value) for value in re.search(rf"^{name} +([\d.]+) +([\d.]+) +([\d.]+)", text, re.M).groups()]
    return stage("at once"), stage("network")


def torch_training(width, batch, steps):
    import torch

    torch.manual_seed(1)
    net = unet(width, bilinear=True).train().cuda().to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4, nesterov=True)
    x = torch.randn(batch, 1, CROP_PX, CROP_PX).cuda().to(memory_format=torch.channels_last)
    label = (torch.rand(batch, 1, CROP_PX, CROP_PX) > 0.99).float().cuda()

    @torch.compile
    def loss_of(x, label):
        with torch.autocast("cuda", torch.bfloat16):
            logits = net(x)
        p = torch.sigmoid(logits.float())
        tp, fp, fn = (p * label).sum(), (p * (1 - label)).sum(), ((1 - p) * label).sum()
        tversky = (tp + 1) / (tp + 0.5 * fp + 0.5 * fn + 1)
        focal = torch.where(label > 0.5, (1 - p) ** 2 * -torch.log(p + 1e-7), p**2 * -torch.log(1 - p + 1e-7)).mean()
        return 0.5 * focal + 0.5 * (-torch.log(tversky)) ** 0.3

    def step():
        optimiser.zero_grad()
        loss_of(x, label).backward()
        optimiser.step()

    on_device(step, SKIPPED)
    return on_device(step, steps)


def own_training(train, width, batch, steps, precision="bf16"):
    with tempfile.TemporaryDirectory() as folder:
        command = [train, "fit", "--simulate", "laser", "--base-width", width, "--batch", batch, "--crop", CROP_PX, "--steps", steps, "--device", "cuda:0",
                   "--eval-every", 10 * steps, "--validation-wafers", 1, "--precision", precision, "--out", f"{folder}/model.safetensors"]
        subprocess.run([str(part) for part in command], check=True, stderr=subprocess.DEVNULL)
        log = [json.loads(line) for line in pathlib.Path(f"{folder}/model.jsonl").read_text().splitlines()]
    told = [line for line in log if line["event"] == "step"]
    took = [1e3 * (b["elapsed_s"] - a["elapsed_s"] - b["waited_s"]) for a, b in zip(told, told[1:])]
    return took[SKIPPED - 1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hairline", default="target/release/hairline")
    parser.add_argument("--train", default="target/release/train")
    parser.add_argument("--widths", default=[16, 64], type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--bilinear", action="store_true")
    parser.add_argument("--cells", type=int, default=300)
    parser.add_argument("--training", action="store_true")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    import torch

    print(torch.cuda.get_device_name(), "torch", torch.__version__, "cuDNN", torch.backends.cudnn.version())
    for width in options.widths:
        if options.training:
            theirs = statistics.median(torch_training(width, options.batch, options.steps))
            mine = statistics.median(own_training(options.train, width, options.batch, options.steps))
            print(f"base {width}, {options.batch} × {CROP_PX}², bf16: torch compiled {theirs:.1f} ms a step, train fit {mine:.1f} ({mine / theirs:.2f} ×)", flush=True)
            continue
        with tempfile.TemporaryDirectory() as folder:
            net, model = prepared(folder, width, options.bilinear, options.train)
            theirs = statistics.median(inference(net, options.cells))
            at_once, rows = ours(options.hairline, model, options.cells)
            how = "bilinear" if options.bilinear else "transposed"
            print(f"base {width} {how}, bf16, ms a cell: torch compiled {theirs:.2f}; at once {at_once[1]:.2f} ({at_once[1] / theirs:.2f} ×), "
                  f"row by row {rows[1]:.2f} (p99 {rows[2]:.2f})", flush=True)


if __name__ == "__main__":
    main()
