// A local network of this repository as a child process, and what a wallet needs on it.

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { Keypair, Operation, TransactionBuilder, hash, rpc } from "@stellar/stellar-sdk";

const root = new URL("../../", import.meta.url);
const program = process.env["LUMIO_LOCALNET"] ?? new URL("target/debug/lumio-localnet", root).pathname;
export const networkPassphrase = "Standalone Network ; February 2017";

/** One network; `stop` ends it. */
export class Localnet {
  readonly url: string;
  readonly server: rpc.Server;
  #process: ChildProcess;

  private constructor(process: ChildProcess, url: string) {
    this.#process = process;
    this.url = url;
    this.server = new rpc.Server(url, { allowHttp: true });
  }

  /** Starts on a free port, which the first line of output names. */
  static async start(): Promise<Localnet> {
    if (!existsSync(program)) {
      throw new Error(`${program} is missing; build it with: cargo build -p soroban-localnet`);
    }
    const child = spawn(program, ["--port", "0", "--ledger-interval-ms", "100", "--log-level", "error"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    for await (const line of createInterface({ input: child.stdout })) {
      const url = /listening on (http:\S+)/.exec(line)?.[1];
      if (url) return new Localnet(child, url);
    }
    throw new Error("lumio-localnet ended before it listened");
  }

  /** A new funded account. */
  async account(): Promise<Keypair> {
    const key = Keypair.random();
    const answer = await fetch(`${this.url}/friendbot?addr=${key.publicKey()}`);
    if (!answer.ok) throw new Error(`friendbot: ${await answer.text()}`);
    return key;
  }

  /** What a generated client needs to sign with `key`. */
  signer(key: Keypair) {
    return { rpcUrl: this.url, allowHttp: true, networkPassphrase, publicKey: key.publicKey(), signTransaction: key };
  }

  /** Stores a contract of `contracts/wasm` and answers its hash. */
  async upload(name: string, key: Keypair): Promise<Uint8Array> {
    const wasm = readFileSync(new URL(`contracts/wasm/${name}.wasm`, root));
    const source = await this.server.getAccount(key.publicKey());
    const unprepared = new TransactionBuilder(source, { fee: "1000", networkPassphrase })
      .addOperation(Operation.uploadContractWasm({ wasm }))
      .setTimeout(60)
      .build();
    const prepared = await this.server.prepareTransaction(unprepared);
    prepared.sign(key);
    const sent = await this.server.sendTransaction(prepared);
    const done = await this.server.pollTransaction(sent.hash, { attempts: 100, sleepStrategy: () => 100 });
    if (done.status !== rpc.Api.GetTransactionStatus.SUCCESS) throw new Error(`upload of ${name}: ${done.status}`);
    return hash(wasm);
  }

  /** Ends the process and waits until it is gone. */
  async stop(): Promise<void> {
    const gone = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGTERM");
    await gone;
  }
}
