"""As much of a NATS client as the test of the permissions needs: the text protocol over one connection."""

import json
import socket
import time

# How long something may take that comes at once on an idle machine, in seconds.
PATIENCE = 30.0


class Nats:
    """One connection. Raises PermissionError when the server refuses the user."""

    def __init__(self, port, user, password):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.file = self.socket.makefile("rb")
        self.file.readline()
        self.refusals = []
        self.messages = []
        self.subscriptions = 0
        options = {
            "user": user, "pass": password, "verbose": False, "pedantic": False, "headers": True,
            "no_responders": True, "lang": "python", "version": "1", "protocol": 1,
        }
        self._send(f"CONNECT {json.dumps(options)}\r\n".encode())
        try:
            self.flush()
        except ConnectionError as error:
            # The server closes at once after a refused CONNECT. If the PING arrives after that, the
            # connection is reset, and the text of the refusal may be lost with it.
            raise PermissionError(str(error)) from error

    def _send(self, data):
        self.socket.sendall(data)

    def _read(self):
        line = self.file.readline().decode().rstrip("\r\n")
        word, *words = line.split(" ")
        if word == "-ERR":
            self.refusals.append(line)
        elif word in ("MSG", "HMSG"):
            size = int(words[-1])
            body = self.file.read(size)
            self.file.read(2)
            # A message without a body whose header says 503: nothing answers on the subject.
            headers = int(words[-2]) if word == "HMSG" else 0
            # With a reply subject there is one word more.
            fixed = 3 if word == "MSG" else 4
            reply = words[2] if len(words) > fixed else None
            self.messages.append((int(words[1]), words[0], reply, body[:headers], body[headers:]))
        elif word == "PING":
            self._send(b"PONG\r\n")
        elif word == "":
            raise PermissionError(self.refusals)
        return word

    def flush(self):
        """Returns once the server has handled everything sent so far."""
        self._send(b"PING\r\n")
        while self._read() != "PONG":
            pass

    def subscribe(self, subject):
        """Returns the subscription's number, or None if it was refused."""
        self.subscriptions += 1
        self.refusals.clear()
        self._send(f"SUB {subject} {self.subscriptions}\r\n".encode())
        self.flush()
        return None if self.refusals else self.subscriptions

    def publish(self, subject, body=b"", reply=""):
        """Returns whether the server took the message."""
        self.refusals.clear()
        self._send(f"PUB {subject} {reply} {len(body)}\r\n".encode() + body + b"\r\n")
        self.flush()
        return not self.refusals

    def received(self, subscription, seconds=PATIENCE):
        """The next message of a subscription: its reply subject, headers and body. None if none comes in time."""
        deadline = time.monotonic() + seconds
        while True:
            for place, message in enumerate(self.messages):
                if message[0] == subscription:
                    return self.messages.pop(place)[2:]
            if time.monotonic() > deadline:
                return None
            self.flush()
            time.sleep(0.01)

    def request(self, subject, body=b"", seconds=PATIENCE):
        """The response: ("refused"), ("unanswered") or ("answered", body)."""
        inbox = f"_INBOX.test{time.monotonic_ns()}"
        subscription = self.subscribe(inbox)
        if not self.publish(subject, body, inbox):
            return ("refused", None)
        response = self.received(subscription, seconds)
        if response is None or response[1].startswith(b"NATS/1.0 503"):
            return ("unanswered", None)
        return ("answered", response[2])
