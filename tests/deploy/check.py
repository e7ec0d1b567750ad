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
# Read by a library or a tool on our behalf, or only in tests.
NOT_DEPLOYED = {"RUNNER_CRASH_AT", "LUMIO_CONFINE", "RUNNER_PRIVATE_KEY", "SOROBAN_RPC_URL", "SOROBAN_NETWORK_PASSPHRASE", "PORT"}
# Given as secrets, which are not in this repository; deploy/k8s/README.md names them.
SECRETS = {
    "runner": {"DATABASE_URL", "NATS_URL", "RUNNER_SECRET", "RUNNER_SOURCE_SECRET", "RUNNER_AUTH_SECRET", "RUNNER_TOKEN_SECRET", "RUNNER_GRPC_TOKENS", "RUNNER_MODULE_GATE_TOKEN", "RUNNER_ORACLE_GATE_TOKEN"},
    "oracle-gate": {"DATABASE_URL", "NATS_URL", "ORACLE_GATE_GRPC_TOKENS"},
    "module-gate": {"DATABASE_URL", "NATS_URL", "MODULE_GATE_ATTESTATION_SECRET", "MODULE_GATE_GRPC_TOKENS"},
}
# Secrets that only some deployments have.
OPTIONAL_SECRETS = {"RUNNER_PKCS11_PIN"}

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
    return names


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
        "has a memory limit": "memory" in container["resources"]["limits"],
    }
    problems.extend(f"{place}: the pod no longer {rule}" for rule, holds in rules.items() if not holds)


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


def check_compose(folder):
    file = ROOT / "deploy/docker-compose.yml"
    variables = folder / "made.env"
    subprocess.run([ROOT / "dev", "env-file", variables], check=True, capture_output=True)
    compose = docker_compose(file, variables, "--profile", "tools")
    services = compose["services"] if compose else {}
    for name, service in services.items():
        published = [port for port in service.get("ports", []) if port.get("host_ip") != "127.0.0.1"]
        if published:
            problems.append(f"deploy/docker-compose.yml: {name} publishes {published} beyond this machine's loopback")
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
    if os.getuid() == 0:
        check_unreadable(folder / "raced.env")


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
        check_env_file(temporary)
        check_secrets(temporary)
        check_variables(check_kubernetes(sys.argv[3:]), check_compose(temporary), check_example(temporary))
    for problem in problems:
        print(problem)
    print(f"deployment: {len(problems)} problems")
    sys.exit(1 if problems else 0)
