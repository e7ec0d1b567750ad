"""Checks deploy/ against the published schemas, docker-compose, and what the services read.

Usage: python3 tests/deploy/check.py FOLDER_OF_PYTHON_PACKAGES DOCKER_COMPOSE KUBECTL [KUBECTL ...]
The folder holds kubernetes-validate from PyPI, with its schemas; DOCKER_COMPOSE is a docker-compose of version 2 or newer;
every KUBECTL has to render the same from each overlay.
Exit 0: all is well. Exit 1: something is wrong, named line by line.
"""

import glob
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import urllib.parse

sys.path[:0] = sys.argv[1:2]

import kubernetes_validate  # noqa: E402  (found by the line above)
import yaml  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
KUBERNETES = [f"1.{minor}" for minor in range(30, 38)]
OVERLAYS = ["local", "dev", "prod"]
# What deploy/k8s/render takes from its environment.
IMAGE = "registry.example/lumio/program@sha256:" + "0" * 64
GIVEN = {
    **{f"{name}_IMAGE": IMAGE for name in ("RUNNER", "ORACLE_GATE", "MODULE_GATE", "LOCALNET")},
    "RUNNER_RPC_URL": "https://rpc.example", "RUNNER_PUBLIC_URL": "https://runner.example",
    "RUNNER_CONTRACT_ID": "C" + "A" * 55, "RUNNER_AGENT_REGISTRY_ID": "C" + "B" * 55,
    # Digits alone, which YAML would read as a number.
    "ORACLE_GATE_ATTESTATION_KEYS": "1" * 64,
}
# Older spellings, and what only tests set.
NOT_DEPLOYED = {"RUNNER_CRASH_AT", "RUNNER_PRIVATE_KEY", "SOROBAN_RPC_URL", "SOROBAN_NETWORK_PASSPHRASE", "PORT"}
# Read by a library on our behalf.
OF_LIBRARIES = {"OTEL_RESOURCE_ATTRIBUTES"}
# Addresses that a service tells others and does not call itself.
NOT_CALLED = {"RUNNER_PUBLIC_URL", "RUNNER_BROWSER_RPC_URL"}
# Given as secrets, which are not in this repository; deploy/k8s/README.md names them.
SECRETS = {
    "runner": {"DATABASE_URL", "NATS_URL", "RUNNER_SECRET", "RUNNER_SOURCE_SECRET", "RUNNER_AUTH_SECRET", "RUNNER_TOKEN_SECRET", "RUNNER_GRPC_TOKENS", "RUNNER_MODULE_GATE_TOKEN", "RUNNER_ORACLE_GATE_TOKEN"},
    "oracle-gate": {"DATABASE_URL", "NATS_URL", "ORACLE_GATE_GRPC_TOKENS"},
    "module-gate": {"DATABASE_URL", "NATS_URL", "MODULE_GATE_ATTESTATION_SECRET", "MODULE_GATE_GRPC_TOKENS"},
}
# Secrets that only some deployments have.
OPTIONAL_SECRETS = {"RUNNER_PKCS11_PIN"}
# What every service calls by an address that is a secret or empty here.
CALLED_BY_ALL = [("postgres", 5432), ("nats", 4222), ("collector", 4317)]
# Where a person may keep secrets in a checkout, and what looks like that and is none.
SECRET_FILES = [".env", "deploy/.env", ".env.runner", "runner.env", "x.secret", "x.pem", "deploy/k8s/x.pem"]
OPEN_FILES = [".env.example", "deploy/docker-compose.yml", "tests/deploy/awkward.txt", "tests/deploy/expanded.txt"]

problems = []


def variables_read_by(service):
    """Every variable named where the service reads its environment: config.rs and what lies below it."""
    folder = ROOT / f"services/{service}/src"
    sources = [folder / "config.rs", *folder.glob("config/*.rs"), *folder.glob("auth/settings.rs")]
    text = "".join(path.read_text().split("#[cfg(test)]")[0] for path in sources if path.exists())
    quoted = re.findall(r'"([A-Z][A-Z0-9_| ]*_[A-Z0-9_| ]+)"', text)
    names = {name for names in quoted for name in re.split(r"[| ]+", names)} - NOT_DEPLOYED
    if not names:
        problems.append(f"services/{service}: no variable found in config.rs")
    return names | variables_read_by_all()


