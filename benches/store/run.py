#!/usr/bin/env python3
"""Measures `oracle-gate seal` and `check` beside the tools that a user would type instead.

All tools run in one run, one after the other, round by round, so that whatever slows the machine down
slows all of them; ratios are of the best round of each. Nothing but the folder given is written to, and
it is removed again.

  benches/store/run.py --oracle-gate target/release/oracle-gate --work /var/tmp/bench [--rounds 5]
                       [--only NAME] [--json FILE] [--bagit PYTHON]

`--bagit` names a Python that has `bagit` installed; without it that column is left out.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

GIB = 1 << 30

# name: files, bytes of each, whether the file is sparse
CORPORA = {
    "many-large": (200, 10 * 1024 * 1024, False),
    "few-large": (4, 512 * 1024 * 1024, False),
    "small": (10_000, 4096, False),
    "tiny": (60_000, 100, False),
    "one-large": (1, 4 * GIB, False),
    "huge": (1, 20 * GIB, True),
}

PROFILE = """profile_id: local
policy: {lenient: true, require_gate_pass: false}
wiring:
  oracle_root: store
  engine_catalogue_path: catalogue.yaml
  gate_map_path: gates.yaml
"""
CATALOGUE = "outputs:\n  - output_id: all\n    read_requires_gates: []\n"
GATES = "gates: []\n"


def make(folder, files, size, sparse):
    """Random bytes: nothing on the way may compress them."""
    data = os.path.join(folder, "store", "pack", "data")
    os.makedirs(data)
    block = os.urandom(min(size, 1 << 20) + files)
    for number in range(files):
        path = os.path.join(data, f"{number // 1000:03}")
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, f"part-{number:06}"), "wb") as out:
            if sparse:
                out.truncate(size)
                continue
            left = size
            while left:
                piece = block[number : number + min(left, 1 << 20)]
                out.write(piece)
                left -= len(piece)


def view(folder):
    """A facts view of one output; the pack's inventory makes a check read every file."""
    run, digest = "0" * 32, "a" * 64
    pins = {
        "manifest_fingerprint": digest,
        "parameter_hash": digest,
        "scenario_id": "bench",
        "seed": 1,
        "run_id": run,
    }
    locator = {"output_id": "all", "path": "pack/data/000/part-000000", "manifest_fingerprint": digest}
    document = {
        "run_id": run,
        "pins": pins,
        "locators": [locator],
        "gate_receipts": [],
        "policy_rev": {"policy_id": "bench", "revision": "1", "content_digest": digest},
        "bundle_hash": digest,
        "plan_ref": "sr/plan",
        "record_ref": "sr/record",
        "status_ref": "sr/status",
    }
    with open(os.path.join(folder, "view.json"), "w") as out:
        json.dump(document, out)


