"""Tries against a real nats-server what deploy/nats/nats.conf must allow, and everything else that it must not.

Usage: python3 tests/deploy/nats_permissions.py NATS_SERVER [NATS_SERVER ...]
Exit 0: every user can do its work and nothing more. Exit 1: something else happened, named line by line.
"""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

from nats_client import Nats

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIGURATION = ROOT / "deploy/nats/nats.conf"
# Who publishes which families.
FAMILIES = [("runner", "run"), ("runner", "chain"), ("oracle-gate", "seal"), ("module-gate", "gate")]
# Passwords that the server would take for a number, a duration, a truth value, a block or a
# variable.
PASSWORDS = {"runner": "12345", "oracle-gate": "9m", "module-gate": "true", "observer": 'p"a\\s$s {w}#o;rd=é'}

problems = []


def expect(holds, sentence):
    if not holds:
        problems.append(sentence)


def quoted(password):
    escaped = password.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(program):
    """A server on deploy/nats/nats.conf; yields its port."""
    port = free_port()
    variables = {f"{user.upper().replace('-', '_')}_NATS_PASSWORD": quoted(password) for user, password in PASSWORDS.items()}
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "-c", CONFIGURATION, "-a", "127.0.0.1", "-p", str(port), "-sd", folder]
        with open(pathlib.Path(folder) / "log", "w+b") as log:
            server = subprocess.Popen(command, env=os.environ | variables, stderr=log)
            try:
                deadline = time.monotonic() + 30
                while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
                    if server.poll() is not None or time.monotonic() > deadline:
                        log.seek(0)
                        sys.exit(f"{program} did not start: {log.read().decode()[-500:]}")
                    time.sleep(0.05)
                yield port
            finally:
                server.terminate()
                server.wait()


def stream(family):
    return f"LUMIO_{family.upper()}"


def messages_in(connection, family):
    state, body = connection.request(f"$JS.API.STREAM.INFO.{stream(family)}")
    return json.loads(body)["state"]["messages"] if state == "answered" else None


def services_do_their_work(services):
    for user, family in FAMILIES:
        service, name = services[user], stream(family)
        settings = {"name": name, "subjects": [f"lumio.{family}.>"]}
        _, created = service.request(f"$JS.API.STREAM.CREATE.{name}", json.dumps(settings).encode())
        expect(created and b'"error"' not in created, f"{user} could not make its stream: {created}")
        _, confirmed = service.request(f"lumio.{family}.v1.first.x", b'{"specversion":"1.0"}')
        expect(confirmed and b'"seq"' in confirmed, f"{user} could not publish: {confirmed}")
        expect(messages_in(service, family) == 1, f"{user} cannot read the state of its stream")


def observer_reads(observer, services):
    live = observer.subscribe("lumio.>")
    expect(live, "the observer may not subscribe to lumio.>")
    for user, family in FAMILIES:
        name = stream(family)
        services[user].request(f"lumio.{family}.v1.second.x", b"{}")
        expect(observer.received(live), f"the observer does not hear {family} events live")
        _, stored = observer.request(f"$JS.API.STREAM.MSG.GET.{name}", b'{"seq":1}')
        expect(stored and b'"data"' in stored, f"the observer cannot read a message of {name}: {stored}")
        for kind, subject, settings in (
            ("ephemeral", f"$JS.API.CONSUMER.CREATE.{name}", {}),
            ("named", f"$JS.API.CONSUMER.CREATE.{name}.named", {"name": "named", "inactive_threshold": 10**10}),
            ("durable", f"$JS.API.CONSUMER.DURABLE.CREATE.{name}.kept", {"durable_name": "kept"}),
        ):
            wanted = {"stream_name": name, "config": {"ack_policy": "explicit", "deliver_policy": "all"} | settings}
            _, created = observer.request(subject, json.dumps(wanted).encode())
            consumer = json.loads(created or b"{}").get("name")
            expect(consumer, f"the observer cannot make an {kind} consumer of {name}: {created}")
            if consumer:
                expect(fetch_and_acknowledge(observer, name, consumer), f"the observer's {kind} consumer gets nothing")
        services[user].messages.clear()


