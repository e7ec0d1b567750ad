// Checks inputs on a thread of its own, which can be ended.

import { mistakesOf, type Schema } from "./mistakes.ts";

addEventListener("message", ({ data }: MessageEvent<{ schema: Schema; value: unknown }>) => {
  postMessage(mistakesOf(data.schema, data.value));
});
