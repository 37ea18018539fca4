#!/usr/bin/env python3
"""Shows a folder of pictures of cells to `hairline run` and tells its verdicts. Needs Python 3.9 and nothing else.

    measure.py [--pictures DIR] [--labels CSV] [--model FILE] [--hairline PROGRAM] [--masks DIR]

Prints a line for each picture: name, verdict, score, longest cracks in mm. With --labels (file name and
probability of a defect, with a header line) it ends with the area under the ROC curve of the score.
"""
import argparse
import csv
import json
import pathlib
import re
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FEED, REQUESTS = "tcp://127.0.0.1:26556", "tcp://127.0.0.1:26557"
ENDINGS = {".png", ".jpg", ".jpeg", ".tif", ".tiff"}

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--pictures", type=pathlib.Path, default=ROOT / "tests/fixtures/pvcracks-el")
arguments.add_argument("--labels", type=pathlib.Path)
arguments.add_argument("--model", type=pathlib.Path)
arguments.add_argument("--hairline", type=pathlib.Path, default=ROOT / "target/release/hairline")
arguments.add_argument("--masks", type=pathlib.Path, help="folder for the masks")
told = arguments.parse_args()

names = sorted(p.name for p in told.pictures.iterdir() if p.suffix.lower() in ENDINGS)
with tempfile.TemporaryDirectory() as folder:
    station = (HERE / "station.toml").read_text()
    model = told.model or (HERE / re.search(r'model = "(.*)"', station)[1])
    paths = {"data_dir": f"{folder}/ledger", "model": model.resolve(), "path": told.pictures.resolve(), "recipe": HERE / "recipe.toml"}
    for key, path in paths.items():
        station = re.sub(rf'(?m)^{key} = ".*"', f'{key} = "{path}"', station)
    config = pathlib.Path(folder, "station.toml")
    config.write_text(station)
    count = str(len(names))
    listen = [told.hairline, "listen", "--connect", FEED, "--requests", REQUESTS, "--json", "--count", count]
    if told.masks:
        listen += ["--save", told.masks]
    with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True) as listener:
        try:
            line = subprocess.run([told.hairline, "run", "--config", config, "--cells", count], stderr=subprocess.PIPE, text=True)
            if line.returncode:
                raise SystemExit(f"measure.py: hairline run failed:\n{line.stderr}")
            lines, _ = listener.communicate(timeout=30)
        finally:
            listener.kill()
heard = [json.loads(line) for line in lines.splitlines()]
cells = {cell["number"]: cell for cell in heard if cell["schema"] == "hairline.verdict/1"}

scores = {}
for number, name in enumerate(names, 1):
    cell = cells[number]
    longest = sorted((defect["length_mm"] for defect in cell["defects"]), reverse=True)[:4]
    if cell["score"] is not None:
        scores[name] = cell["score"]
    print(f"{name:24} {cell['verdict']:7} {cell['score'] or 0:.4f}  {' '.join(f'{mm:.1f}' for mm in longest)} {cell['hold'] or ''}")
verdicts = [cell["verdict"] for cell in cells.values()]
print(", ".join(f"{verdicts.count(kind)} {kind}" for kind in ("pass", "reject", "hold")))

if told.labels:
    with told.labels.open() as file:
        label = {name: float(probability) > 0.5 for name, probability in list(csv.reader(file))[1:]}
    bad = [score for name, score in scores.items() if label[name]]
    good = [score for name, score in scores.items() if not label[name]]
    wins = sum((b > g) + 0.5 * (b == g) for b in bad for g in good)
    rejected = [name for number, name in enumerate(names, 1) if cells[number]["verdict"] == "reject"]
    print(f"{len(bad)} bad and {len(good)} good cells scored: AUROC {wins / (len(bad) * len(good)):.3f}")
    print(f"rejected: {sum(label[n] for n in rejected)} bad, {sum(not label[n] for n in rejected)} good")
