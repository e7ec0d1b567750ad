// One run, from the gateway's files and the browser's own node to a proof.

import type { Unit } from "@/amount";
import { type Gateway, GatewayError, type Run } from "@/api/gateway";
import type { Chain } from "@/chain/client";

import { remembered } from "./asked.ts";
import { bareClaim, hintsOf, readClaim, readRun, tombstoneOf } from "./claim.ts";
import { gather } from "./facts.ts";
import { type Claim, judge, type Proof, searchedSince } from "./judge.ts";
import { stored } from "./receipts.ts";
import { unpack } from "./tar.ts";

export type { Proof } from "./judge.ts";

/**
 * Reads everything and judges it; amounts are shown in this unit. Throws when something could not be
 * read: then nothing is known.
 */
export async function verify(gateway: Gateway, chain: Chain, run: Run, unit: Unit): Promise<Proof> {
  const present = readRun(await gateway.run(run.id));
  if (present.id !== run.id)
    throw new Error(`the gateway answered with another run: ${present.id}`);
  const claim = await claimOf(gateway, present);
  const { networkPassphrase: network, contractId: vault, agentRegistryId: registry } = chain.config;
  const since = searchedSince(claim.run);
  const list = (whose: string) => stored(gateway, { network, vault, user: whose, since });
  const facts = await gather(chain, claim.run.id, hintsOf(claim.run), list);
  const asked = { inputDigest: remembered(claim.run.id) };
  return judge(claim, facts, { network, vault, registry, unit }, asked);
}

/** The bundle of the run's present attempt; a run that was not sealed has the gateway's word alone. */
async function claimOf(gateway: Gateway, run: Run): Promise<Claim> {
  let archive: Uint8Array;
  try {
    archive = await gateway.bundle(run.id, run.attempt);
  } catch (error) {
    if (!(error instanceof GatewayError) || !isForGood(error.status)) throw error;
    return { ...bareClaim(run), withheld: tombstoneOf(error.code, error.message) };
  }
  const files = unpack(archive);
  const text = files.get("run.json");
  if (!text) throw new Error("the bundle has no run.json");
  const claim = readClaim(text, files);
  if (claim.run.id !== run.id) throw new Error("the bundle is of another run");
  if (claim.run.attempt !== run.attempt) throw new Error("the bundle is of another attempt");
  // The list of attempts is in the run alone.
  return { ...claim, run: { ...claim.run, attempts: run.attempts } };
}

/** Whether a refusal says that there is no bundle to be had: the chain is asked in spite of it. */
const isForGood = (status: number) =>
  status >= 400 && status < 500 && ![401, 403, 408, 429].includes(status);
