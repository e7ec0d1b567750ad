"""Runs a command that starts a stack, and tries all the while, as another user, to read what the stack keeps secret.

Usage: python3 tests/deploy/unread.py FOLDER COMMAND [ARGUMENT ...]

FOLDER is the stack's (LUMIO_RUN). Its files of secrets are tried as long as the command runs and once more at its end,
when every other file that is open to all is searched for the secrets too. Needs root, which alone can act as another
user: for others the command runs unwatched, and that is said.
Exit: as the command. Exit 1: another user could read a secret, and where it is.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

# Owns nothing here. It is not `nobody`, since root's Postgres runs as that and reads its own password.
OTHER = 65533
# A temporary file that becomes one of these has its name with more behind it.
SECRET_FILES = ("secrets.env", "environment", "pgpass", "nats.conf", "model.key", "litellm.json")
SECRET_FOLDERS = {"keys", "sessions"}
# What servers and modules keep: many files, which the command makes none of.
NOT_TRIED = {"postgres", "nats", "chain", "store", "scratch"}
# Shorter values of secrets.env would be found in other texts as well.
LEAST_SECRET = 16
PAUSE_SECS = 0.005


def read_as_other(path, most):
    """The first bytes of a file as another user gets them; none if it is closed to others."""
    os.seteuid(OTHER)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return b""
    finally:
        os.seteuid(0)
    with os.fdopen(handle, "rb") as file:
        return file.read(most) or b""


def files(folder):
    """Every file below the folder, as the path from there."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in NOT_TRIED]
        yield from ((pathlib.Path(place) / name).relative_to(folder) for name in names)


def is_secret(file):
    return file.parts[0].startswith(SECRET_FILES) or not SECRET_FOLDERS.isdisjoint(file.parts[:-1])


def check_reader(folder):
    """The other user reads what is open and nothing else, or what it does not read would prove nothing."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        os.chmod(name, 0o711)
        for file, mode, expected in (("open", 0o644, b"x"), ("closed", 0o600, b"")):
            path = pathlib.Path(name) / file
            path.write_bytes(b"x")
            path.chmod(mode)
            if read_as_other(path, 1) != expected:
                sys.exit(f"unread: the other user does not read as it should: {path}")


def watch(folder, process):
    """The secret files that were there, and those that the other user could read."""
    tried, read = set(), set()
    while True:
        # Asked before the files are tried, so that they are tried once more after the end.
        ended = process.poll() is not None
        for file in files(folder):
            if is_secret(file):
                tried.add(file)
                if read_as_other(folder / file, 1):
                    read.add(file)
        if ended:
            return tried, read
        time.sleep(PAUSE_SECS)


def searched(folder):
    """The other files that are open to all and have a value of secrets.env in them."""
    lines = (folder / "secrets.env").read_bytes().splitlines()
    values = [line.partition(b"=")[2].strip(b"\"'") for line in lines]
    values = [value for value in values if len(value) >= LEAST_SECRET]
    for file in files(folder):
        content = b"" if is_secret(file) else read_as_other(folder / file, 1 << 24)
        if any(value in content for value in values):
            yield file


def main():
    folder, command = pathlib.Path(sys.argv[1]).absolute(), sys.argv[2:]
    if os.getuid() != 0:
        print("unread: skipped, only root can try to read as another user", flush=True)
        os.execvp(command[0], command)
    process = subprocess.Popen(command)
    # Only now, since the command is to run as it would without this.
    os.setgroups([])
    os.setegid(OTHER)
    check_reader(folder)
    tried, read = watch(folder, process)
    if process.returncode != 0:
        sys.exit(process.returncode)
    if pathlib.Path("secrets.env") not in tried:
        sys.exit(f"unread: {folder} has no secrets.env")
    read |= set(searched(folder))
    for file in sorted(read):
        print(f"unread: another user could read {file}")
    print(f"unread: {len(tried)} files of secrets were tried, {len(read)} could be read", flush=True)
    sys.exit(1 if read else 0)


if __name__ == "__main__":
    main()