def fetch_and_acknowledge(observer, name, consumer):
    inbox = f"_INBOX.fetch{time.monotonic_ns()}"
    subscription = observer.subscribe(inbox)
    observer.publish(f"$JS.API.CONSUMER.MSG.NEXT.{name}.{consumer}", b'{"batch":1,"expires":30000000000}', inbox)
    message = observer.received(subscription)
    return message is not None and message[0] is not None and observer.publish(message[0], b"+ACK")


# Every call of the JetStream API that changes or reveals something, on one stream.
API = [
    "INFO", "STREAM.NAMES", "STREAM.LIST", "STREAM.CREATE.{s}", "STREAM.CREATE.OTHER", "STREAM.UPDATE.{s}",
    "STREAM.DELETE.{s}", "STREAM.PURGE.{s}", "STREAM.MSG.DELETE.{s}", "STREAM.MSG.GET.{s}", "STREAM.INFO.{s}",
    "STREAM.SNAPSHOT.{s}", "STREAM.RESTORE.{s}", "STREAM.PEER.REMOVE.{s}", "STREAM.LEADER.STEPDOWN.{s}",
    "DIRECT.GET.{s}", "CONSUMER.CREATE.{s}", "CONSUMER.CREATE.{s}.c", "CONSUMER.DURABLE.CREATE.{s}.c",
    "CONSUMER.NAMES.{s}", "CONSUMER.LIST.{s}", "CONSUMER.INFO.{s}.kept", "CONSUMER.DELETE.{s}.kept",
    "CONSUMER.MSG.NEXT.{s}.kept", "CONSUMER.LEADER.STEPDOWN.{s}.kept", "CONSUMER.PAUSE.{s}.kept",
    "META.LEADER.STEPDOWN", "SERVER.REMOVE", "ACCOUNT.PURGE.RUNNER",
]
BODIES = {
    "STREAM.CREATE.OTHER": {"name": "OTHER", "subjects": ["other.>"]},
    "STREAM.UPDATE.{s}": {"name": "{s}", "subjects": ["lumio.nothing.>"]},
    "STREAM.MSG.DELETE.{s}": {"seq": 1},
    "STREAM.MSG.GET.{s}": {"seq": 1},
    "STREAM.SNAPSHOT.{s}": {"deliver_subject": "_INBOX.snapshot"},
}
MAY_READ = {
    "STREAM.MSG.GET.{s}", "STREAM.INFO.{s}", "CONSUMER.CREATE.{s}", "CONSUMER.CREATE.{s}.c",
    "CONSUMER.DURABLE.CREATE.{s}.c", "CONSUMER.INFO.{s}.kept", "CONSUMER.MSG.NEXT.{s}.kept",
}
MAY_MAKE = {"STREAM.INFO.{s}", "STREAM.CREATE.{s}"}
# `runner account` reads the stream of runs.
MAY_READ_OWN = {"run": {"CONSUMER.CREATE.{s}.c", "CONSUMER.MSG.NEXT.{s}.kept"}}


def the_rest_is_refused(connections):
    """Each user tries every call on every stream, and every subject that another publishes to."""
    for user, connection in connections.items():
        for owner, family in FAMILIES:
            allowed = MAY_READ if user == "observer" else set()
            if user == owner:
                allowed = MAY_MAKE | MAY_READ_OWN.get(family, set())
            for call in API:
                subject = "$JS.API." + call.format(s=stream(family))
                body = json.dumps(BODIES.get(call, {})).replace("{s}", stream(family)).encode()
                if call in allowed:
                    continue
                state, body = connection.request(subject, body, seconds=0.3)
                expect(state != "answered", f"{user} got an answer from {subject}: {body}")
            if user != owner:
                expect(
                    not connection.publish(f"lumio.{family}.v1.forged.x", b"{}"),
                    f"{user} may publish events of {owner}",
                )
        for subject in ("lumio.other.v1.x", "other", "$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.PING", "$KV.x.y", "_INBOX.x"):
            expect(not connection.publish(subject, b"{}"), f"{user} may publish to {subject}")
        forbidden = ["$SYS.>", "$JS.>", ">", "_R_.>", "$KV.>"] + ([] if user == "observer" else ["lumio.>", "lumio.run.>"])
        for subject in forbidden:
            expect(not connection.subscribe(subject), f"{user} may subscribe to {subject}")