def variables_read_by_all():
    """What crates/chassis reads for every service: names that are constants, and those it asks the environment for."""
    sources = [path for path in (ROOT / "crates/chassis/src").rglob("*.rs") if path.name != "tests.rs"]
    # A module for tests alone may stand among the others at a file's beginning.
    text = "".join(re.split(r"#\[cfg\(test\)\]\s*mod tests", path.read_text())[0] for path in sources)
    names = set(re.findall(r'const [A-Z_]+: &str =\s*"([A-Z][A-Z0-9]*_[A-Z0-9_]+)"', text))
    names |= set(re.findall(r'\benv\s*\.\w+\(\s*"([A-Z][A-Z0-9]*_[A-Z0-9_]+)"', text))
    if "OTEL_EXPORTER_OTLP_ENDPOINT" not in names:
        problems.append("crates/chassis: its variables are not found")
    return (names - NOT_DEPLOYED) | OF_LIBRARIES


def render(kubectl, overlay):
    variables = GIVEN | {"PATH": os.environ["PATH"], "HOME": "/", "KUBECTL": kubectl}
    printed = subprocess.run([ROOT / "deploy/k8s/render", overlay], env=variables, capture_output=True, text=True)
    if printed.returncode != 0:
        problems.append(f"deploy/k8s/render {overlay} with {kubectl}: {printed.stderr.strip()}")
        return []
    return list(yaml.safe_load_all(printed.stdout))


def check_kubernetes(kubectls):
    """Returns, for every service, the names of the variables that each overlay configures."""
    configured = {}
    for overlay in OVERLAYS:
        renderings = [render(kubectl, overlay) for kubectl in kubectls]
        by_name = [{(entry["kind"], entry["metadata"]["name"]): entry for entry in documents} for documents in renderings]
        if any(documents != by_name[0] for documents in by_name):
            problems.append(f"deploy/k8s/overlays/{overlay}: {kubectls} render different manifests")
        if any(documents and documents[0]["kind"] != "Namespace" for documents in renderings):
            problems.append(f"deploy/k8s/overlays/{overlay}: the namespace does not come first")
        for name, document in by_name[0].items():
            check_document(f"overlays/{overlay}: {name}", document, by_name[0])
            if document["kind"] == "ConfigMap" and name[1] in SECRETS:
                configured.setdefault(name[1], []).append(set(document["data"]))
        check_references(overlay, by_name[0])
        # Without documents, why there are none is a problem already.
        if by_name[0]:
            check_networks(overlay, by_name[0])
            check_optional(by_name[0])
    refused = subprocess.run(
        [ROOT / "deploy/k8s/render", "prod"], capture_output=True, text=True,
        env=GIVEN | {"PATH": os.environ["PATH"], "KUBECTL": kubectls[0], "RUNNER_IMAGE": "lumio/runner:latest"},
    )
    if refused.returncode != 3 or "digest" not in refused.stderr:
        problems.append("deploy/k8s/render prod: an image without a digest is accepted")
    return {service: set.intersection(*found) for service, found in configured.items()}


def check_document(place, document, others):
    for version in KUBERNETES:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            problems.append(f"{place}, Kubernetes {version}: {error.message} at {list(error.path)}")
    if document["kind"] not in ("Deployment", "StatefulSet", "Job"):
        return
    pod = document["spec"]["template"]["spec"]
    labels = document["spec"]["template"]["metadata"]["labels"]
    for container in pod["containers"]:
        check_restricted(place, pod, container, needs_probes=document["kind"] != "Job")
        for reference in container.get("envFrom", []):
            name = reference.get("configMapRef", {}).get("name")
            if name and ("ConfigMap", name) not in others:
                problems.append(f"{place}: there is no ConfigMap {name}")
    policies = [entry for entry in others.values() if entry["kind"] == "NetworkPolicy"]
    selected = [entry for entry in policies if entry["spec"]["podSelector"].get("matchLabels", {}).items() <= labels.items()]
    if not any(entry["spec"]["podSelector"].get("matchLabels") for entry in selected):
        problems.append(f"{place}: no network policy of its own")
    if labels["app.kubernetes.io/name"] == "module-gate":
        check_memory(place, pod["containers"][0], others[("ConfigMap", "module-gate")]["data"])


