#!/usr/bin/env python3
"""Collects the licences of everything that is compiled into the programs. Needs Python 3.9, cargo, and nothing else.

    notices.py           checks that every licence is one that may be shipped
    notices.py FILE      and writes their texts to FILE, as they have to go with the programs

What the programs only load when they start (GStreamer, Aravis, libzmq) comes with the distribution and its notices.
"""
import hashlib
import json
import pathlib
import re
import subprocess
import sys

ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC",
    "MIT", "MIT-0", "Unicode-3.0", "Unlicense", "Zlib",
}
TEXTS = re.compile(r"((un)?licen[cs]e|copying|notice|copyright)", re.IGNORECASE)
ROOT = pathlib.Path(__file__).resolve().parent.parent


def may_be_shipped(expression):
    """Whether an SPDX expression, or an old one with slashes, asks for allowed licences only."""
    every = re.split(r"\s+AND\s+", expression.replace("(", "").replace(")", ""))
    return all(any(choice.strip() in ALLOWED for choice in re.split(r"\s+OR\s+|/", part)) for part in every)


def compiled_in(metadata):
    """The packages that end up in the programs, a CUDA build's too: what they depend on, but for build scripts and tests."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    found, left = set(), [metadata["resolve"]["root"]]
    while left:
        here = left.pop()
        if here not in found:
            found.add(here)
            left += [dep["pkg"] for dep in nodes[here]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
    found.remove(metadata["resolve"]["root"])
    return sorted((packages[here] for here in found), key=lambda package: (package["name"], package["version"]))


def main():
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--features", "cudnn", "--filter-platform", "x86_64-unknown-linux-gnu"]
    told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    packages = compiled_in(json.loads(told.stdout))
    refused = [f"{p['name']} {p['version']}: {p['license']}" for p in packages if not may_be_shipped(p["license"] or "unknown")]
    if refused:
        sys.exit("notices.py: these licences are not among the allowed ones; replace the dependency, or allow the licence here:\n  "
                 + "\n  ".join(refused))
    texts, silent = {}, []
    for package in packages:
        folder = pathlib.Path(package["manifest_path"]).parent
        files = sorted(file for file in folder.iterdir() if file.is_file() and TEXTS.match(file.name))
        for file in files:
            text = file.read_text(errors="replace").strip()
            key = hashlib.sha256("".join(text.split()).encode()).digest()
            texts.setdefault(key, (text, []))[1].append(f"{package['name']} {package['version']}")
        if not files:
            silent.append(f"{package['name']} {package['version']} ({package['license']})")
    if len(sys.argv) > 1:
        parts = ["Hairline contains the following libraries, under the licences that follow.\n"]
        parts += [f"{p['name']} {p['version']}: {p['license']}" for p in packages]
        if silent:
            parts.append("\nWithout a licence text of their own: " + ", ".join(silent))
        for text, users in sorted(texts.values(), key=lambda entry: entry[1]):
            parts.append(f"\n{'=' * 100}\n{', '.join(sorted(set(users)))}\n{'-' * 100}\n{text}")
        pathlib.Path(sys.argv[1]).write_text("\n".join(parts) + "\n")
    print(f"licences: {len(packages)} libraries, {len(texts)} texts, all allowed")


if __name__ == "__main__":
    main()
