// The gateway's stream of events (SSE), read by `fetch`: an EventSource can send no token.

import { createParser } from "eventsource-parser";

import { type Gateway, GatewayError } from "./gateway";

export interface RunEvent {
  /** `queued`, `opening`, … `finalized`. */
  event: string;
  runId: string;
  data: Record<string, unknown>;
}

export type StreamState = "connecting" | "live" | "waiting" | "unavailable";

interface Listener {
  onEvent: (event: RunEvent) => void;
  onState: (state: StreamState) => void;
}

const pause = (ms: number, signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });

/** A stream that was there for so long, in ms, was one, also if nothing happened meanwhile. */
const LASTING = 10_000;

/**
 * Follows `path` until `signal` ends it. After a break it goes on behind the last event that
 * arrived, so that nothing is lost, also over a restart of the gateway.
 */
export async function follow(
  gateway: Gateway,
  path: string,
  { onEvent, onState }: Listener,
  signal: AbortSignal,
): Promise<void> {
  let last: string | undefined;
  let failures = 0;
  while (!signal.aborted) {
    onState(failures === 0 ? "connecting" : "waiting");
    let began = Number.POSITIVE_INFINITY;
    let hasServed = false;
    try {
      const headers: Record<string, string> = { accept: "text/event-stream" };
      if (last !== undefined) headers["last-event-id"] = last;
      const answer = await gateway.request(path, { headers, signal });
      const parser = createParser({
        onEvent: ({ id, data }) => {
          if (id !== undefined) last = id;
          hasServed = true;
          const read = parse(data);
          if (read) onEvent(read);
        },
      });
      onState("live");
      began = performance.now();
      const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        parser.feed(piece.value);
      }
    } catch (error) {
      if (signal.aborted) return;
      // A gateway without streams, or a login that has ended: asking again changes nothing.
      if (error instanceof GatewayError && [401, 403, 404, 405].includes(error.status)) {
        onState("unavailable");
        return;
      }
    }
    // A proxy may answer and close at once: what gave nothing and did not last is a failure too.
    failures = hasServed || performance.now() - began > LASTING ? 0 : failures + 1;
    onState("waiting");
    // Up to 15 s, with chance in it: a restarted gateway must not meet every tab at once.
    const longest = Math.min(15_000, 500 * 2 ** Math.min(failures, 5));
    await pause(longest * (0.5 + Math.random() / 2), signal);
  }
}

/** Reads a CloudEvent of a run; anything else is no event of ours. */
export function parse(text: string): RunEvent | undefined {
  try {
    const event = JSON.parse(text);
    const name = /^dev\.lumio\.run\.([a-z_]+)\.v\d+$/.exec(event?.type)?.[1];
    const data = event?.data ?? {};
    const runId = data.runId ?? data.id ?? event?.subject;
    return name && typeof runId === "string" ? { event: name, runId, data } : undefined;
  } catch {
    return undefined;
  }
}