def check_memory(place, container, data):
    """The limit leaves the service 512 MiB beside what its modules may use."""
    sources = "".join(path.read_text() for path in (ROOT / "services/module-gate/src").rglob("*.rs"))
    bits = max(int(shift) for shift in re.findall(r"memory_bytes: 1 << (\d+)", sources))
    needed = int(data["MODULE_GATE_CONCURRENCY"]) * (1 << bits) + (512 << 20)
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", container["resources"]["limits"]["memory"]).groups()
    if int(number) << {"Mi": 20, "Gi": 30}[unit] < needed:
        problems.append(f"{place}: the memory limit is below what its modules may use, {needed} bytes")


def check_references(overlay, documents):
    """Every address of the configuration is a service of the overlay, or one of the platform's by its full name."""
    services = {name for kind, name in documents if kind == "Service"}
    accounts = {name for kind, name in documents if kind == "ServiceAccount"}
    for (kind, name), document in documents.items():
        if kind == "ConfigMap":
            for variable, value in document["data"].items():
                match = re.match(r"https?://([^:/]+)", value) if variable.endswith("_URL") else None
                if match and "." not in match[1] and match[1] not in services:
                    problems.append(f"overlays/{overlay}: {name}: {variable} names {match[1]}, which is no service here")
        if kind == "Deployment":
            account = document["spec"]["template"]["spec"].get("serviceAccountName")
            if account not in accounts:
                problems.append(f"overlays/{overlay}: {name} has no service account of its own")


def selects(selector, labels):
    """Whether a pod with these labels is meant by the selector."""
    listed = selector.get("matchExpressions", [])
    if any(entry["operator"] != "In" for entry in listed):
        raise ValueError(f"no operator but In is known here: {listed}")
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(entry["key"]) in entry["values"] for entry in listed
    )


def lets_through(rules, port, peer):
    """Whether one of the rules is for this port and this pod of the namespace; None is somebody outside of the cluster."""
    for rule in rules:
        peers = rule.get("to", rule.get("from"))
        here = peer is not None and any(
            selects(entry["podSelector"], peer) if "podSelector" in entry else entry.get("namespaceSelector") == {}
            for entry in peers or []
        )
        if {"port": port, "protocol": "TCP"} in rule.get("ports", []) and (peers is None or here):
            return True
    return False


def calls(documents):
    """Every (workload, host, port) that the configuration of an overlay makes a pod call."""
    for service in SECRETS:
        yield from ((service, host, port) for host, port in CALLED_BY_ALL)
        yield f"{service}-migrate", "postgres", 5432
        for name, value in documents[("ConfigMap", service)]["data"].items():
            if name.endswith(("_URL", "_URLS", "_ENDPOINT")) and name not in NOT_CALLED:
                for url in filter(None, value.split(",")):
                    parts = urllib.parse.urlsplit(url)
                    yield service, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
    yield "oracle-gate", "bucket", 443
    if ("Job", "init") in documents:
        yield "init", "soroban", 8000


