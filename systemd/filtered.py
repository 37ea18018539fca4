#!/usr/bin/python3
"""Runs a program under a unit's SystemCallFilter=, where no systemd is running.

    filtered.py UNIT PROGRAM [ARGUMENT...]

What the filter does not allow fails with "operation not permitted", as SystemCallErrorNumber=EPERM has it. Needs systemd-analyze and
Debian's python3-seccomp.
"""

import errno
import os
import subprocess
import sys

import seccomp


def calls_in(name):
    """The system calls that a name stands for: its own or, with an @, a set's."""
    if not name.startswith("@"):
        return {name}
    told = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [line.strip() for line in told.splitlines()[1:]]
    return set().union(*(calls_in(line) for line in lines if line and not line.startswith("#")))


def allowed_by(unit):
    """What the unit's lines allow, one after the other: those with a ~ take away again."""
    with open(unit, encoding="utf-8") as lines:
        filters = [line.split("=", 1)[1].strip() for line in lines if line.startswith("SystemCallFilter=")]
    if not filters or filters[0].startswith("~"):
        sys.exit(f"filtered.py: {unit} has no list of system calls that are allowed")
    # Whatever a program needs to begin and to end.
    allowed = calls_in("@default")
    for words in filters:
        named = set().union(*(calls_in(name) for name in words.lstrip("~").split()))
        allowed = allowed - named if words.startswith("~") else allowed | named
    return allowed


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    unit, program = sys.argv[1], sys.argv[2:]
    rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    for call in allowed_by(unit):
        try:
            rules.add_rule(seccomp.ALLOW, call)
        except (OSError, RuntimeError, ValueError):
            pass  # Another architecture's, or newer than this library.
    rules.load()
    os.execvp(program[0], program)


if __name__ == "__main__":
    main()
