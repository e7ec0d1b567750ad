"""A model server of the field (llama.cpp, by the package xllamacpp) on a tiny model of random weights.

    python3 scripts/model_server.py PORT FOLDER [PACKAGES]

PACKAGES is a folder that holds xllamacpp and gguf, where Python itself does not have them (`pip install --target`).
The model knows nothing and answers nonsense, but the server is a real one: it tokenizes, streams, and reports the
tokens of every answer. With the same seed and temperature 0 the same question has the same answer. What it billed is
written to FOLDER/model.log by a small reader of its own answers: nothing of Lumio is involved in it.
"""

import json
import os
import signal
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

if len(sys.argv) > 3:
    sys.path.insert(0, sys.argv[3])

import gguf  # noqa: E402  the folder of packages has to be known before
import numpy  # noqa: E402

WIDTH, LAYERS, HEADS, INNER, CONTEXT = 32, 2, 4, 64, 8192
TEMPLATE = "{% for message in messages %}<{{ message.role }}>{{ message.content }}\n{% endfor %}<assistant>"


def words():
    """One token for each byte, beside the three that every vocabulary has, and the sign that a space is read as."""
    special = [("<unk>", gguf.TokenType.UNKNOWN), ("<s>", gguf.TokenType.CONTROL), ("</s>", gguf.TokenType.CONTROL)]
    tokens = [(f"<0x{byte:02X}>", gguf.TokenType.BYTE) for byte in range(256)]
    return special + tokens + [("\u2581", gguf.TokenType.NORMAL)]


def write_model(path):
    writer = gguf.GGUFWriter(path, "llama")
    tokens = words()
    writer.add_name("tiny-random")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)

    random = numpy.random.default_rng(7)

    def tensor(name, *shape):
        writer.add_tensor(name, (random.standard_normal(shape) * 0.2).astype(numpy.float32))

    def ones(name):
        writer.add_tensor(name, numpy.ones(WIDTH, dtype=numpy.float32))

    tensor("token_embd.weight", len(tokens), WIDTH)
    tensor("output.weight", len(tokens), WIDTH)
    ones("output_norm.weight")
    for layer in range(LAYERS):
        at = f"blk.{layer}."
        ones(at + "attn_norm.weight")
        ones(at + "ffn_norm.weight")
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensor(f"{at}{name}.weight", WIDTH, WIDTH)
        tensor(at + "ffn_gate.weight", INNER, WIDTH)
        tensor(at + "ffn_up.weight", INNER, WIDTH)
        tensor(at + "ffn_down.weight", WIDTH, INNER)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def start_server(model):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx = CONTEXT
    params.n_parallel = 2
    params.cpuparams.n_threads = 2
    params.warmup = False
    params.sampling.temp = 0.0
    params.sampling.seed = 7
    return xllamacpp.Server(params)


class Log:
    """What the server says that it used, one line for each answer."""

    def __init__(self, path):
        self.path, self.lock = path, threading.Lock()

    def add(self, usage):
        with self.lock, open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(usage) + "\n")


def front(server, log):
    """Passes everything on to the server, and keeps its records of tokens."""
    base = server.listening_address

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def forward(self, body=None):
            request = urllib.request.Request(base + self.path, data=body, method=self.command)
            if body is not None:
                request.add_header("content-type", self.headers.get("content-type", "application/json"))
            try:
                answer = urllib.request.urlopen(request, timeout=300)
            except urllib.error.HTTPError as error:
                answer = error
            data = answer.read()
            self.send_response(answer.status)
            self.send_header("content-type", answer.headers.get("content-type", "application/json"))
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            for line in data.splitlines():
                text = line.removeprefix(b"data: ")
                try:
                    usage = json.loads(text).get("usage")
                except (ValueError, AttributeError):
                    continue
                if usage:
                    log.add({"path": self.path, **usage})

        def do_GET(self):
            self.forward()

        def do_POST(self):
            self.forward(self.rfile.read(int(self.headers.get("content-length", 0))))

    return Handler


def main():
    port, folder = int(sys.argv[1]), sys.argv[2]
    os.makedirs(folder, exist_ok=True)
    model = os.path.join(folder, "tiny-random.gguf")
    if not os.path.exists(model):
        write_model(model)
    server = start_server(model)
    log = Log(os.path.join(folder, "model.log"))
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    ThreadingHTTPServer(("127.0.0.1", port), front(server, log)).serve_forever()


if __name__ == "__main__":
    main()