def check_networks(overlay, documents):
    """What a pod calls is let out of it and into the pod that it calls; what a service listens on is let in."""
    policies = [entry["spec"] for entry in documents.values() if entry["kind"] == "NetworkPolicy"]
    workloads = {name: entry for (kind, name), entry in documents.items() if kind in ("Deployment", "StatefulSet", "Job")}
    pods = {name: entry["spec"]["template"]["metadata"]["labels"] for name, entry in workloads.items()}

    def lets(direction, labels, port, peer):
        chosen = [policy for policy in policies if selects(policy["podSelector"], labels)]
        return any(lets_through(policy.get(direction, []), port, peer) for policy in chosen)

    for source, host, port in calls(documents):
        called = documents.get(("Service", host))
        matching = [labels for labels in pods.values() if called and called["spec"]["selector"].items() <= labels.items()]
        target = matching[0] if matching else None
        if not lets("egress", pods[source], port, target):
            problems.append(f"overlays/{overlay}: no network policy lets {source} out to {host}:{port}")
        if target and not lets("ingress", target, port, pods[source]):
            problems.append(f"overlays/{overlay}: no network policy lets {source} in to {host}:{port}")
    for service in SECRETS:
        container = workloads[service]["spec"]["template"]["spec"]["containers"][0]
        open_ports = {entry["containerPort"] for entry in container["ports"]}
        served = {entry["port"] for entry in documents[("Service", service)]["spec"]["ports"]}
        for name, value in documents[("ConfigMap", service)]["data"].items():
            match = re.fullmatch(r"(?:[^:]*:)?(\d+)", value) if re.search(r"_BIND$|^RUNNER_(GRPC_)?PORT$", name) else None
            port = int(match[1]) if match else None
            if port and not (port in open_ports and port in served and lets("ingress", pods[service], port, pods["runner"])):
                problems.append(f"overlays/{overlay}: {name} is {port}, which pod, service or network policy do not have")