def cpu():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def timed(command, folder, expected=(0,)):
    """Seconds of the clock, and seconds of processors with all processes of the command."""
    begun, used = time.monotonic(), cpu()
    done = subprocess.run(command, cwd=folder, shell=isinstance(command, str), capture_output=True)
    took = time.monotonic() - begun, cpu() - used
    if done.returncode not in expected:
        sys.exit(f"{command}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return took


def memory(command, folder):
    """The largest memory of one call, in MiB, by a process of its own that waits for it."""
    script = (
        "import resource,subprocess,sys\n"
        "subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], cwd=folder, capture_output=True)
    return int(done.stdout) / 1024


def unseal(folder):
    for name in ("_SEALED.json", "_oracle_pack_manifest.json"):
        path = os.path.join(folder, "store", "pack", name)
        if os.path.exists(path):
            os.remove(path)


def measure(name, arguments, cores, hash_rate):
    files, size, sparse = CORPORA[name]
    folder = tempfile.mkdtemp(prefix=f"{name}-", dir=arguments.work)
    try:
        make(folder, files, size, sparse)
        for file, text in (("profile.yaml", PROFILE), ("catalogue.yaml", CATALOGUE), ("gates.yaml", GATES)):
            with open(os.path.join(folder, file), "w") as out:
                out.write(text)
        view(folder)
        program = os.path.abspath(arguments.oracle_gate)
        seal = [program, "seal", "--profile", "profile.yaml", "--run-facts-ref", "view.json"]
        seal += ["--pack-root", "pack"]
        check = [program, "check", "--profile", "profile.yaml", "--run-facts-ref", "view.json"]
        find = "find store/pack/data -type f -print0"
        each = max(1, files // (cores * 8))
        commands = {
            "seal": seal,
            "check": check,
            "openssl dgst": f"{find} | xargs -0 -P{cores} -n{each} openssl dgst -sha256 > /dev/null",
            "sha256sum": f"{find} | xargs -0 -P{cores} -n{each} sha256sum > /dev/null",
        }
        if arguments.bagit and not sparse:
            bag = os.path.join(folder, "bag")
            os.makedirs(bag)
            shutil.copytree(os.path.join(folder, "store/pack/data"), os.path.join(bag, "x"))
            python = [arguments.bagit, "-m", "bagit", "--quiet"]
            timed([*python, "--sha256", bag], folder)
            commands["bagit"] = [*python, "--validate", "--processes", str(cores), bag]
        rounds = 1 if sparse else arguments.rounds
        best, cpus = {}, {}
        for _ in range(rounds):
            for tool, command in commands.items():
                if tool == "seal":
                    unseal(folder)
                # The bundle hash of this view is not its own: exit 1, after every byte was read.
                took, used = timed(command, folder, (0, 1) if tool == "check" else (0,))
                best[tool] = min(best.get(tool, took), took)
                cpus[tool] = min(cpus.get(tool, used), used)
        peak = memory(check, folder)
        unseal(folder)
        peak_seal = memory(seal, folder)
    finally:
        shutil.rmtree(folder)
    total = files * size
    rates = {tool: total / took / 1e6 for tool, took in best.items()}
    return {
        "corpus": name,
        "files": files,
        "bytes": total,
        "seconds": best,
        "cpu_seconds": cpus,
        "mb_per_second": rates,
        "check_of_cores_x_openssl_speed": rates["check"] / (cores * hash_rate),
        "check_of_best_other": rates["check"] / max(r for t, r in rates.items() if t not in ("seal", "check")),
        "seal_over_check_time": best["seal"] / best["check"],
        "peak_mib": {"check": peak, "seal": peak_seal},
    }


def openssl_speed():
    """MB/s of SHA-256 on one core, in blocks of 1 MiB."""
    command = ["openssl", "speed", "-elapsed", "-seconds", "2", "-bytes", "1048576", "-evp", "sha256"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    line = [line for line in done.stdout.splitlines() if line.lower().startswith("sha256")][-1]
    return float(line.split()[-1].rstrip("k")) / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--oracle-gate", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", choices=sorted(CORPORA))
    parser.add_argument("--json")
    parser.add_argument("--bagit", help="a Python with bagit")
    arguments = parser.parse_args()
    os.makedirs(arguments.work, exist_ok=True)
    cores = len(os.sched_getaffinity(0))
    hash_rate = openssl_speed()
    print(f"{cores} cores; openssl speed sha256, one core: {hash_rate:.0f} MB/s")
    results = []
    tools = ["seal", "check", "openssl dgst", "sha256sum", "bagit"]
    print("| corpus | " + " | ".join(tools) + " | check / (cores x speed) | check / best other | seal / check | peak MiB |")
    print("|---|" + "--:|" * (len(tools) + 4))
    for name in arguments.only or CORPORA:
        result = measure(name, arguments, cores, hash_rate)
        results.append(result)
        cells = []
        for tool in tools:
            took = result["seconds"].get(tool)
            rate = result["mb_per_second"].get(tool)
            used = result["cpu_seconds"].get(tool)
            cells.append("" if took is None else f"{took:.2f} s, {rate:.0f} MB/s, {used:.2f} s CPU")
        peak = result["peak_mib"]
        print(
            f"| {name} | " + " | ".join(cells)
            + f" | {result['check_of_cores_x_openssl_speed']:.2f}"
            + f" | {result['check_of_best_other']:.2f}"
            + f" | {result['seal_over_check_time']:.2f}"
            + f" | {peak['check']:.0f}, {peak['seal']:.0f} |",
            flush=True,
        )
    if arguments.json:
        with open(arguments.json, "w") as out:
            json.dump({"cores": cores, "openssl_speed_mb": hash_rate, "results": results}, out, indent=2)


if __name__ == "__main__":
    main()
