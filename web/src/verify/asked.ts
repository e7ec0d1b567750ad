// What this browser asked for, so that a proof can be compared with it and not only with itself.
// Only the digest of the input is kept.

import { canonical, digest, utf8 } from "./bytes.ts";

const key = (run: string) => `lumio.asked.${run}`;

export async function remember(run: string, input: unknown): Promise<void> {
  localStorage.setItem(key(run), await digest(utf8(canonical(input))));
}

export const remembered = (run: string): string | undefined =>
  localStorage.getItem(key(run)) ?? undefined;