def check_optional(documents):
    """What an operator may add fits the schemas, and is about pods that there are."""
    pods = [entry["spec"]["template"]["metadata"]["labels"] for entry in documents.values() if entry["kind"] == "Deployment"]
    for file in sorted((ROOT / "deploy/k8s/optional").glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            check_document(f"optional/{file.name}", document, documents)
            if not any(selects(document["spec"]["podSelector"], labels) for labels in pods):
                problems.append(f"optional/{file.name}: no pod is meant by it")


def check_restricted(place, pod, container, needs_probes):
    """The `restricted` pod security standard, as far as these manifests use it, and what a platform expects beyond."""
    rules = {
        "runs as non-root": pod["securityContext"].get("runAsNonRoot") is True,
        "has the default seccomp profile": pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault",
        "gets no token of the Kubernetes API": pod.get("automountServiceAccountToken") is False,
        # A service named runner would set RUNNER_PORT=tcp://… in every pod.
        "gets no variables of other services": pod.get("enableServiceLinks") is False,
        "cannot gain privileges": container["securityContext"].get("allowPrivilegeEscalation") is False,
        "drops every capability": container["securityContext"]["capabilities"] == {"drop": ["ALL"]},
        "has a read-only root file system": container["securityContext"].get("readOnlyRootFilesystem") is True,
        "has probes": not needs_probes or {"readinessProbe", "livenessProbe"} <= set(container),
        # What is away for a while makes a service unready, and a restart would not bring it back.
        "is restarted for its own death only": all(
            asks_life(container[probe]) for probe in ("livenessProbe", "startupProbe") if probe in container
        ),
        "has a memory limit": "memory" in container["resources"]["limits"],
    }
    problems.extend(f"{place}: the pod no longer {rule}" for rule, holds in rules.items() if not holds)


def asks_life(probe):
    """Whether a probe of a service of ours asks if the process serves, and not if it is ready."""
    if "grpc" in probe:
        return probe["grpc"].get("service") == "live"
    return probe.get("httpGet", {}).get("path") != "/ready"


def docker_compose(file, variables, *arguments):
    """What `docker-compose config` prints; None, with the reason among the problems, if it refuses or warns."""
    clean = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    command = [DOCKER_COMPOSE, "--env-file", variables, "-f", file, *arguments, "config", "--format", "json"]
    printed = subprocess.run(command, env=clean, capture_output=True, text=True)
    if printed.returncode != 0 or printed.stderr:
        problems.append(f"docker-compose config {file}: {printed.stderr.strip()}")
    return json.loads(printed.stdout.replace("$$", "$")) if printed.returncode == 0 else None


def check_image():
    """The image's own setting of the console is the place that it is copied to, and the one of Kubernetes and Compose."""
    recipe = (ROOT / "deploy/Dockerfile").read_text()
    place = re.search(r"^COPY --from=console /src/web/dist (\S+)$", recipe, re.M)[1]
    for file in ("deploy/Dockerfile", "deploy/docker-compose.yml", "deploy/k8s/base/configuration.yaml"):
        if not re.search(rf"RUNNER_CONSOLE_DIR\b.*{re.escape(place)}\b", (ROOT / file).read_text()):
            problems.append(f"{file}: RUNNER_CONSOLE_DIR is not {place}, where the image has the console")


def check_ignored():
    """Files of secrets reach neither the repository nor a layer of an image."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    for name in SECRET_FILES + OPEN_FILES:
        ignored = False
        for pattern in patterns:
            if docker_pattern(pattern.removeprefix("!")).fullmatch(name):
                ignored = not pattern.startswith("!")
        if ignored != (name in SECRET_FILES):
            problems.append(f".dockerignore: {name} is {'left out' if ignored else 'sent to the build'}")
        asked = subprocess.run(["git", "check-ignore", "--quiet", "--no-index", name], cwd=ROOT, capture_output=True)
        if asked.returncode not in (0, 1):
            print("skipped: what git ignores, since this is no repository")
            return
        if (asked.returncode == 0) != (name in SECRET_FILES):
            problems.append(f".gitignore: {name} is {'not ' if asked.returncode else ''}ignored")


def docker_pattern(pattern):
    """A pattern of .dockerignore as an expression; it means a folder with all that is in it."""
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(words.get(piece, re.escape(piece)) for piece in pieces) + "(?:/.*)?")


def check_compose(folder):
    file = ROOT / "deploy/docker-compose.yml"
    variables = folder / "made.env"
    subprocess.run([ROOT / "dev", "env-file", variables], check=True, capture_output=True)
    with variables.open("a") as more:
        more.write("LUMIO_COMMIT=0123456789ab\nMODULE_GATE_UPSTREAMS_FILE=/etc/hosts\nUPSTREAM_KEY=a-key\n")
    check_upstreams(docker_compose(file, variables, "-f", ROOT / "deploy/upstreams.yml"))
    compose = docker_compose(file, variables, "--profile", "tools")
    services = compose["services"] if compose else {}
    for name, service in services.items():
        published = [port for port in service.get("ports", []) if port.get("host_ip") != "127.0.0.1"]
        if published:
            problems.append(f"deploy/docker-compose.yml: {name} publishes {published} beyond this machine's loopback")
        if "build" in service and service["build"].get("args") != {"LUMIO_COMMIT": "0123456789ab"}:
            problems.append(f"deploy/docker-compose.yml: the image of {name} is not told its commit")
        once = name in ("init", "lumio")
        if not once and "test" not in service.get("healthcheck", {}):
            problems.append(f"deploy/docker-compose.yml: {name} has no health check")
        if not once and service.get("restart") != "unless-stopped":
            problems.append(f"deploy/docker-compose.yml: {name} does not restart")
    # Without the secrets, every guard speaks; none starts on an empty value.
    empty = folder / "empty.env"
    empty.write_text("".join(f"{name}=\n" for name in re.findall(r"^([A-Z_]+)=", variables.read_text(), re.M)))
    clean = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    command = [DOCKER_COMPOSE, "--env-file", empty, "-f", file, "config", "--quiet"]
    refused = subprocess.run(command, env=clean, capture_output=True, text=True)
    if refused.returncode == 0 or "run ./dev env-file" not in refused.stderr:
        problems.append(f"deploy/docker-compose.yml: empty secrets are accepted: {refused.stderr.strip()}")
    return {name: set(service.get("environment") or {}) for name, service in services.items()}


def check_upstreams(compose):
    """The operator's file of services is mounted where module-gate reads it, and the key is passed."""
    gate = compose["services"]["module-gate"] if compose else None
    if gate and gate["environment"].get("MODULE_GATE_UPSTREAMS") not in [volume["target"] for volume in gate["volumes"]]:
        problems.append("deploy/upstreams.yml: the file is mounted elsewhere than it is read")
    if gate and gate["environment"].get("UPSTREAM_KEY") != "a-key":
        problems.append("deploy/upstreams.yml: the key is not passed")


def check_bus_page():
    """docs/operations/install.md names the streams that deploy/nats/nats.conf lets services make."""
    made = set(re.findall(r"STREAM\.CREATE\.(\w+)", (ROOT / "deploy/nats/nats.conf").read_text()))
    named = set(re.findall(r"`(LUMIO_[A-Z]+)`", (ROOT / "docs/operations/install.md").read_text()))
    if made != named:
        problems.append(f"docs/operations/install.md: the streams are {sorted(made)}, and it names {sorted(named)}")


def check_env_file(folder):
    """./dev env-file keeps what a person wrote, is readable by its owner alone, and repeats itself."""
    file = folder / "kept.env"
    file.write_text("# a remark\nRUNNER_WORKERS=8\nRUNNER_NATS_PASSWORD='a\"b\\c $d #e'\nOTHER=1\n")
    file.chmod(0o644)
    old = os.umask(0)
    try:
        subprocess.run([ROOT / "dev", "env-file", file], check=True, capture_output=True)
    finally:
        os.umask(old)
    first = file.read_text()
    if file.stat().st_mode & 0o077:
        problems.append("./dev env-file: others can read the file")
    if not first.endswith("# a remark\nRUNNER_WORKERS=8\nOTHER=1\n"):
        problems.append(f"./dev env-file: a person's own lines are lost: {first[-200:]}")
    if "nats://runner:a%22b%5Cc%20%24d%20%23e@nats:4222" not in first:
        problems.append("./dev env-file: a password is not escaped in its URL")
    subprocess.run([ROOT / "dev", "env-file", file], check=True, capture_output=True)
    if file.read_text() != first:
        problems.append("./dev env-file: the second time changes the file")
    check_refused(folder)
    if os.getuid() == 0:
        check_unreadable(folder / "raced.env")
    else:
        print("skipped: whether another user can read the file while it is made, which needs root")


def check_refused(folder):
    """What is no file is refused as it is, by both commands that take one."""
    place = folder / "no-file"
    place.mkdir()
    place.chmod(0o755)
    for command in ("env-file", "k8s-secrets"):
        refused = subprocess.run([ROOT / "dev", command, place], capture_output=True, text=True)
        if refused.returncode != 3 or "unbound" in refused.stderr or "no-file" not in refused.stderr:
            problems.append(f"./dev {command} FOLDER: exits {refused.returncode} and says {refused.stderr.strip()!r}")
    if place.stat().st_mode & 0o777 != 0o755 or list(place.iterdir()):
        problems.append("./dev env-file FOLDER: the folder is changed")


def check_secrets(folder):
    """./dev k8s-secrets prints valid Secrets with every variable that a service needs and no manifest configures."""
    printed = subprocess.run([ROOT / "dev", "k8s-secrets", folder / "kept.env"], capture_output=True, text=True)
    secrets = {entry["metadata"]["name"]: entry for entry in json.loads(printed.stdout)["items"]}
    for document in secrets.values():
        kubernetes_validate.validate(document, KUBERNETES[-1], strict=True)
    for service, names in SECRETS.items():
        for name in sorted(names - set(secrets[service]["stringData"])):
            problems.append(f"./dev k8s-secrets: {service} lacks {name}")
    if secrets["nats"]["stringData"]["RUNNER_NATS_PASSWORD"] != '"a\\"b\\\\c $d #e"':
        problems.append("./dev k8s-secrets: a password is not quoted for NATS")


def check_unreadable(file):
    """Another user who tries to read the file all the time never reads a byte of it, however often it is made."""
    file.parent.chmod(0o777)
    read_end, write_end = os.pipe()
    reader = os.fork()
    if reader == 0:
        # As `nobody`. Forked rather than started, since an interpreter in a home folder is closed
        # to other users.
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        while True:
            for name in glob.glob(f"{file}*"):
                try:
                    if pathlib.Path(name).read_bytes():
                        os.write(write_end, b"x")
                except OSError:
                    pass
    for _ in range(10):
        subprocess.run([ROOT / "dev", "env-file", file], check=True, capture_output=True, umask=0)
        file.unlink()
    os.set_blocking(read_end, False)
    try:
        was_read = os.read(read_end, 1)
    except BlockingIOError:
        was_read = b""
    # The reader is known to work: what everybody may read, it reads.
    os.set_blocking(read_end, True)
    file.write_text("x")
    file.chmod(0o644)
    os.read(read_end, 1)
    os.kill(reader, signal.SIGKILL)
    os.waitpid(reader, 0)
    if was_read:
        problems.append("./dev env-file: another user could read the file while it was written")


def check_example(folder):
    """.env.example means the same to Compose as to a reader that knows comments on lines of their own and quotes."""
    example = ROOT / ".env.example"
    lines = [line for line in example.read_text().splitlines() if line and not line.startswith("#")]
    meant = {}
    for line in lines:
        match = re.fullmatch(r'([A-Z][A-Z0-9_]*)=(?:"([^"\\$]*)"|([A-Za-z0-9_./:@%+,=~*-]*))', line)
        if not match:
            problems.append(f".env.example: not one NAME=value with the comment on a line of its own: {line}")
            return set()
        meant[match[1]] = match[2] or match[3] or ""
    file = folder / "example.yml"
    environment = {name: f"${{{name}}}" for name in meant}
    file.write_text(json.dumps({"services": {"a": {"image": "a", "environment": environment}}}))
    compose = docker_compose(file, example)
    if compose and compose["services"]["a"]["environment"] != meant:
        problems.append(".env.example: Compose reads other values than are meant")
    return set(meant)


def check_dialect(folder):
    """Awkward files mean the same to Compose and to ./dev; crates/chassis/tests/it/env_files.rs has the runner's half."""
    for stem in "awkward", "expanded":
        text = (ROOT / f"tests/deploy/{stem}.txt").read_bytes()
        meant = json.loads((ROOT / f"tests/deploy/{stem}.json").read_text())
        for ends, content in {"LF": text, "CR LF": text.replace(b"\n", b"\r\n")}.items():
            file = folder / f"{stem}.env"
            file.write_bytes(content)
            readers = {"Compose": read_by_compose(folder, file, meant)}
            # ./dev reads secrets alone, which it writes itself or a person pastes: it expands nothing.
            if stem == "awkward":
                readers["./dev"] = read_by_dev(file)
            for reader, found in readers.items():
                for name, value in meant.items():
                    if found.get(name) != value:
                        problems.append(
                            f"tests/deploy/{stem}.txt with {ends}: {reader} reads {name} as {found.get(name)!r}"
                        )


def read_by_compose(folder, file, meant):
    compose_file = folder / "dialect.yml"
    environment = {name: f"${{{name}}}" for name in meant}
    compose_file.write_text(json.dumps({"services": {"a": {"image": "a", "environment": environment}}}))
    compose = docker_compose(compose_file, file)
    # A refusal is among the problems already.
    return compose["services"]["a"]["environment"] if compose else meant


def read_by_dev(file):
    read = """. scripts/secrets.sh; read_env_file "$1"
        for name in "${PASSWORDS[@]}" "${TOKENS[@]}" "${KEYS[@]}"; do printf '%s\\0%s\\0' "$name" "${!name:-}"; done"""
    said = subprocess.run(
        ["bash", "-euc", read, "bash", file], cwd=ROOT, env={"PATH": os.environ["PATH"]}, check=True, capture_output=True
    )
    words = said.stdout.decode().split("\0")
    return dict(zip(words[0::2], words[1::2]))


def check_variables(configured, composed, example):
    for service, secrets in SECRETS.items():
        for name in sorted(variables_read_by(service)):
            for place, known in {
                ".env.example": example,
                "deploy/docker-compose.yml": composed.get(service, set()),
                "deploy/k8s": configured[service] | secrets | OPTIONAL_SECRETS,
            }.items():
                if name not in known:
                    problems.append(f"{place}: {name}, which {service} reads, is not there")


if __name__ == "__main__":
    DOCKER_COMPOSE = pathlib.Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as name:
        temporary = pathlib.Path(name)
        check_image()
        check_ignored()
        check_bus_page()
        check_dialect(temporary)
        check_env_file(temporary)
        check_secrets(temporary)
        check_variables(check_kubernetes(sys.argv[3:]), check_compose(temporary), check_example(temporary))
    for problem in problems:
        print(problem)
    print(f"deployment: {len(problems)} problems")
    sys.exit(1 if problems else 0)
