#!/usr/bin/env python3
"""By which source file a program's time goes: `perf` samples, each in the innermost of our functions that it lies in.

    shares.py target/release/train fit --simulate laser ...

Only the threads that bear the program's own name count: those that make crops or validate have other names. Needs perf (Debian's
linux-perf) and addr2line.
"""

import collections
import re
import subprocess
import sys
import tempfile


def said(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, check=True, **more).stdout


def main():
    program = sys.argv[1]
    with tempfile.NamedTemporaryFile() as data:
        subprocess.run(["perf", "record", "-q", "-e", "cpu-clock", "-F", "500", "-o", data.name, *sys.argv[1:]], check=True)
        loaded = said("perf", "script", "-i", data.name, "--show-mmap-events")
        samples = said("perf", "script", "-i", data.name, "-F", "comm,ip,dso", "-G")
    name = program.rsplit("/", 1)[-1]
    text = re.search(rf"MMAP2.*\[0x([0-9a-f]+)\(.*@ (?:0x)?([0-9a-f]+) .*r-xp .*/{name}$", loaded, re.M)
    segment = re.search(r"LOAD +0x([0-9a-f]+) 0x([0-9a-f]+) .* R E ", said("readelf", "-lW", program))
    # From where it lies in memory to where addr2line looks for it.
    shift = int(text[1], 16) - int(text[2], 16) - int(segment[2], 16) + int(segment[1], 16)
    places, shares = collections.Counter(), collections.Counter()
    for line in samples.splitlines():
        words = line.split()
        if words[0] != name:
            continue
        if line.endswith(f"/{name})"):
            places[int(words[-2], 16) - shift] += 1
        else:
            shares[words[-1]] += 1
    asked = "".join(f"{place:#x}\n" for place in places)
    answers = re.split(r"^0x([0-9a-f]+)\n", said("addr2line", "-e", program, "-i", "-a", input=asked), flags=re.M)[1:]
    for place, frames in zip(answers[::2], answers[1::2]):
        files = re.findall(r"^(.*/src/.*\.rs):", frames, re.M)
        ours = [file for file in files if not re.search("/rustc/|/registry/|/simd/", file)]
        shares[ours[0].rsplit("/src/", 1)[1] if ours else "other"] += places[int(place, 16)]
    for part, count in shares.most_common(20):
        print(f"{100 * count / shares.total():5.1f} %  {part}")


if __name__ == "__main__":
    main()
