// The vault and the registry, as the browser reads and calls them by its own node. Loaded when a
// wallet is connected: it brings the SDK.

import {
  Account,
  Address,
  Asset,
  BASE_FEE,
  Contract,
  scValToNative,
  TransactionBuilder,
  xdr,
} from "@stellar/stellar-sdk";
import type { AssembledTransaction, Result } from "@stellar/stellar-sdk/contract";
import { Api, Server } from "@stellar/stellar-sdk/rpc";
import { Client as Registry } from "agent_registry";
import {
  type GrantLimits,
  type PolicyInput,
  type RunnerGrant,
  refusalOf,
  Client as Vault,
} from "prepaid_vault";

import { type Unit, unitOf } from "@/amount";
import type { Config } from "@/config";
import { unhex } from "@/hex";
import type { Wallet } from "@/wallet/wallet";

import { checkEntry } from "./authorisation";

/** A refusal of a contract, by its own name. */
export class Refused extends Error {
  constructor(
    readonly code: string,
    options?: ErrorOptions,
  ) {
    super(code, options);
  }
}

/** The node could not be asked, or gave no answer that can be used. */
export class NodeFailed extends Error {
  override readonly name = "NodeFailed";
}

/** It was sent, and whether it holds is not known yet. */
export class Unsettled extends Error {
  constructor(readonly hash: string) {
    super(`transaction ${hash} was sent, and its outcome is not known yet`);
  }
}

export interface Grant extends RunnerGrant {
  limits: GrantLimits | null;
}

export interface Books {
  balance: bigint;
  reserved: bigint;
  escrow: bigint;
  spent: bigint;
  perRunCap: bigint;
  dailyCap: bigint;
  paused: boolean;
  receipts: bigint;
}

export interface Check {
  id: "build" | "service" | "registry" | "vault";
  state: "ok" | "bad" | "unknown";
}

export interface Sent {
  hash: string;
}

/** Nobody's account: reading needs a source, and no signature. */
const NOBODY = "GAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAWHF";

const options = (config: Config, contractId: string, wallet?: Wallet) => ({
  contractId,
  rpcUrl: rpcUrl(config),
  networkPassphrase: config.networkPassphrase,
  allowHttp: rpcUrl(config).startsWith("http:"),
  ...(wallet && {
    publicKey: wallet.payer ?? wallet.address,
    signTransaction: async (envelope: string) => ({
      signedTxXdr: await wallet.sign(envelope),
      signerAddress: wallet.payer ?? wallet.address,
    }),
  }),
});

function rpcUrl(config: Config): string {
  if (config.rpcUrl === null) {
    throw new NodeFailed("this console was given no node of the network; ask its operator");
  }
  return config.rpcUrl;
}

export class Chain {
  readonly vault: Vault;
  readonly registry: Registry;
  readonly server: Server;

  constructor(
    readonly config: Config,
    readonly wallet?: Wallet,
  ) {
    this.vault = new Vault(options(config, config.contractId, wallet));
    this.registry = new Registry(options(config, config.agentRegistryId, wallet));
    this.server = new Server(rpcUrl(config), { allowHttp: rpcUrl(config).startsWith("http:") });
  }

  /** Caps, balance and what of today is spent. */
  async books(user: string): Promise<Books> {
    const account = await read(this.vault.account({ user }));
    return {
      balance: account.balance,
      reserved: account.reserved,
      escrow: account.due_today + account.due_tomorrow,
      spent: account.spent,
      perRunCap: account.per_run_cap,
      dailyCap: account.daily_cap,
      paused: account.paused,
      receipts: account.receipts,
    };
  }

  /** The user's live grants, each with its limits. */
  async grants(user: string): Promise<Grant[]> {
    const grants = await read(this.vault.list_runner_grants({ user }));
    return Promise.all(
      grants.map(async (grant) => {
        const { runner, agent_id } = grant;
        const limits = await read(this.vault.grant_limits({ user, runner, agent_id }));
        return { ...grant, limits: limits ?? null };
      }),
    );
  }

