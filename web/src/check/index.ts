// Checking an input by its module's schema, with a time limit: a module's author may have written a
// pattern that this browser's regular expressions try for ever.

import { useEffect, useState } from "react";

import type { Schema } from "./mistakes.ts";

/** How long a check may take, in milliseconds. */
const LIMIT = 2_000;

/** Mistakes, or that they could not be looked for here. */
type Answer = { mistakes: string[] } | "unchecked";

interface Check {
  worker: Worker;
  /** Settles the check that is under way with no answer: another one has taken its place. */
  drop: (() => void) | undefined;
}

let present: Check | undefined;

/** Checks a value; `undefined` once a newer check has taken its place. */
function check(schema: Schema, value: unknown): Promise<Answer | undefined> {
  // What is still being tried is of no use any more, and could not be interrupted otherwise.
  if (present?.drop) end(present);
  present ??= {
    worker: new Worker(new URL("./worker.ts", import.meta.url), { type: "module" }),
    drop: undefined,
  };
  const mine = present;
  return new Promise((resolve) => {
    const answer = (found: Answer | undefined) => {
      clearTimeout(timer);
      mine.drop = undefined;
      resolve(found);
    };
    const timer = setTimeout(() => {
      answer("unchecked");
      end(mine);
    }, LIMIT);
    mine.drop = () => answer(undefined);
    mine.worker.onmessage = ({ data }: MessageEvent<string[]>) => answer({ mistakes: data });
    mine.worker.onerror = () => {
      answer("unchecked");
      end(mine);
    };
    mine.worker.postMessage({ schema, value });
  });
}

function end(old: Check): void {
  old.worker.terminate();
  old.drop?.();
  if (present === old) present = undefined;
}

export interface Found {
  mistakes: string[];
  /** Nothing is known yet of the newest input. */
  isChecking: boolean;
  /** It could not be checked here in time; the gateway checks it. */
  isUnchecked: boolean;
}

/** The mistakes of an input that was read, or why it was not. */
export function useMistakes(
  schema: Schema | undefined,
  input: { value: unknown } | { error: string },
): Found {
  const [found, setFound] = useState<{ of: unknown; answer: Answer }>();
  useEffect(() => {
    if (!schema || !("value" in input)) return;
    let isCurrent = true;
    void check(schema, input.value).then((answer) => {
      if (isCurrent && answer) setFound({ of: input, answer });
    });
    return () => {
      isCurrent = false;
    };
  }, [schema, input]);

  if ("error" in input) {
    return { mistakes: [input.error], isChecking: false, isUnchecked: false };
  }
  if (!schema) return { mistakes: [], isChecking: false, isUnchecked: false };

  // Until the newest input is judged, what is known of the one before stays to be read.
  const isUnchecked = found?.answer === "unchecked";
  const mistakes = found && found.answer !== "unchecked" ? found.answer.mistakes : [];
  return { mistakes, isUnchecked, isChecking: found?.of !== input };
}
