// The documented inbox, against a real server: each event is acted on once, however often it comes.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

import { consume, open } from "../examples/subscriber.ts";

const root = new URL("../../", import.meta.url);
const program = process.env["LUMIO_NATS_SERVER"] ?? new URL(".dev/tools/nats/nats-server", root).pathname;
const folder = mkdtempSync(join(tmpdir(), "lumio-subscriber-"));
let server: ChildProcess | undefined;

after(() => {
  server?.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

/** Starts a server on a free port, which it writes to a file. */
async function start(): Promise<string> {
  const options = ["--jetstream", "--addr", "127.0.0.1", "--port", "-1", "--store_dir", folder];
  server = spawn(program, [...options, "--ports_file_dir", folder], { stdio: "ignore" });
  const ports = join(folder, `nats-server_${server.pid}.ports`);
  for (let tries = 0; tries < 500; tries += 1) {
    if (existsSync(ports)) {
      const text = readFileSync(ports, "utf8");
      if (text.length > 0) return (JSON.parse(text) as { nats: string[] }).nats[0] as string;
    }
    await sleep(20);
  }
  throw new Error("nats-server did not start");
}

const skip = existsSync(program) ? false : `${program} is missing; ./dev setup brings it`;

test("an event that comes twice is acted on once", { skip }, async () => {
  const connection = await connect({ servers: await start() });
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: "LUMIO_RUN", subjects: ["lumio.run.>"] });

  const run = "0199f000-0000-7000-8000-000000000001";
  const publish = async (name: string, sequence: number): Promise<void> => {
    const event = {
      specversion: "1.0",
      id: `${run}:${sequence}`,
      sequence: String(sequence).padStart(20, "0"),
      source: "/lumio/runner",
      type: `dev.lumio.run.${name}.v1`,
      subject: run,
      data: { run_id: run },
    };
    await jetstream(connection).publish(`lumio.run.v1.${name}.${run}`, JSON.stringify(event));
  };
  for (const [name, sequence] of [["queued", 1], ["opening", 2], ["queued", 1], ["opening", 2]] as const) {
    await publish(name, sequence);
  }
  await jetstream(connection).publish(`lumio.run.v1.queued.${run}`, "no event");

  const db = open(":memory:");
  await consume(connection, db, "LUMIO_RUN", "counter", 5);
  const counts = db.prepare("SELECT type, number FROM counts ORDER BY type").all();
  assert.deepEqual(
    counts.map((row) => [row["type"], row["number"]]),
    [["dev.lumio.run.opening.v1", 1], ["dev.lumio.run.queued.v1", 1]],
  );
  await connection.close();
});
