"""Checks deploy/ against the published schemas and against what the services read.

Usage: python3 tests/deploy/check.py [FOLDER OF PYTHON PACKAGES]    (needs kubernetes-validate and docker-compose from PyPI, for their schemas)
Exit 0: all is well. Exit 1: something is wrong, named line by line.
"""

import importlib.util
import json
import pathlib
import re
import sys

sys.path[:0] = sys.argv[1:2]

import jsonschema  # noqa: E402  (found by the line above)
import kubernetes_validate  # noqa: E402
import yaml  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = ROOT / "deploy/k8s/base"
KUBERNETES = "1.33"
# Read by a library or a tool on our behalf, or only in tests.
NOT_DEPLOYED = {"RUNNER_CRASH_AT", "LUMIO_CONFINE", "RUNNER_PRIVATE_KEY", "SOROBAN_RPC_URL", "SOROBAN_NETWORK_PASSPHRASE", "PORT"}
# Given as secrets, which are not in this repository; deploy/k8s/README.md names them.
SECRETS = {
    "runner": {"DATABASE_URL", "NATS_URL", "RUNNER_SECRET", "RUNNER_SOURCE_SECRET", "RUNNER_GRPC_TOKENS", "RUNNER_MODULE_GATE_TOKEN", "RUNNER_ORACLE_GATE_TOKEN"},
    "oracle-gate": {"DATABASE_URL", "NATS_URL", "ORACLE_GATE_GRPC_TOKENS"},
    "module-gate": {"DATABASE_URL", "NATS_URL", "MODULE_GATE_ATTESTATION_SECRET", "MODULE_GATE_GRPC_TOKENS"},
}

problems = []


def variables_read_by(service):
    """Every variable named where the service reads its environment: config.rs and what lies below it."""
    folder = ROOT / f"services/{service}/src"
    sources = [folder / "config.rs", *folder.glob("config/*.rs")]
    text = "".join(path.read_text().split("#[cfg(test)]")[0] for path in sources if path.exists())
    quoted = re.findall(r'"([A-Z][A-Z0-9_| ]*_[A-Z0-9_| ]+)"', text)
    names = {name for names in quoted for name in re.split(r"[| ]+", names)} - NOT_DEPLOYED
    if not names:
        problems.append(f"services/{service}: no variable found in config.rs")
    return names


def check_kubernetes():
    names = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    on_disk = {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    for missing in on_disk ^ set(names):
        problems.append(f"deploy/k8s/base: {missing} is a resource without a file or a file that is no resource")
    configured = {}
    for path in sorted(BASE.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] == "Kustomization":
                continue
            try:
                kubernetes_validate.validate(document, KUBERNETES, strict=True)
            except kubernetes_validate.ValidationError as error:
                problems.append(f"{path.relative_to(ROOT)}: {error.message} at {list(error.path)}")
            if document["kind"] == "ConfigMap":
                configured[document["metadata"]["name"]] = set(document["data"])
            if document["kind"] == "Deployment":
                check_restricted(path, document)
    return configured


def check_restricted(path, deployment):
    """The `restricted` pod security standard, as far as these manifests use it."""
    pod = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    rules = {
        "runs as non-root": pod["securityContext"].get("runAsNonRoot") is True,
        "has the default seccomp profile": pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault",
        "cannot gain privileges": container["securityContext"].get("allowPrivilegeEscalation") is False,
        "drops every capability": container["securityContext"]["capabilities"] == {"drop": ["ALL"]},
        "has a read-only root file system": container["securityContext"].get("readOnlyRootFilesystem") is True,
        "has probes": {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container),
    }
    problems.extend(f"{path.relative_to(ROOT)}: the pod no longer {rule}" for rule, held in rules.items() if not held)


def check_compose():
    compose = yaml.safe_load((ROOT / "deploy/docker-compose.yml").read_text())
    package = pathlib.Path(importlib.util.find_spec("compose").submodule_search_locations[0])
    schema = json.loads((package / "config/compose_spec.json").read_text())
    # The schema is older than the top-level name.
    document = {key: value for key, value in compose.items() if key != "name"}
    for error in jsonschema.Draft7Validator(schema).iter_errors(document):
        problems.append(f"deploy/docker-compose.yml: {error.message} at {list(error.path)}")
    return {name: set(service.get("environment", {})) for name, service in compose["services"].items()}


def check_variables(configured, composed):
    example = set(re.findall(r"^([A-Z][A-Z0-9_]*)=", (ROOT / ".env.example").read_text(), re.M))
    for service, secrets in SECRETS.items():
        for name in sorted(variables_read_by(service)):
            for place, known in {
                ".env.example": example,
                "deploy/docker-compose.yml": composed[service],
                "deploy/k8s": configured[service] | secrets,
            }.items():
                if name not in known:
                    problems.append(f"{place}: {name}, which {service} reads, is not there")


if __name__ == "__main__":
    check_variables(check_kubernetes(), check_compose())
    for problem in problems:
        print(problem)
    print(f"deployment: {len(problems)} problems")
    sys.exit(1 if problems else 0)
