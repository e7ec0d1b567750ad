// What pages ask for, and how long an answer counts as fresh.

import { type QueryKey, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";

import { STROOPS, type Unit } from "@/amount";
import { useApp } from "@/app";
import { askAgain } from "@/api/again";
import type { Agent, Meters, Run } from "@/api/gateway";
import { GatewayError } from "@/api/gateway";
import { hex } from "@/hex";

const ENDED = new Set(["finalized", "failed", "cancelled"]);

export const hasEnded = (run: Run): boolean => ENDED.has(run.status);

/** No event says when the vault gives back the escrow of a run that has ended. */
const isHeld = (run: Run): boolean => hasEnded(run) && run.escrow === "open";
const HELD_MS = 3_000;

/** Asks again for what an escrow's return has changed, once fewer runs hold one than before. */
function useReturned(held: number, keys: QueryKey[]): void {
  const queries = useQueryClient();
  const latest = useRef({ held, keys });
  useEffect(() => {
    if (held < latest.current.held) void askAgain(queries, latest.current.keys);
    latest.current.held = held;
  }, [held, queries]);
  latest.current.keys = keys;
}

/** Asked again every few seconds only where nothing is streamed. */
function usePolling(ms: number, whenLive: number | false = false): number | false {
  const { stream } = useApp();
  return stream === "live" || stream === "off" ? whenLive : ms;
}

export function useSummary() {
  const { gateway, ready } = useApp();
  const refetchInterval = usePolling(5_000);
  return useQuery({
    queryKey: ["summary"],
    queryFn: gateway.summary,
    enabled: ready,
    refetchInterval,
  });
}

export function useRuns(limit = 5) {
  const { gateway, ready, wallet } = useApp();
  const every = usePolling(2_000);
  const runs = useQuery({
    queryKey: ["runs", wallet?.address, limit],
    queryFn: () => gateway.runs(limit, wallet!.address),
    enabled: ready,
    refetchInterval: ({ state }) => (state.data?.some(isHeld) ? HELD_MS : every),
  });
  useReturned(runs.data?.filter(isHeld).length ?? 0, [["books"], ["grants"]]);
  return runs;
}

export function useRun(id: string) {
  const { gateway, ready } = useApp();
  const every = usePolling(2_000);
  const run = useQuery({
    queryKey: ["run", id],
    queryFn: () => gateway.run(id),
    enabled: ready,
    refetchInterval: ({ state: { data } }) => {
      if (!data || !hasEnded(data)) return every;
      return isHeld(data) ? HELD_MS : false;
    },
  });
  useReturned(run.data && isHeld(run.data) ? 1 : 0, [["timeline", id], ["books"]]);
  return run;
}

export function useTimeline(id: string) {
  const { gateway, ready } = useApp();
  return useQuery({
    queryKey: ["timeline", id],
    queryFn: () => gateway.timeline(id),
    enabled: ready,
  });
}

export function useBooks() {
  const { chain, wallet } = useApp();
  return useQuery({
    queryKey: ["books", wallet?.address],
    queryFn: async () => (await chain()).books(wallet!.address),
    enabled: wallet !== undefined,
  });
}

export function useFunds() {
  const { chain, wallet } = useApp();
  return useQuery({
    queryKey: ["books", wallet?.address, "funds"],
    queryFn: async () => (await chain()).funds(wallet!.address),
    enabled: wallet !== undefined,
  });
}

/** How long the node is asked for the vault's token, and after how long it is asked again. */
const TOKEN_MS = 10_000;

/**
 * How amounts of the vault's token are written: in stroops alone as long as the token cannot be
 * asked; `undefined` while it is asked for the first time.
 */
export function useUnit(): Unit | undefined {
  const { chain, config } = useApp();
  const { data } = useQuery({
    queryKey: ["unit", config.contractId],
    queryFn: async (): Promise<Unit> => {
      try {
        const vault = await chain();
        const late = new Promise<Unit>((resolve) => setTimeout(resolve, TOKEN_MS, STROOPS));
        return await Promise.race([vault.unit(), late]);
      } catch {
        return STROOPS;
      }
    },
    staleTime: Number.POSITIVE_INFINITY,
    refetchInterval: ({ state }) => (state.data?.name === STROOPS.name ? TOKEN_MS : false),
  });
  return data;
}

export function useGrants() {
  const { chain, wallet } = useApp();
  return useQuery({
    queryKey: ["grants", wallet?.address],
    queryFn: async () => (await chain()).grants(wallet!.address),
    enabled: wallet !== undefined,
  });
}

const rates = (card: {
  llm_in: bigint;
  llm_out: bigint;
  http_calls: bigint;
  runtime_ms: bigint;
}) => ({
  llmIn: card.llm_in.toString(),
  llmOut: card.llm_out.toString(),
  httpCalls: card.http_calls.toString(),
  runtimeMs: card.runtime_ms.toString(),
});

export function useAgents() {
  const { gateway, chain, config, ready } = useApp();
  return useQuery({
    queryKey: ["agents"],
    enabled: ready,
    staleTime: 30_000,
    queryFn: async (): Promise<Agent[]> => {
      try {
        return await gateway.agents();
      } catch (error) {
        if (!(error instanceof GatewayError && error.status === 404)) throw error;
        // A gateway without a list: the registry counts its agents from 1.
        const found = await (await chain()).agents();
        return found.map(({ id, details, version, card }) => ({
          agentId: id,
          developer: details.developer,
          metadataUri: details.metadata_uri ?? undefined,
          runners: details.runners,
          listsThisRunner: config.runner !== undefined && details.runners.includes(config.runner),
          latestRateVersion: version,
          rates: rates(card.rates),
          manifestHash: hex(card.manifest_hash),
          attesters: [],
        }));
      }
    },
  });
}

export function useAgent(id: number | undefined) {
  const { gateway, ready } = useApp();
  return useQuery({
    queryKey: ["agent", id],
    queryFn: () => gateway.agent(id!),
    enabled: ready && id !== undefined,
    staleTime: 30_000,
    retry: false,
  });
}

export function useQuote(agentId: number | undefined, budgets: Meters | undefined) {
  const { gateway, ready, wallet } = useApp();
  return useQuery({
    queryKey: ["quote", agentId, budgets, wallet?.address],
    queryFn: () => gateway.quote(agentId!, budgets!, wallet?.address),
    enabled: ready && agentId !== undefined && budgets !== undefined,
    placeholderData: (before) => before,
    retry: false,
  });
}

/** The checks before anybody is authorised; `undefined` while they are being made. */
export function useCanonical(agentId: number | undefined) {
  const { chain, config, ready, wallet } = useApp();
  const summary = useSummary();
  const service = summary.data?.config.runner;
  return useQuery({
    queryKey: ["canonical", agentId, service, config.runner],
    queryFn: async () => (await chain()).canonical(agentId, service),
    enabled: ready && wallet !== undefined && summary.isSuccess,
    staleTime: 10_000,
  });
}
