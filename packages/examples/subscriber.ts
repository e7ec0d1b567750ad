// A subscriber that acts once on each event, however often it is delivered: the inbox of docs/events.md.
// The tests of packages/ run it against a real server.

import { DatabaseSync } from "node:sqlite";

import { AckPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";

/** What a subscriber reads of an event; the rest is in `data`. */
interface Event {
  /** Who published it. */
  source: string;
  /** Names it together with `source`. */
  id: string;
  /** What happened, such as `dev.lumio.run.finalized.v1`. */
  type: string;
}

/** The inbox, and what this subscriber does: it counts events by their type. */
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS inbox (source TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (source, id));
  CREATE TABLE IF NOT EXISTS counts (type TEXT PRIMARY KEY, number INTEGER NOT NULL);`;

/** Opens the database of a subscriber. */
export function open(path: string): DatabaseSync {
  const db = new DatabaseSync(path);
  db.exec(SCHEMA);
  return db;
}

/** Handles `messages` messages of the stream as the durable consumer `name`. */
export async function consume(
  connection: NatsConnection,
  db: DatabaseSync,
  stream: string,
  name: string,
  messages: number,
): Promise<void> {
  const manager = await jetstreamManager(connection);
  await manager.consumers.add(stream, { durable_name: name, ack_policy: AckPolicy.Explicit });
  const consumer = await jetstream(connection).consumers.get(stream, name);
  let left = messages;
  for await (const message of await consumer.consume()) {
    let event: Event | undefined;
    try {
      event = message.json<Event>();
    } catch {
      // It will never be an event: it must not come again and hold up the others.
      message.term("not JSON");
    }
    if (event) {
      handle(db, event);
      // Only after the commit: a subscriber that dies in between finds the event in its inbox.
      message.ack();
    }
    left -= 1;
    if (left === 0) break;
  }
}

/** Acts on the event and notes it, in one transaction; does nothing if it is noted already. */
function handle(db: DatabaseSync, event: Event): void {
  db.exec("BEGIN IMMEDIATE");
  try {
    const noted = db
      .prepare("INSERT INTO inbox (source, id) VALUES (?, ?) ON CONFLICT DO NOTHING")
      .run(event.source, event.id);
    if (noted.changes === 1) {
      db.prepare(
        "INSERT INTO counts (type, number) VALUES (?, 1) ON CONFLICT (type) DO UPDATE SET number = number + 1",
      ).run(event.type);
    }
    db.exec("COMMIT");
  } catch (error) {
    db.exec("ROLLBACK");
    throw error;
  }
}
