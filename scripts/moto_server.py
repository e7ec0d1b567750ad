"""moto's server, one request at a time: its conditional writes are a look and a write, and between two
of its threads both can win. The folder of its packages is the first argument."""

import sys
import threading

sys.path.insert(0, sys.argv.pop(1))

import moto.server  # noqa: E402  (found by the line above)

serve = moto.server.run_simple
turn = threading.Lock()


def one_at_a_time(app):
    def answer(environ, start_response):
        with turn:
            return [b"".join(app(environ, start_response))]

    return answer


moto.server.run_simple = lambda host, port, app, **options: serve(host, port, one_at_a_time(app), **options)
moto.server.main()
