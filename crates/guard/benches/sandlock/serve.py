"""Runs a command under sandlock once for each line it reads, and answers the seconds it took.

    python3 serve.py <root> <command> …

sandlock comes as a library for Python (`pip install sandlock`). It is asked by a process that stays,
so that starting Python is no part of what is measured.
"""

import sys
import time

from sandlock import Sandbox

root, command = sys.argv[1], sys.argv[2:]
for _ in sys.stdin:
    begun = time.perf_counter()
    result = Sandbox(fs_readable=["/"], fs_writable=[root, "/dev"], cwd=root).run(command)
    took = time.perf_counter() - begun
    print(took if result.success else f"failed: {result}", flush=True)
