"""Starts what `docker-compose config` prints for deploy/docker-compose.yml, without Docker, until a run is verified.

Usage: python3 tests/deploy/compose.py DOCKER_COMPOSE FOLDER_OF_PROGRAMS FOLDER_OF_TOOLS

A fresh `./dev env-file` and a real docker-compose give every service's environment, command, volumes and health
check. Each service then runs as the image would run it: as user 10001 without a capability, on a root of its own in
which the programs lie where the Dockerfile puts them, in one network where the services' names resolve. Needs Linux
namespaces for this user, and nothing else: ports of the machine are neither used nor seen.
Exit 0: a paid run was verified. Exit 1: something failed, with the end of every log. Exit 4: no namespaces here.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "deploy/docker-compose.yml"
USER = 10001
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Passwords with everything that means something in a URL, in SQL, or in an env file.
AWKWARD = {
    "RUNNER_DB_PASSWORD": "p@ss:w/o r'd\"%#?$x\\", "MODULE_GATE_DB_PASSWORD": "12345", "OBSERVER_NATS_PASSWORD": "9m",
    "RUNNER_NATS_PASSWORD": "a\"b\\c $d #e/f@g:h%41", "MODULE_GATE_NATS_PASSWORD": "true",
}

NEWNS, NEWUSER, NEWNET = 0x20000, 0x10000000, 0x40000000
READ_ONLY, NO_SUID, NO_DEV, NO_EXEC, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 8, 0x1000, 0x4000, 0x40000
libc = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    encoded = [os.fsencode(value) if isinstance(value, (str, os.PathLike)) else value for value in arguments]
    if getattr(libc, name)(*encoded) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name} {arguments}: {os.strerror(error)}")


def mount(source, target, kind=None, flags=0, options=None):
    call("mount", source, target, kind, ctypes.c_ulong(flags), options)


def bind(source, target):
    mount(source, target, None, BIND | RECURSIVE)


def enter_namespaces():
    """A user namespace where we are user 10001, with mounts and a network of its own."""
    user, group = os.getuid(), os.getgid()
    try:
        call("unshare", NEWUSER | NEWNS | NEWNET)
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"{USER} {user} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"{USER} {group} 1")
        mount(None, "/", None, RECURSIVE | PRIVATE)
    except OSError as error:
        print(f"compose: not tried, this system gives no namespaces to this user ({error})")
        sys.exit(4)
    # Brings the loopback interface up: SIOCSIFFLAGS with IFF_UP.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as interface:
        fcntl.ioctl(interface, 0x8914, struct.pack("16sh14x", b"lo", 1))


def mirror(source, target, descend, leave_out):
    """Binds every entry of `source` into `target`; folders of `descend` are made anew, so that they can be added to."""
    for name in os.listdir(source):
        here, there = os.path.join(source, name), os.path.join(target, name)
        if here in leave_out:
            continue
        if os.path.islink(here):
            os.symlink(os.readlink(here), there)
        elif os.path.isdir(here):
            os.mkdir(there)
            if here in descend:
                mirror(here, there, descend, leave_out)
            else:
                bind(here, there)
        elif os.path.isfile(here):
            pathlib.Path(there).touch()
            bind(here, there)


def images(programs, tools):
    """Of every target of the Dockerfile: what it starts, and which files it has."""
    targets, name = {}, None
    for line in (ROOT / "deploy/Dockerfile").read_text().splitlines():
        if match := re.match(r"FROM (\S+) AS (\S+)", line):
            base, name = match.groups()
            parent = targets.get(base, {"files": {}, "start": [], "arguments": []})
            targets[name] = {**parent, "files": dict(parent["files"])}
        elif match := re.match(r"COPY (?:--from=\S+ )?(.+) (\S+)$", line):
            for source in match[1].split():
                place = pathlib.Path(match[2])
                if match[2].endswith("/"):
                    place = place / pathlib.Path(source).name
                targets[name]["files"][place] = local_file(source, programs, tools)
        elif match := re.match(r"(ENTRYPOINT|CMD) (\[.*\])", line):
            key = "start" if match[1] == "ENTRYPOINT" else "arguments"
            targets[name][key] = json.loads(match[2])
    return targets


def local_file(source, programs, tools):
    if source.startswith("/src/target/release/"):
        return programs / pathlib.Path(source).name
    if source.startswith("/src/"):
        return ROOT / source.removeprefix("/src/")
    if source == "/usr/local/bin/node":
        return (tools / "node/bin/node").resolve()
    return ROOT / source


class Deployment:
    """The services of one Compose project."""

    def __init__(self, docker_compose, programs, tools, folder):
        self.folder, self.tools = folder, tools
        self.images = images(programs, tools)
        self.environment_file = folder / ".env"
        # A person may choose passwords before the rest is made.
        self.environment_file.write_text("".join(f"{name}='{value}'\n" for name, value in AWKWARD.items() if "'" not in value))
        with open(self.environment_file, "a") as file:
            escaped = AWKWARD["RUNNER_DB_PASSWORD"].replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
            file.write(f'RUNNER_DB_PASSWORD="{escaped}"\n')
        subprocess.run([ROOT / "dev", "env-file", self.environment_file], check=True, capture_output=True)
        command = [docker_compose, "--env-file", self.environment_file, "-f", COMPOSE, "--profile", "tools"]
        clean = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        printed = subprocess.run([*command, "config", "--format", "json"], env=clean, capture_output=True, text=True)
        if printed.returncode != 0 or printed.stderr:
            raise RuntimeError(f"docker-compose config: {printed.stderr}")
        # The printed file could be read again, so a dollar is printed twice.
        self.services = json.loads(printed.stdout.replace("$$", "$"))["services"]
        self.running, self.logs = {}, {}

    def build_root(self):
        """What the base image has, from this machine's own folders."""
        self.root = self.folder / "root"
        self.root.mkdir()
        mount("tmpfs", self.root, "tmpfs", NO_SUID | NO_DEV, "mode=755")
        ours = {path for image in self.images.values() for path in image["files"]}
        leave_out = {str(path) for path in ours} | {"/etc/hosts", "/etc/passwd", "/etc/group", "/etc/lumio", "/scratch", "/var/lib/lumio", "/docker-entrypoint-initdb.d"}
        descend = {"/etc", "/usr", "/usr/local", "/usr/local/bin", "/var", "/var/lib"}
        # A mount point that this machine lacks cannot be made inside a folder of its own, so that
        # folder is left out.
        for target in self.mount_points():
            if not os.path.exists(target):
                chain = [str(path) for path in [target, *target.parents]]
                leave_out.add(next(path for path in chain if path in leave_out or str(pathlib.Path(path).parent) in descend | {"/"}))
        mirror("/", str(self.root), descend, leave_out)
        hosts = " ".join(self.services)
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost {hosts}\n")
        (self.root / "etc/passwd").write_text(f"lumio:x:{USER}:{USER}::/nonexistent:/usr/sbin/nologin\n")
        (self.root / "etc/group").write_text(f"lumio:x:{USER}:\n")
        for folder in ("etc/lumio", "scratch", "var/lib/lumio", "docker-entrypoint-initdb.d"):
            (self.root / folder).mkdir(parents=True)
        self.add_program("nats-server", self.tools / "nats/nats-server")

    def mount_points(self):
        for service in self.services.values():
            yield from (pathlib.Path(volume["target"]) for volume in service.get("volumes", []))
            yield from (pathlib.Path(mount.partition(":")[0]) for mount in service.get("tmpfs", []))

    def add_program(self, name, source):
        place = self.root / "usr/local/bin" / name
        place.touch()
        bind(source, place)

    def enter(self, name):
        """Runs in the child, before it becomes the service: its own mounts, then the root of its image."""
        try:
            self.mount_and_change_root(name)
        except OSError:
            traceback.print_exc()
            raise

    def mount_and_change_root(self, name):
        service = self.services[name]
        call("prctl", 1, signal.SIGKILL)
        call("unshare", NEWNS)
        kept = {path: self.folder / f"kept{place}" for place, path in enumerate((ROOT, self.tools, self.folder))}
        for path, keep in kept.items():
            bind(path, keep)
        target = service.get("build", {}).get("target")
        for place, source in self.images.get(target, {"files": {}})["files"].items():
            self.put(source, self.root / str(place)[1:])
        for entry in service.get("tmpfs", []):
            place, _, options = entry.partition(":")
            flags = NO_SUID | NO_DEV | (0 if "exec" in options.split(",") else NO_EXEC)
            options = ",".join(option for option in options.split(",") if option not in ("", "exec"))
            mount("tmpfs", self.root / place[1:], "tmpfs", flags, options)
            if place == "/tmp":
                # This checkout itself may lie in /tmp.
                for path, keep in kept.items():
                    if path.is_relative_to("/tmp"):
                        (self.root / str(path)[1:]).mkdir(parents=True, exist_ok=True)
                        bind(keep, self.root / str(path)[1:])
        for volume in service.get("volumes", []):
            source = pathlib.Path(volume["source"])
            if volume["type"] == "volume":
                source = self.folder / "volumes" / volume["source"]
                source.mkdir(parents=True, exist_ok=True)
            self.put(source, self.root / volume["target"][1:])
        os.chroot(self.root)
        os.chdir(service.get("working_dir", "/var/lib/lumio"))

    @staticmethod
    def put(source, place):
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.mkdir() if source.is_dir() else place.touch()
        bind(source, place)

    def command(self, name):
        service = self.services[name]
        image = self.images.get(service.get("build", {}).get("target"), {"start": [], "arguments": []})
        start = service.get("entrypoint") or image["start"]
        arguments = service.get("command")
        return start, image["arguments"] if arguments is None else arguments

    def environment(self, name):
        printed = self.services[name].get("environment") or {}
        return {"PATH": PATH, "HOME": "/"} | {key: value or "" for key, value in printed.items()}

    def spawn(self, name, command, further=None, **options):
        return subprocess.Popen(
            command, env=self.environment(name) | (further or {}), preexec_fn=lambda: self.enter(name), **options
        )

    def start(self, name):
        print(f"compose: {name}", flush=True)
        start, arguments = self.command(name)
        if name == "postgres":
            start, arguments = ["sh", "-c", POSTGRES_IMAGE.replace("BIN", str(self.tools / "pg/bin"))], []
        if name == "nats":
            start = ["nats-server"]
        self.logs[name] = self.folder / f"{name}.log"
        with open(self.logs[name], "wb") as log:
            self.running[name] = self.spawn(name, [*start, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def migrate(self, name):
        """What the jobs of deploy/k8s/base/migrate.yaml do; the service then starts on what they made."""
        start, _ = self.command(name)
        process = self.spawn(name, [*start, "migrate"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        printed, _ = process.communicate()
        if process.returncode != 0 or "is up to date" not in printed:
            raise RuntimeError(f"{name} migrate ended with {process.returncode}: {printed}")

    def healthy(self, name):
        check = self.services[name]["healthcheck"]["test"]
        if check[1] == "wget":
            try:
                return urllib.request.urlopen(check[-1], timeout=5).status == 200
            except OSError:
                return False
        command = check[1:]
        if command[0] == "pg_isready":
            command = [str(self.tools / "pg/bin/psql"), *command[1:], "-d", "runner", "-w", "-c", "SELECT 1"]
            further = {"PGPASSWORD": self.services[name]["environment"]["POSTGRES_PASSWORD"]}
        else:
            further = {}
        check = self.spawn(name, command, further, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return check.wait() == 0

    def ask_database(self, role, password, database):
        """How psql ends, and what it says, when a role asks a database for its name."""
        command = [str(self.tools / "pg/bin/psql"), "-h", "127.0.0.1", "-U", role, "-d", database, "-w", "-A", "-t"]
        command += ["-c", "SELECT current_database()"]
        process = self.spawn(
            "postgres", command, {"PGPASSWORD": password}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        said, _ = process.communicate()
        return process.returncode, said.strip()

    def wait_for(self, name, condition):
        deadline = time.monotonic() + 180
        process = self.running[name]
        while time.monotonic() < deadline:
            ended = process.poll()
            if condition == "service_completed_successfully" and ended == 0:
                return
            if ended is not None:
                raise RuntimeError(f"{name} ended with {ended}")
            if condition == "service_healthy" and self.healthy(name):
                return
            time.sleep(0.2)
        raise RuntimeError(f"{name}: {condition} does not come true")

    def up(self):
        """In the order of depends_on, as `docker compose up` does."""
        todo = [name for name, service in self.services.items() if not service.get("profiles")]
        while todo:
            ready = [name for name in todo if not set(self.services[name].get("depends_on", {})) & set(todo)]
            for name in ready:
                for other, dependency in self.services[name].get("depends_on", {}).items():
                    self.wait_for(other, dependency["condition"])
                if name in ("runner", "oracle-gate", "module-gate"):
                    self.migrate(name)
                self.start(name)
                todo.remove(name)
        self.wait_for("runner", "service_healthy")

    def lumio(self, *arguments, stdin=None):
        """`docker compose run --rm lumio …`."""
        start, _ = self.command("lumio")
        process = self.spawn(
            "lumio", [*start, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        output, errors = process.communicate(stdin)
        if process.returncode != 0:
            raise RuntimeError(f"lumio {' '.join(arguments)}: {output}{errors}")
        return output + errors

    def down(self):
        for process in reversed(self.running.values()):
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        if "postgres" in self.running:
            # Ended early, the entry point leaves the first server, which belongs to no process here.
            stop = [str(self.tools / "pg/bin/pg_ctl"), "-D", "/var/lib/postgresql/data", "-m", "fast", "stop"]
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                self.spawn("postgres", stop, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait()


# The entry point of the image of Postgres, as far as it matters here: it makes the data folder,
# runs the scripts against a server that listens on a local socket alone, then starts the real one.
POSTGRES_IMAGE = r"""
set -eu
data=/var/lib/postgresql/data
if [ ! -s $data/PG_VERSION ]; then
    printf %s "$POSTGRES_PASSWORD" >/var/lib/postgresql/password
    BIN/initdb -D $data -U "$POSTGRES_USER" --pwfile=/var/lib/postgresql/password --auth-local=trust --auth-host=scram-sha-256 >/dev/null
    rm /var/lib/postgresql/password
    BIN/pg_ctl -D $data -o '-c listen_addresses= -k /var/lib/postgresql' -w start >/dev/null
    for script in /docker-entrypoint-initdb.d/*; do PATH="BIN:$PATH" PGHOST=/var/lib/postgresql "$script"; done
    BIN/pg_ctl -D $data -m fast -w stop >/dev/null
fi
exec BIN/postgres -D $data -h 0.0.0.0 -k /var/lib/postgresql
"""


def serves_console():
    """What a newcomer's browser loads first: the page under its policy, all that it names, and its configuration."""
    gateway = "http://localhost:4000"
    page = urllib.request.urlopen(f"{gateway}/", timeout=10)
    policy, text = page.headers["content-security-policy"] or "", page.read().decode()
    if "default-src 'none'" not in policy or "unsafe" in policy.replace("wasm-unsafe-eval", ""):
        raise RuntimeError(f"GET /: the policy is {policy!r}")
    if "connect-src 'self' http://localhost:8000" not in policy:
        raise RuntimeError(f"GET /: the policy does not let the page ask the node: {policy!r}")
    named = re.findall(r'(?:src|href)="(/[^"]+)"', text)
    if '<div id="root"' not in text or not any(path.endswith(".js") for path in named):
        raise RuntimeError(f"GET /: not the console: {text[:300]!r}")
    for path in named:
        if not urllib.request.urlopen(f"{gateway}{path}", timeout=10).read():
            raise RuntimeError(f"GET {path}: an empty file")
    config = json.load(urllib.request.urlopen(f"{gateway}/config.json", timeout=10))
    # The node by the address at which it is published, not by a name that only containers know.
    asked = urllib.request.Request(
        config["rpcUrl"], b'{"jsonrpc":"2.0","id":1,"method":"getNetwork"}', {"content-type": "application/json", "origin": gateway}
    )
    answer = urllib.request.urlopen(asked, timeout=10)
    if json.load(answer)["result"]["passphrase"] != config["networkPassphrase"] or not answer.headers["access-control-allow-origin"]:
        raise RuntimeError("the node that the console names does not answer a browser for this network")
    return f"console: {len(named)} files"


def keeps_databases_apart(deployment):
    """Each service's role reads its own database and gets into none of the others."""
    passwords = deployment.services["postgres"]["environment"]
    roles = {name: passwords[f"{name.upper()}_DB_PASSWORD"] for name in ("runner", "oracle_gate", "module_gate")}
    for role, password in roles.items():
        for database in roles:
            code, said = deployment.ask_database(role, password, database)
            expected = (0, database) if role == database else (2, f'permission denied for database "{database}"')
            if code != expected[0] or expected[1] not in said:
                raise RuntimeError(f"Postgres: {role} asks {database}: {said}")
    return "databases: each role has its own and no other"


def must_log_in(deployment):
    """The gateway shows nothing to a caller who did not prove an account."""
    try:
        deployment.lumio("run", "list")
    except RuntimeError as refused:
        if "login" in str(refused):
            return
        raise
    raise RuntimeError("lumio run list: answered without a login")


def page_commands():
    """The commands below "A paid run" in docs/operations/install.md: their words, and what they read."""
    page = (ROOT / "docs/operations/install.md").read_text().split("\n### A paid run\n")[1]
    # The first lines say what `lumio` and `$runner` are there.
    block = page.split("```sh\n")[1].split("```")[0].split("\n\n", 1)[1]
    for line in block.replace("|\n", "|").splitlines():
        words, given = shlex.split(line, comments=True), None
        if words[:2] == ["printf", "%s"]:
            given, words = words[2], words[words.index("|") + 1 :]
        if words[:1] != ["lumio"]:
            raise RuntimeError(f"docs/operations/install.md: not known here: {line}")
        yield words[1:], given


def paid_run(deployment):
    """What docs/operations/install.md does after `docker compose up`, unchanged."""
    runner, run, proof = deployment.services["runner"]["environment"]["RUNNER_PUBLIC_KEY"], None, None
    for words, given in page_commands():
        words = [{"$runner": runner, "RUN": run}.get(word, word) for word in words]
        if words[0] == "login":
            must_log_in(deployment)
        printed = deployment.lumio(*words, stdin=given)
        if words[:2] == ["run", "start"]:
            run = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", printed)[0]
        if words[0] == "verify":
            proof = printed
    if not proof:
        raise RuntimeError("docs/operations/install.md: its commands no longer end with `lumio verify`")
    print(proof)
    return run


def in_namespaces(docker_compose, programs, tools, folder):
    deployment = Deployment(docker_compose, programs, tools, folder)
    enter_namespaces()
    deployment.build_root()
    try:
        deployment.up()
        print(f"compose: {keeps_databases_apart(deployment)}")
        print(f"compose: {serves_console()}")
        print(f"compose: run {paid_run(deployment)} is verified")
        return 0
    except (RuntimeError, OSError, TypeError, KeyError, ValueError, subprocess.SubprocessError) as error:
        for name, log in deployment.logs.items():
            print(f"--- {name}\n{log.read_text(errors='replace')[-2000:]}")
        print(f"compose: {error}")
        return 1
    finally:
        deployment.down()


def main():
    docker_compose, programs, tools = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lumio-compose-"))
    folder.chmod(0o711)
    for place in range(3):
        (folder / f"kept{place}").mkdir()
    # Ended from outside, it ends its services and removes their folder all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # This process never sees the mounts, so that removing the folder cannot reach through one.
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = in_namespaces(docker_compose, programs, tools, folder)
        except SystemExit as error:
            code = error.code
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except SystemExit:
        # The signal was for the child as well: both are of one process group.
        os.waitpid(child, 0)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
