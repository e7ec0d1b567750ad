// One thing that a person starts: busy while it lasts, its failure kept, its success said.

import { useQueryClient } from "@tanstack/react-query";
import { useCallback, useRef, useState } from "react";

import { askAgain } from "@/api/again";

import { say } from "./index";

interface Options {
  /** Which answers are not fresh any more afterwards. */
  stale?: readonly (readonly unknown[])[];
  said?: string;
  onDone?: () => void;
}

export function useAct<A extends unknown[]>(
  act: (...args: A) => Promise<unknown>,
  { stale = [], said, onDone }: Options = {},
) {
  const queries = useQueryClient();
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const latest = useRef({ act, stale, said, onDone });
  latest.current = { act, stale, said, onDone };
  const busy = useRef(false);
  const run = useCallback(
    async (...args: A) => {
      // A second click while the first is at work must not do it twice.
      if (busy.current) return;
      busy.current = true;
      setBusy(true);
      setError(undefined);
      const refresh = () => askAgain(queries, [...latest.current.stale]);
      // What is said names what was asked for. Once the change is seen, the page may say the opposite.
      const { said } = latest.current;
      try {
        await latest.current.act(...args);
        // What it changed is shown before it is called done.
        await refresh();
        if (said) say(said);
        latest.current.onDone?.();
      } catch (failure) {
        setError(failure);
        void refresh();
      } finally {
        busy.current = false;
        setBusy(false);
      }
    },
    [queries],
  );
  const reset = useCallback(() => setError(undefined), []);
  return { run, isBusy, error, reset };
}
