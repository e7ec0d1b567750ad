// Asking again for what has changed.

import type { Query, QueryClient, QueryKey } from "@tanstack/react-query";

/** A first answer that is still awaited: it was asked for before the change, and may not have it. */
const isFirst = ({ state }: Query) => state.data === undefined && state.fetchStatus !== "idle";

/**
 * Asks again for everything under these keys. TanStack Query does so by itself for what is shown,
 * but would take a first answer that is under way for the new one.
 */
export async function askAgain(queries: QueryClient, keys: QueryKey[]): Promise<void> {
  const one = async (queryKey: QueryKey) => {
    await queries.cancelQueries({ queryKey, predicate: isFirst });
    await queries.invalidateQueries({ queryKey });
  };
  await Promise.all(keys.map(one));
}

/** What events of runs are about. */
const RUNS: QueryKey[] = [["runs"], ["run"], ["timeline"], ["outputs"], ["summary"], ["operator"]];

/** Everything that the stream would have shown, had it been there. */
export const askAgainForAll = (queries: QueryClient): Promise<void> =>
  askAgain(queries, [...RUNS, ["books"], ["grants"]]);