def detours_are_refused(connections):
    """A reply subject or a consumer's delivery subject cannot carry a message into another's stream."""
    for user, connection in connections.items():
        for _, own in FAMILIES:
            for _, target in FAMILIES:
                reply = f"lumio.{target}.v1.reply.x"
                connection.publish(f"$JS.API.STREAM.INFO.{stream(own)}", b"", reply)
                connection.publish(f"$JS.API.STREAM.MSG.GET.{stream(own)}", b'{"seq":1}', reply)
                connection.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream(own)}.kept", b'{"batch":1}', reply)
                for number, deliver in enumerate((f"lumio.{target}.v1.pushed.x", f"$JS.API.STREAM.PURGE.{stream(target)}", f"$JS.API.STREAM.DELETE.{stream(target)}")):
                    settings = {"deliver_subject": deliver, "ack_policy": "none", "deliver_policy": "all"}
                    # The three ways to make a consumer, each a right of its own.
                    name = f"detour{number}{target}"
                    for subject, named in (
                        (f"CONSUMER.CREATE.{stream(own)}", {}),
                        (f"CONSUMER.CREATE.{stream(own)}.{name}", {"name": name}),
                        (f"CONSUMER.DURABLE.CREATE.{stream(own)}.{name}d", {"durable_name": f"{name}d"}),
                    ):
                        wanted = {"stream_name": stream(own), "config": settings | named}
                        connection.publish(f"$JS.API.{subject}", json.dumps(wanted).encode())


def check(program):
    with running(program) as port:
        connections = {user: Nats(port, user, password) for user, password in PASSWORDS.items()}
        services = {user: connections[user] for user, _ in FAMILIES}
        for user in PASSWORDS:
            try:
                Nats(port, user, "another password")
                problems.append(f"{user} gets in with another password")
            except PermissionError:
                pass
        services_do_their_work(services)
        observer_reads(connections["observer"], services)
        before = {family: messages_in(services[user], family) for user, family in FAMILIES}
        the_rest_is_refused(connections)
        observers_detours = {"observer": connections["observer"]}
        detours_are_refused(observers_detours)
        # Delivery is asynchronous; what would arrive arrives before a later message of the same
        # stream.
        time.sleep(1)
        after = {family: messages_in(services[user], family) for user, family in FAMILIES}
        expect(after == before, f"the observer changed a stream: {before} became {after}")
        # A service may put what it likes into its own stream, and nothing into another's.
        detours_are_refused(services)
        time.sleep(1)
        owners = {family: user for user, family in FAMILIES}
        for user, family in FAMILIES:
            for other in owners:
                # The runner's own streams are both its own.
                if other == family or owners[other] == user:
                    continue
                wanted = {"last_by_subj": f"lumio.{family}.v1.pushed.x"}
                _, found = connections["observer"].request(
                    f"$JS.API.STREAM.MSG.GET.{stream(family)}", json.dumps(wanted).encode()
                )
                expect(found and b'"no message found"' in found, f"something was pushed into {stream(family)}: {found}")
    return program


if __name__ == "__main__":
    # Ended from outside, it ends its server and removes the folder of it all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for server in sys.argv[1:]:
        check(server)
    for problem in problems:
        print(problem)
    print(f"NATS permissions: {len(problems)} problems")
    sys.exit(1 if problems or len(sys.argv) < 2 else 0)
