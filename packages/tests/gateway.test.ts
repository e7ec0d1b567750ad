// The gateway's client against a server that breaks its streams off.
import assert from "node:assert/strict";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { GatewayRefusal, bundle, follow, gateway, output, problemPage, unwrap } from "../gateway/dist/index.js";

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const piece = (id: number) => `id: ${id}\ndata: ${JSON.stringify({ type: `event ${id}`, data: {} })}\n\n`;

test("a stream goes on behind its cursor, and a refusal has its code", async () => {
  const asked: (string | undefined)[] = [];
  const traced: (string | undefined)[] = [];
  const answers: ((answer: ServerResponse) => void)[] = [
    // Only the cursor moves, then the connection is lost.
    (answer) => answer.end(": still here\nid: 4\n\n"),
    (answer) => {
      answer.write(piece(5) + piece(6).slice(0, 9));
      answer.write(piece(6).slice(9));
      setTimeout(() => answer.destroy(), 50);
    },
    (answer) => answer.end(piece(7)),
  ];
  const server = createServer((request, answer) => {
    if (request.url !== "/events") {
      traced.push(request.headers.traceparent as string | undefined);
      answer.writeHead(404, { "content-type": "application/problem+json" });
      answer.end(JSON.stringify({ code: "NOT_FOUND", status: 404, detail: "Run not found" }));
      return;
    }
    assert.equal(request.headers.authorization, "Bearer t");
    assert.equal(request.headers.traceparent, trace);
    asked.push(request.headers["last-event-id"] as string | undefined);
    answer.writeHead(200, { "content-type": "text/event-stream" });
    answers.shift()?.(answer);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const options = { baseUrl, token: () => "t", traceparent: trace };
  try {
    const seen: string[] = [];
    for await (const { cursor } of follow(options, undefined)) {
      seen.push(cursor);
      if (cursor === "7") break;
    }
    assert.deepEqual(seen, ["5", "6", "7"]);
    assert.deepEqual(asked, [undefined, "4", "6"]);

    const missing = unwrap(gateway(options).GET("/runs/{id}", { params: { path: { id: "7" } } }));
    await assert.rejects(missing, (error) => error instanceof GatewayRefusal && error.code === "NOT_FOUND");
    const own = trace.replace("b7", "c8");
    await gateway(options).GET("/summary", { headers: { traceparent: own } });
    assert.deepEqual(traced, [trace, own], "what a call names itself goes first");
    await assert.rejects(follow(options, "7").next(), (error) => error instanceof GatewayRefusal && error.status === 404);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("what is no JSON is read as what it is", async () => {
  const asked: string[] = [];
  const answer = async (input: string | URL | Request) => {
    asked.push(String(input));
    if (String(input).endsWith("/none")) {
      return Response.json({ code: "NOT_FOUND", status: 404, detail: "no such output" }, { status: 404 });
    }
    return new Response(String(input).endsWith(".json") ? '{"a":1}' : "# Report\n");
  };
  const options = { baseUrl: "http://gateway.test", fetch: answer as typeof fetch };
  assert.equal(await output(options, "7", "report.md"), "# Report\n");
  assert.equal(await output(options, "7", "a b/c.json", "text", { attempt: 2 }), "# Report\n");
  assert.equal((await output(options, "7", "facts.json", "arrayBuffer")).byteLength, 7);
  assert.equal(await new Response(await bundle(options, "7")).text(), "# Report\n");
  assert.equal(await problemPage(options, "not-found"), "# Report\n");
  assert.equal(asked[1], "http://gateway.test/runs/7/outputs/a%20b/c.json?attempt=2");
  await assert.rejects(output(options, "7", "none"), (error) => error instanceof GatewayRefusal && error.status === 404);
});

test("a slash at the end of the address changes nothing, and a page that is no JSON is a refusal", async () => {
  const asked: string[] = [];
  const over = new AbortController();
  const answer = async (input: string | URL | Request) => {
    if (asked.push(input instanceof Request ? input.url : String(input)) === 4) over.abort();
    return new Response("<html>", { headers: { "content-type": "text/html" } });
  };
  const options = { baseUrl: "http://gateway.test/lumio/", fetch: answer as typeof fetch };
  await assert.rejects(
    unwrap(gateway(options).GET("/summary")),
    (error) => error instanceof GatewayRefusal && error.code === "UNKNOWN" && /baseUrl/.test(error.message),
  );
  await output(options, "7", "report.md");
  await problemPage(options, "not-found");
  await follow(options, "7", { signal: over.signal }).next();
  const expected = ["summary", "runs/7/outputs/report.md", "problems/not-found", "runs/7/events"];
  assert.deepEqual(asked, expected.map((path) => `http://gateway.test/lumio/${path}`));
});

test("a connection that is dead without being closed is opened again", async () => {
  let opened = 0;
  const silent = async (_: string | URL | Request, init?: RequestInit) => {
    opened += 1;
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        if (opened > 1) controller.enqueue(new TextEncoder().encode(piece(1)));
        init?.signal?.addEventListener("abort", () => controller.error(init.signal?.reason));
      },
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  };
  const options = { baseUrl: "http://gateway.test", fetch: silent as typeof fetch, silenceMs: 20 };
  for await (const { cursor } of follow(options, undefined)) {
    assert.equal(cursor, "1");
    break;
  }
  assert.equal(opened, 2);
});