  /** What the wallet itself holds of the vault's token. */
  async funds(user: string): Promise<bigint> {
    const { token } = await read(this.vault.config());
    return this.ask<bigint>(token, "balance", new Address(user).toScVal());
  }

  /** How amounts of the vault's token are written; throws if vault or token cannot be asked. */
  async unit(): Promise<Unit> {
    // By the vault's own word: a gateway that names another token must not change what is typed.
    const { token } = await read(this.vault.config());
    const native = Asset.native().contractId(this.config.networkPassphrase);
    return unitOf(token, native, (method) => this.ask(token, method));
  }

  /** Whom the vault is bound to, and whether its admin has paused all opens. */
  async administration(): Promise<{ admin: string; opensPaused: boolean }> {
    const state = await read(this.vault.administration());
    return { admin: state.admin, opensPaused: state.opens_paused };
  }

  /** Agents by their numbers, which count from 1, for gateways that have no list. */
  async agents(most = 40) {
    const found = [];
    for (let id = 1; id <= most; id += 1) {
      const answer = (await this.registry.get_agent({ agent_id: id })).result;
      if (answer.isErr()) break;
      const details = answer.unwrap();
      const version = await read(this.registry.latest_rate_version({ agent_id: id }));
      const card = await read(this.registry.get_rate_card({ agent_id: id, version }));
      found.push({ id, details, version, card });
    }
    return found;
  }

  /**
   * Whether `config.runner` is the canonical one: the key that this build is for, the one that the
   * service signs with, listed by the registry for the agent, in the vault that is bound to that
   * registry. Anything but "ok" for each blocks authorising.
   */
  async canonical(agentId: number | undefined, service: string | undefined): Promise<Check[]> {
    const { config } = this;
    const runner = config.runner;
    const compare = (known: string | undefined): Check["state"] =>
      known === undefined || runner === undefined ? "unknown" : known === runner ? "ok" : "bad";
    const registry = async (): Promise<Check["state"]> => {
      if (runner === undefined || agentId === undefined) return "unknown";
      const listed = await read(this.registry.is_runner({ agent_id: agentId, runner }));
      return listed ? "ok" : "bad";
    };
    const vault = async (): Promise<Check["state"]> =>
      (await read(this.vault.config())).registry === config.agentRegistryId ? "ok" : "bad";
    const unknown = (): Check["state"] => "unknown";
    // A build without a key of its own is for any runner, so there is nothing to compare.
    const build: Check[] =
      config.builtFor === undefined ? [] : [{ id: "build", state: compare(config.builtFor) }];
    return [
      ...build,
      { id: "service", state: compare(service) },
      { id: "registry", state: await registry().catch(unknown) },
      { id: "vault", state: await vault().catch(unknown) },
    ];
  }

  deposit = (amount: bigint) => this.send(this.vault.deposit({ user: this.me(), amount }));
  withdraw = (amount: bigint) => this.send(this.vault.withdraw({ user: this.me(), amount }));
  setPolicy = (policy: PolicyInput) =>
    this.send(this.vault.set_policy({ user: this.me(), policy }));

  setLimits = (runner: string, agent_id: number, limits: GrantLimits) =>
    this.send(this.vault.set_grant_limits({ user: this.me(), runner, agent_id, limits }));

  grant = (runner: string, agent_id: number, expires_at: bigint | null) =>
    this.send(this.vault.grant_runner({ user: this.me(), runner, agent_id, expires_at }));

  revoke = (runner: string, agent_id: number) =>
    this.send(this.vault.revoke_runner({ user: this.me(), runner, agent_id }));

  reclaim = (runId: string) => this.send(this.vault.reclaim_run({ run_id: unhex(runId) }));

