// A key of this browser, for the local network only. It is a WebCrypto key that cannot be
// extracted: it signs, but neither this page nor another one can read it. IndexedDB keeps the
// handle, not the key's bytes.

import { StrKey, TransactionBuilder } from "@stellar/stellar-sdk";

import { type Config, isLocal } from "@/config";

import type { Wallet } from "./wallet";

const STORE = "keys";

interface Kept {
  publicKey: Uint8Array<ArrayBuffer>;
  privateKey: CryptoKey;
}

function request<T>(asked: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}

async function store(mode: IDBTransactionMode): Promise<IDBObjectStore> {
  const opening = indexedDB.open("lumio-local-key", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  const database = await request(opening);
  return database.transaction(STORE, mode).objectStore(STORE);
}

function walletOf(config: Config, { publicKey, privateKey }: Kept): Wallet {
  const address = StrKey.encodeEd25519PublicKey(publicKey);
  return {
    kind: "local",
    name: "Local key",
    address,
    async sign(envelope) {
      const transaction = TransactionBuilder.fromXDR(envelope, config.networkPassphrase);
      const hash = new Uint8Array(transaction.hash());
      const signature = await crypto.subtle.sign("Ed25519", privateKey, hash);
      const text = btoa(String.fromCharCode(...new Uint8Array(signature)));
      transaction.addSignature(address, text);
      return transaction.toXDR();
    },
  };
}

function demand(config: Config): void {
  if (!isLocal(config)) throw new Error("a local key is for the local network only");
  if (!globalThis.crypto?.subtle) {
    throw new Error("this page has no WebCrypto: open it by https or at localhost");
  }
}

/** What a key is for: it is the account, or it pays the fees of accounts that are contracts. */
type Slot = "key" | "fees";

/** The key of this browser, if it has one already. */
export async function restore(config: Config, slot: Slot = "key"): Promise<Wallet | undefined> {
  if (!isLocal(config) || !globalThis.crypto?.subtle) return undefined;
  const kept = await request<Kept | undefined>((await store("readonly")).get(slot));
  return kept && walletOf(config, kept);
}

/** A new key for this browser, funded by the local network's friendbot. */
export async function create(config: Config, slot: Slot = "key"): Promise<Wallet> {
  demand(config);
  const found = await restore(config, slot);
  if (found) return found;
  const pair = (await crypto.subtle.generateKey("Ed25519", false, [
    "sign",
    "verify",
  ])) as CryptoKeyPair;
  const publicKey = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  return keep(config, { publicKey, privateKey: pair.privateKey }, slot);
}

/** Takes a secret key (S…) of the local network into a key that cannot be read any more. */
export async function importSecret(config: Config, secret: string): Promise<Wallet> {
  demand(config);
  const { Keypair } = await import("@stellar/stellar-sdk");
  const pair = Keypair.fromSecret(secret.trim());
  // PKCS #8 of RFC 8410: what precedes the 32 bytes never changes.
  const prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
  const seed = new Uint8Array([...prefix, ...pair.rawSecretKey()]);
  const privateKey = await crypto.subtle.importKey("pkcs8", seed, "Ed25519", false, ["sign"]);
  seed.fill(0);
  return keep(config, { publicKey: new Uint8Array(pair.rawPublicKey()), privateKey });
}

async function keep(config: Config, kept: Kept, slot: Slot = "key"): Promise<Wallet> {
  await request((await store("readwrite")).put(kept, slot));
  const wallet = walletOf(config, kept);
  await fund(config, wallet.address);
  return wallet;
}

/** Forgets the key for good. */
export async function forget(): Promise<void> {
  await request((await store("readwrite")).delete("key"));
}

/** Asks friendbot for a balance; an account that has one already keeps it. */
export async function fund(config: Config, address: string): Promise<void> {
  if (config.rpcUrl === null) return;
  const url = new URL(
    "friendbot",
    config.rpcUrl.endsWith("/") ? config.rpcUrl : `${config.rpcUrl}/`,
  );
  url.searchParams.set("addr", address);
  const answer = await fetch(url).catch(() => undefined);
  // 400 is friendbot's answer for an account that exists.
  if (!answer?.ok && answer?.status !== 400) {
    throw new Error("the local network's friendbot did not fund the new account; is it running?");
  }
}
