#!/usr/bin/env python3
"""The engine beside PyTorch, ONNX Runtime and OpenVINO: the same U-Net, the same cell of nine tiles, the same cores.

    peers.py --hairline target/release/hairline --train target/release/train [--widths 16,32,64] [--rounds 3] [--bilinear]

Every peer runs in a process of its own, one after the other, and all of that several rounds over: on a machine
that others use too, only figures of one run can be compared. Needs torch, onnx, onnxruntime, openvino,
safetensors and numpy; `make bench-peers` puts them into a virtual environment.

The peers' times are for the network alone; Hairline's are those of `hairline bench`, which also makes tiles out of
grey values and 8-bit probabilities out of logits.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

# A tile of 448², as the network sees it: with 8 px of its neighbours to each side.
TILE_PX, TILES = 464, 9
PEERS = [
    # name, environment
    ("openvino bf16", {}),
    ("openvino f32", {}),
    ("openvino int8", {}),
    ("openvino f32", {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    ("onnxruntime f32", {}),
    ("torch f32", {}),
    ("torch bf16", {}),
]
OURS = [
    # precision, further options
    ("bf16", []),
    ("f32-grade", []),
    ("f32", []),
    ("f32-grade", ["--instructions", "avx2"]),
    ("f32", ["--instructions", "avx2"]),
]


def unet(width, bilinear):
    """The U-Net that the checkpoints' names come from, with transposed convolutions or bilinear upsampling."""
    import torch
    from torch import nn

    half = 2 if bilinear else 1

    def double(inputs, outputs, middle=None):
        layers, middle = [], middle or outputs
        for source, target in ((inputs, middle), (middle, outputs)):
            layers += [nn.Conv2d(source, target, 3, padding=1, bias=False), nn.BatchNorm2d(target), nn.ReLU()]
        block = nn.Module()
        block.double_conv = nn.Sequential(*layers)
        return block

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.inc = double(1, width)
            for level in range(1, 5):
                down = nn.Module()
                down.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), double(width << (level - 1), (width << level) // (half if level == 4 else 1)))
                setattr(self, f"down{level}", down)
                inputs = width << (5 - level)
                up = nn.Module()
                if bilinear:
                    up.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
                else:
                    up.up = nn.ConvTranspose2d(inputs, inputs // 2, 2, stride=2)
                outputs = width if level == 4 else inputs // 2 // half
                up.conv = double(inputs, outputs, inputs // 2 if bilinear else outputs)
                setattr(self, f"up{level}", up)
            self.outc = nn.Module()
            self.outc.conv = nn.Conv2d(width, 1, 1)

        def forward(self, x):
            kept = [self.inc.double_conv(x)]
            for level in range(1, 5):
                pool, block = getattr(self, f"down{level}").maxpool_conv
                kept.append(block.double_conv(pool(kept[-1])))
            y = kept.pop()
            for level in range(1, 5):
                up = getattr(self, f"up{level}")
                y = up.conv.double_conv(torch.cat([kept.pop(), up.up(y)], 1))
            return self.outc.conv(y)

    return UNet()


def with_random_weights(width, bilinear):
    """The network, the same one each time, with statistics as after a training."""
    import torch

    torch.manual_seed(width)
    net = unet(width, bilinear).eval()
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.5, 1.5)
            elif isinstance(part, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(part.weight)
    return net


def prepare(folder, width, train, bilinear):
    """Weights, ONNX (also quantised), tiles with their logits, and our checkpoint."""
    import numpy
    import torch
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from safetensors.torch import save_file

    net = with_random_weights(width, bilinear)
    with torch.no_grad():
        tiles = torch.randn(TILES, 1, TILE_PX, TILE_PX)
        logits = net(tiles)
    numpy.savez(f"{folder}/{width}.npz", tiles=tiles.numpy(), logits=logits.numpy())
    weights = {name: value for name, value in net.state_dict().items() if "num_batches" not in name}
    save_file(weights, f"{folder}/{width}.safetensors")
    onnx = f"{folder}/{width}.onnx"
    torch.onnx.export(net, (tiles,), onnx, input_names=["x"], output_names=["y"], opset_version=17, dynamo=False)

    class Tiles(CalibrationDataReader):
        def __init__(self):
            self.left = [{"x": tiles.numpy()}]

        def get_next(self):
            return self.left.pop() if self.left else None

    quantize_static(onnx, f"{folder}/{width}-int8.onnx", Tiles(), quant_format=QuantFormat.QDQ, per_channel=True)
    model = f"{folder}/{width}-hairline.safetensors"
    imported = pathlib.Path(f"{folder}/{width}-imported.safetensors")
    # What an earlier call has kept is prepared anew; neither command takes a file's place.
    for earlier in [imported, pathlib.Path(model)]:
        earlier.unlink(missing_ok=True)
    subprocess.run([train, "import", f"{folder}/{width}.safetensors", "--name", f"{width}-hairline", "--out", imported], check=True, stdout=subprocess.DEVNULL)
    # Random weights find nothing, so that there is no IoU to lose.
    quantise = [train, "quantise", "--model", imported, "--simulate", "laser", "--wafers", "2", "--cracked-share", "1",
                "--calibrate", "1", "--tolerance", "1"]
    prepared = subprocess.run([*quantise, "--out", model], stdout=subprocess.DEVNULL).returncode == 0
    if not prepared:
        imported.rename(model)
    return prepared


def runner(name, folder, width, threads, bilinear):
    """A function that runs the peer once."""
    import numpy

    library, precision = name.split()
    tiles = numpy.load(f"{folder}/{width}.npz")["tiles"]
    if library == "openvino":
        import openvino

        core = openvino.Core()
        model = core.read_model(f"{folder}/{width}{'-int8' if precision == 'int8' else ''}.onnx")
        hint = "f32" if precision == "int8" else precision
        options = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        request = core.compile_model(model, "CPU", options).create_infer_request()
        return lambda: request.infer({0: tiles})[0]
    if library == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(f"{folder}/{width}.onnx", options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"x": tiles})[0]
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(threads)
    net = unet(width, bilinear).eval().to(memory_format=torch.channels_last)
    net.load_state_dict(load_file(f"{folder}/{width}.safetensors"), strict=False)
    batch = torch.from_numpy(tiles).to(memory_format=torch.channels_last)

    def run():
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            return net(batch).float().numpy()

    return run


def peer(name, folder, width, threads, runs, bilinear):
    """One peer in this process: seconds, error and memory as a line of JSON."""
    import numpy

    run = runner(name, folder, width, threads, bilinear)
    wanted = numpy.load(f"{folder}/{width}.npz")["logits"]
    error = float(numpy.abs(numpy.asarray(run(), numpy.float32) - wanted).max())
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    # Not getrusage: a process inherits its parent's peak there.
    status = pathlib.Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1.024e-6
    print(json.dumps({"seconds": seconds, "error": error, "peak_gb": peak}))


def ask_peer(name, environment, folder, width, options):
    command = [sys.executable, __file__, "--peer", name, "--dir", folder, "--widths", str(width), "--threads", str(options.threads), "--runs", str(options.runs)]
    command += ["--bilinear"] * options.bilinear
    answer = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return json.loads(answer.stdout.decode().splitlines()[-1])


def ask_hairline(binary, precision, further, folder, width, threads, runs):
    """`hairline bench`: its medians, and the greatest memory it took."""
    model = f"{folder}/{width}-hairline.safetensors"
    command = [binary, "bench", "--model", model, "--cells", str(runs), "--threads", str(threads), "--precision", precision, *further]
    text = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout.decode()
    stage = lambda name: float(re.search(rf"^{name} +[\d.]+ +([\d.]+)", text, re.M)[1]) / 1e3
    return {"seconds": [stage("network")], "row": stage("last row"), "error": None, "peak_gb": float(re.search(r"^(\d+) MB of memory", text, re.M)[1]) / 1e3}


def table(options, folder):
    for width in options.widths:
        # A processor without the instructions says why it cannot.
        int8 = prepare(folder, width, options.train, options.bilinear)
        results = {}
        for _ in range(options.rounds):
            for name, environment in PEERS:
                label = name + "".join(f" ({value})" for value in environment.values())
                try:
                    results.setdefault(label, []).append(ask_peer(name, environment, folder, width, options))
                except subprocess.CalledProcessError:
                    results.setdefault(label, [])
            for precision, further in OURS + [("int8", [])] * int8:
                label = f"hairline {precision}" + "".join(f" ({value.upper()})" for value in further[1:])
                results.setdefault(label, []).append(ask_hairline(options.hairline, precision, further, folder, width, options.threads, options.runs))
        how = "bilinear" if options.bilinear else "transposed"
        print(f"\nbase {width}, {how}, a cell of {TILES} tiles, {options.threads} threads, {options.rounds} rounds\n")
        print("| | median s | least s | peak GB | largest error |\n|---|---|---|---|---|")
        for label, rounds in results.items():
            if not rounds:
                print(f"| {label} | failed | | | |")
                continue
            seconds = [second for one in rounds for second in one["seconds"]]
            error = "" if rounds[0]["error"] is None else f"{rounds[0]['error']:.0e}"
            peak = max(one["peak_gb"] for one in rounds)
            print(f"| {label} | {statistics.median(seconds):.3f} | {min(seconds):.3f} | {peak:.2f} | {error} |")
            if "row" in rounds[0]:
                row = statistics.median(one["row"] for one in rounds)
                print(f"| {label}, last row | {row:.3f} | | | |")
        sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hairline", default="target/release/hairline")
    parser.add_argument("--train", default="target/release/train")
    parser.add_argument("--widths", default=[16, 32, 64], type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5, help="cells in each round")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--bilinear", action="store_true", help="networks with bilinear upsampling")
    parser.add_argument("--dir", help="keep what is prepared in this folder")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return peer(options.peer, options.dir, options.widths[0], options.threads, options.runs, options.bilinear)
    if options.dir:
        os.makedirs(options.dir, exist_ok=True)
        return table(options, options.dir)
    with tempfile.TemporaryDirectory() as folder:
        table(options, folder)


if __name__ == "__main__":
    main()
