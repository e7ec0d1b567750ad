#!/usr/bin/env python3
"""Measures what `module-gate oracles run` takes for one case, beside the bare program started as often.

All commands run in one run, one after the other, round by round, so that whatever slows the machine down
slows all of them. The best and the median of all rounds are printed, with the target where there is one.

  benches/oracles/run.py [--module-gate target/release/module-gate] [--rounds 15] [--reprotest PROGRAM]
                         [--json FILE]

`--reprotest` names Debian's tool of that name, which builds twice in varied surroundings; without it that
line is left out. Exit codes: 0 every target was met by the best round, 1 one was not, 2 a command did not
do what it must, 3 wrong usage.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

EQUAL = 'process.stdout.write("equal\\n");'
DIFFERS = 'process.stdout.write(`${new Date().getTimezoneOffset()}\\n`);'
SCRIPT = "#!/bin/sh\necho equal\n"


def module(root, name, entry, text, effects):
    """A module with one case of two attempts."""
    folder = os.path.join(root, name)
    os.makedirs(os.path.join(folder, "oracles", "specs"))
    manifest = {
        "id": f"bench.{name}",
        "version": "1.0.0",
        "summary": "For a measurement.",
        "entry": entry,
        "provides": ["BenchPort@1"],
        "side_effects": effects,
    }
    with open(os.path.join(folder, "module.json"), "w") as out:
        json.dump(manifest, out)
    with open(os.path.join(folder, entry), "w") as out:
        out.write(text)
    os.chmod(os.path.join(folder, entry), 0o755)
    spec = {"module": f"bench.{name}", "cases": [{"name": "one", "entry": entry, "repeat": 2}]}
    with open(os.path.join(folder, "oracles", "specs", "one.json"), "w") as out:
        json.dump(spec, out)
    return folder


def timed(command, folder, expected):
    begun = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, shell=isinstance(command, str))
    took = (time.monotonic() - begun) * 1000
    if done.returncode != expected:
        text = (done.stdout + done.stderr)[-2000:].decode(errors="replace")
        print(f"{command}: exit {done.returncode}, expected {expected}\n{text}", file=sys.stderr)
        sys.exit(2)
    return took


def commands(arguments, work):
    """Name, command, its folder, its exit code, the target in milliseconds."""
    gate = [os.path.abspath(arguments.module_gate), "oracles", "run", "--modules-root"]
    node = os.environ.get("MODULE_GATE_NODE") or shutil.which("node")
    equal, script, differs = (os.path.join(work, name) for name in ("equal", "script", "differs"))
    inner = module(equal, "node", "main.mjs", EQUAL, [])
    shell = module(script, "shell", "main.sh", SCRIPT, ["Process:shell"])
    module(differs, "zone", "main.mjs", DIFFERS, [])
    none, every = ["--variations", "none"], ["--variations", "all"]
    found = [
        ("a shell script, bare, twice", "./main.sh; ./main.sh", shell, 0, None),
        ("a shell script, two attempts", [*gate, script, *none], work, 0, 150),
        ("a shell script, all variations", [*gate, script, *every], work, 0, 600),
        ("Node, bare, twice", f"{node} main.mjs; {node} main.mjs", inner, 0, None),
        ("Node, two attempts", [*gate, equal, *none], work, 0, 150),
        ("Node, all variations", [*gate, equal, *every], work, 0, 600),
        ("Node, a difference and its cause", [*gate, differs, *every], work, 1, 1500),
    ]
    if arguments.reprotest:
        build = [arguments.reprotest, "--vary=-all,+time,+locales,+timezone,+umask,+environment"]
        command = [*build, "-c", f"{node} main.mjs > out.txt", ".", "out.txt"]
        found.append(("Node, by reprotest", command, inner, 0, None))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--module-gate", default="target/release/module-gate")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--reprotest", help="the program reprotest")
    parser.add_argument("--json", help="writes the figures there")
    try:
        arguments = parser.parse_args()
    except SystemExit as end:
        sys.exit(3 if end.code else 0)
    if not os.access(arguments.module_gate, os.X_OK):
        print(f"{arguments.module_gate} is no program; build it or name another", file=sys.stderr)
        sys.exit(3)

    work = tempfile.mkdtemp(prefix="bench-oracles-")
    # As root, modules run as a user who must get there.
    os.chmod(work, 0o755)
    try:
        all_commands = commands(arguments, work)
        took = {name: [] for name, *_ in all_commands}
        # The first round fills the caches and does not count.
        for number in range(arguments.rounds + 1):
            for name, command, folder, expected, _ in all_commands:
                one = timed(command, folder, expected)
                if number:
                    took[name].append(one)
    finally:
        shutil.rmtree(work)

    print("| what | best ms | median ms | target ms |\n|---|--:|--:|--:|")
    missed = False
    for name, *_, target in all_commands:
        best, median = min(took[name]), statistics.median(took[name])
        missed |= target is not None and best > target
        print(f"| {name} | {best:.0f} | {median:.0f} | {target or ''} |")
    if arguments.json:
        with open(arguments.json, "w") as out:
            json.dump(took, out, indent=1)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
