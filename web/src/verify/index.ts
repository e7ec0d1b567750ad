// One run, from the gateway's files and the browser's own node to a proof.

import { type Gateway, GatewayError, type Run } from "@/api/gateway";
import type { Chain } from "@/chain/client";

import { remembered } from "./asked.ts";
import { parse } from "./bytes.ts";
import { gather } from "./facts.ts";
import { type Claim, judge, type Proof, searchedSince } from "./judge.ts";
import { stored } from "./receipts.ts";
import { unpack } from "./tar.ts";

export type { Proof } from "./judge.ts";

/** Reads everything and judges it. Throws when something could not be read: then nothing is known. */
export async function verify(gateway: Gateway, chain: Chain, run: Run): Promise<Proof> {
  const claim = await claimOf(gateway, await gateway.run(run.id));
  const { attempts = [], user, attempt, runId } = claim.run;
  const named = attempts.flatMap((other): [number, string][] =>
    other.runId ? [[other.attempt, other.runId]] : [],
  );
  const runIds: [number, string][] = runId ? [...named, [attempt, runId]] : named;
  const { networkPassphrase: network, contractId: vault, agentRegistryId: registry } = chain.config;
  const since = searchedSince(claim.run);
  const list = (whose: string) => stored(gateway, { network, vault, user: whose, since });
  const facts = await gather(chain, claim.run.id, { attempt, runIds, user }, list);
  const asked = { inputDigest: remembered(claim.run.id) };
  return judge(claim, facts, { network, vault, registry }, asked);
}

/** The bundle of the run's present attempt; a run that was not sealed has the gateway's word alone. */
async function claimOf(gateway: Gateway, run: Run): Promise<Claim> {
  const bare = { run, vaultId: undefined, terms: undefined, input: undefined, files: new Map() };
  let archive: Uint8Array;
  try {
    archive = await gateway.bundle(run.id, run.attempt);
  } catch (error) {
    if (error instanceof GatewayError && error.status === 404) return bare;
    throw error;
  }
  const files = unpack(archive);
  const text = files.get("run.json");
  if (!text) throw new Error("the bundle has no run.json");
  const document = parse(text) as Run & { vaultId?: string; terms?: unknown; input?: unknown };
  if (document.id !== run.id) throw new Error("the bundle is of another run");
  return {
    // The list of attempts is in the run alone.
    run: { ...document, attempts: run.attempts },
    vaultId: document.vaultId,
    terms: document.terms,
    input: "input" in document ? { value: document.input } : undefined,
    files,
  };
}
