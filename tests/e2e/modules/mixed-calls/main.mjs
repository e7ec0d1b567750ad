import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

// Calls under way at once.
const AT_ONCE = 12;

const input = JSON.parse(readFileSync(process.env.LUMIO_INPUT, "utf8"));
const [streamed, left] = [new Set(input.streamed), new Set(input.left)];
const waiting = [...input.seeds];
const done = { whole: 0, broken: 0 };

async function call(seed) {
  const body = { model: "m", max_tokens: 40, seed, stream: streamed.has(seed),
    messages: [{ role: "user", content: "hello" }] };
  const answer = await fetch(`${process.env.OPENAI_BASE_URL}/chat/completions`, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  if (left.has(seed)) {
    const reader = answer.body.getReader();
    await reader.read();
    await reader.cancel();
  } else {
    await answer.arrayBuffer();
  }
  if (!answer.ok) throw new Error(`the answer is ${answer.status}`);
}

async function work() {
  while (waiting.length > 0) {
    try {
      await call(waiting.shift());
      done.whole += 1;
    } catch {
      done.broken += 1;
    }
  }
}

await Promise.all(Array.from({ length: AT_ONCE }, work));
writeFileSync(join(process.env.LUMIO_OUTPUT, "done.json"), JSON.stringify(done));