  pauseOpens = () => this.send(this.vault.pause_opens());
  resumeOpens = () => this.send(this.vault.resume_opens());

  private me(): string {
    if (!this.wallet) throw new Error("no wallet is connected");
    return this.wallet.address;
  }

  /** Simulates, lets the wallet sign, sends, and waits until the ledger has decided. */
  private async send(assembling: Promise<AssembledTransaction<unknown>>): Promise<Sent> {
    const assembled = await answer(assembling);
    if (assembled.result instanceof Object && "isErr" in assembled.result) {
      const result = assembled.result as Result<unknown>;
      if (result.isErr()) throw refused(result.unwrapErr());
    }
    await this.authorise(assembled);
    await assembled.sign();
    const sent = await answer(assembled.send());
    const hash = sent.sendTransactionResponse?.hash ?? "";
    const status = sent.getTransactionResponse?.status;
    if (status === Api.GetTransactionStatus.SUCCESS) return { hash };
    if (status === Api.GetTransactionStatus.FAILED) {
      throw refusalOf(String(sent.getTransactionResponse)) ?? new NodeFailed(`${hash} failed`);
    }
    throw new Unsettled(hash);
  }

  /** Lets a contract account sign its part, which the payer's signature does not cover. */
  private async authorise(assembled: AssembledTransaction<unknown>): Promise<void> {
    const { wallet } = this;
    const authorise = wallet?.authorise;
    if (!wallet || !authorise) return;
    if (!assembled.needsNonInvokerSigningBy().includes(wallet.address)) return;
    const call = assembled.built?.operations[0];
    await assembled.signAuthEntries({
      address: wallet.address,
      authorizeEntry: async (entry) => {
        // What the node proposes to sign has to be what was asked for.
        checkEntry(entry, call, wallet.address, this.config);
        return xdr.SorobanAuthorizationEntry.fromXdr(
          await authorise(entry.toXdr("base64")),
          "base64",
        );
      },
    });
    // Once more, now with the signature: checking it costs too, and what is refused is not sent.
    await answer(assembled.simulate());
    if (assembled.simulation && Api.isSimulationError(assembled.simulation)) {
      throw refused(new Error(assembled.simulation.error));
    }
  }

  private async ask<T>(
    contract: string,
    method: string,
    ...args: ReturnType<Address["toScVal"]>[]
  ) {
    const source = new Account(NOBODY, "0");
    const transaction = new TransactionBuilder(source, {
      fee: BASE_FEE,
      networkPassphrase: this.config.networkPassphrase,
    })
      .addOperation(new Contract(contract).call(method, ...args))
      .setTimeout(30)
      .build();
    const simulated = await answer(this.server.simulateTransaction(transaction));
    if (Api.isSimulationError(simulated)) throw new NodeFailed(simulated.error);
    return scValToNative(simulated.result!.retval) as T;
  }
}

/** The value of a call that only reads. */
async function read<T>(asking: Promise<AssembledTransaction<T>>): Promise<Unwrapped<T>> {
  const { result } = await answer(asking);
  if (result instanceof Object && "isErr" in result) {
    const checked = result as unknown as Result<Unwrapped<T>>;
    if (checked.isErr()) throw refused(checked.unwrapErr());
    return checked.unwrap();
  }
  return result as Unwrapped<T>;
}

type Unwrapped<T> = T extends Result<infer V, infer _> ? V : T;

function refused(failure: unknown): Error {
  const refusal = refusalOf(failure);
  return refusal ? new Refused(refusal.name, { cause: failure }) : new NodeFailed(textOf(failure));
}

/** What a call throws, as one of our kinds; the wallet's own errors pass through. */
async function answer<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal) throw new Refused(refusal.name, { cause: error });
    if (error instanceof TypeError || /network|fetch|ECONN|status code/i.test(textOf(error))) {
      throw new NodeFailed("the network's node cannot be reached", { cause: error });
    }
    throw error;
  }
}

const textOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
