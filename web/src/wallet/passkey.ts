// An account that a passkey signs for: a contract of its own (contracts/passkey-account). The key is
// in the authenticator. The account's address is the passkey's user handle, so that the passkey alone
// leads to the account, on every device that has it, and nothing is stored here.

import {
  Address,
  authorizeEntry,
  BASE_FEE,
  hash,
  Operation,
  scValToNative,
  StrKey,
  TransactionBuilder,
  xdr,
} from "@stellar/stellar-sdk";
import { Api, Server } from "@stellar/stellar-sdk/rpc";

import { NodeFailed, Unsettled } from "@/chain/client";
import { type Config, isLocal } from "@/config";
import { hex, unhex } from "@/hex";

import { approve, type Call } from "./approval";
import { compact } from "./signature";
import { Declined, type Wallet } from "./wallet";

type Bytes = Uint8Array<ArrayBuffer>;

/** For how many ledgers a signature is good: it is used at once. */
const LEDGERS = 500;
/** ECDSA with SHA-256 on the curve P-256, as COSE counts algorithms. */
const ES256 = -7;

/** Why there is no account to a passkey. */
export class PasskeyFailed extends Error {
  constructor(
    readonly code: "PASSKEY_UNKNOWN" | "PASSKEY_UNSUPPORTED" | "PASSKEY_NO_CODE",
    message: string,
  ) {
    super(message);
  }
}

interface Passkey {
  id: Bytes;
  account: string;
}

/** Makes a passkey, and the account that it signs for. */
export async function create(config: Config): Promise<Wallet> {
  const server = serverOf(config);
  const code = unhex(config.passkeyWasmHash ?? "");
  await demandCode(server, code);
  const payer = await payerOf(config);
  const salt = random();
  const account = addressOf(config, payer.address, salt);
  const site = location.hostname;
  const options: PublicKeyCredentialCreationOptions = {
    rp: { id: site, name: "Lumio" },
    user: {
      id: Uint8Array.from(StrKey.decodeContract(account)),
      name: `Lumio ${account.slice(0, 4)}…${account.slice(-4)}`,
      displayName: `Lumio account ${account.slice(0, 4)}…${account.slice(-4)}`,
    },
    challenge: random(),
    pubKeyCredParams: [{ type: "public-key", alg: ES256 }],
    authenticatorSelection: { residentKey: "required", userVerification: "required" },
    attestation: "none",
  };
  const made = await asked(() => navigator.credentials.create({ publicKey: options }));
  const response = made.response as AuthenticatorAttestationResponse;
  const publicKey = await pointOf(response);

  const siteHash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(site));
  const creation = Operation.createCustomContract({
    address: new Address(payer.address),
    wasmHash: code,
    salt,
    constructorArgs: [xdr.ScVal.scvBytes(publicKey), xdr.ScVal.scvBytes(new Uint8Array(siteHash))],
  });
  await send(config, server, payer, creation);
  if (isLocal(config)) await (await import("./local")).fund(config, account);
  return walletOf(config, { id: new Uint8Array(made.rawId), account }, payer);
}

/** The account of a passkey that the person chooses. */
export async function open(config: Config): Promise<Wallet> {
  const server = serverOf(config);
  // This signature is not used as a proof: it only asks which passkey there is.
  const options: PublicKeyCredentialRequestOptions = {
    challenge: random(),
    rpId: location.hostname,
    userVerification: "required",
  };
  const chosen = await asked(() => navigator.credentials.get({ publicKey: options }));
  const handle = (chosen.response as AuthenticatorAssertionResponse).userHandle;
  if (handle?.byteLength !== 32) {
    throw new PasskeyFailed("PASSKEY_UNKNOWN", "the passkey names no account");
  }
  const account = StrKey.encodeContract(new Uint8Array(handle));
  const key = xdr.LedgerKey.contractData(
    new xdr.LedgerKeyContractData({
      contract: new Address(account).toScAddress(),
      key: xdr.ScVal.scvLedgerKeyContractInstance(),
      durability: xdr.ContractDataDurability.persistent,
    }),
  );
  const found = await reached(server.getLedgerEntries(key));
  if (found.entries.length === 0) {
    throw new PasskeyFailed("PASSKEY_UNKNOWN", `there is no account ${account} on this network`);
  }
  const passkey = { id: new Uint8Array(chosen.rawId), account };
  return walletOf(config, passkey, await payerOf(config));
}

function walletOf(config: Config, passkey: Passkey, payer: Wallet): Wallet {
  return {
    kind: "passkey",
    name: "Passkey",
    address: passkey.account,
    payer: payer.address,
    sign: payer.sign,
    async authorise(text) {
      const entry = xdr.SorobanAuthorizationEntry.fromXdr(text, "base64");
      const latest = await reached(serverOf(config).getLatestLedger());
      const until = latest.sequence + LEDGERS;
      await approve(callOf(entry.rootInvocation), until);
      const signed = await authorizeEntry(
        entry,
        async (_preimage, payload) => ({
          signatureScVal: await assertion(passkey, Uint8Array.from(payload)),
        }),
        until,
        config.networkPassphrase,
      );
      return signed.toXdr("base64");
    },
  };
}

/** The passkey's signature of this payload, in the form of the contract's `WebAuthnSigData`. */
async function assertion(passkey: Passkey, payload: Bytes): Promise<xdr.ScVal> {
  const options: PublicKeyCredentialRequestOptions = {
    challenge: payload,
    rpId: location.hostname,
    allowCredentials: [{ type: "public-key", id: passkey.id }],
    userVerification: "required",
  };
  const given = await asked(() => navigator.credentials.get({ publicKey: options }));
  const response = given.response as AuthenticatorAssertionResponse;
  const member = (name: string, value: Bytes) =>
    new xdr.ScMapEntry({ key: xdr.ScVal.scvSymbol(name), val: xdr.ScVal.scvBytes(value) });
  return xdr.ScVal.scvMap([
    member("authenticator_data", new Uint8Array(response.authenticatorData)),
    member("client_data", new Uint8Array(response.clientDataJSON)),
    member("signature", compact(new Uint8Array(response.signature))),
  ]);
}

/** What the browser's dialog answers; a no of the person is {@link Declined}. */
async function asked(ask: () => Promise<Credential | null>): Promise<PublicKeyCredential> {
  try {
    const answer = await ask();
    if (answer instanceof PublicKeyCredential) return answer;
  } catch (error) {
    const name = error instanceof DOMException ? error.name : "";
    if (name === "NotSupportedError" || name === "ConstraintError") {
      throw new PasskeyFailed("PASSKEY_UNSUPPORTED", (error as Error).message);
    }
    if (name !== "NotAllowedError" && name !== "AbortError") throw error;
  }
  throw new Declined("the passkey was not used");
}

/** The public key as an uncompressed point. */
async function pointOf(response: AuthenticatorAttestationResponse): Promise<Bytes> {
  const encoded = response.getPublicKey();
  if (!encoded || response.getPublicKeyAlgorithm() !== ES256) {
    throw new PasskeyFailed("PASSKEY_UNSUPPORTED", "the authenticator made another kind of key");
  }
  const kind = { name: "ECDSA", namedCurve: "P-256" };
  const key = await crypto.subtle.importKey("spki", encoded, kind, true, ["verify"]);
  return new Uint8Array(await crypto.subtle.exportKey("raw", key));
}

/** What an entry authorises, for a person to read. */
function callOf(invocation: xdr.SorobanAuthorizedInvocation): Call {
  const called = invocation.function;
  if (called.type !== "sorobanAuthorizedFunctionTypeContractFn") {
    throw new Error("a passkey of the console authorises calls of contracts only");
  }
  const { contractAddress, functionName, args } = called.contractFn;
  return {
    contract: Address.fromScAddress(contractAddress).toString(),
    name: functionName.toString(),
    args: args.map(shown),
    calls: invocation.subInvocations.map(callOf),
  };
}

const shown = (value: xdr.ScVal): string => {
  const plain = scValToNative(value);
  if (typeof plain === "string") return plain;
  return JSON.stringify(plain, (_name, part) => {
    if (typeof part === "bigint") return part.toString();
    return part instanceof Uint8Array ? hex(part) : part;
  });
};

/**
 * Who pays: on the local network a key of this browser that friendbot funds, elsewhere a browser
 * wallet. It carries what the passkey has authorised and can authorise nothing itself.
 */
async function payerOf(config: Config): Promise<Wallet> {
  if (config.passkeyPayer === "local-key") {
    return (await import("./local")).create(config, "fees");
  }
  return (await import("./kit")).choose(config);
}

function serverOf(config: Config): Server {
  if (config.rpcUrl === null) throw new NodeFailed("this console was given no node");
  return new Server(config.rpcUrl, { allowHttp: config.rpcUrl.startsWith("http:") });
}

async function demandCode(server: Server, code: Bytes): Promise<void> {
  const key = xdr.LedgerKey.contractCode(new xdr.LedgerKeyContractCode({ hash: code }));
  const found = await reached(server.getLedgerEntries(key));
  if (found.entries.length === 0) {
    throw new PasskeyFailed("PASSKEY_NO_CODE", "the network does not hold the accounts' code");
  }
}

async function reached<T>(asking: Promise<T>): Promise<T> {
  try {
    return await asking;
  } catch (cause) {
    throw new NodeFailed("the network's node cannot be reached", { cause });
  }
}

/** The address of a contract that this account creates with this salt. */
function addressOf(config: Config, deployer: string, salt: Bytes): string {
  const preimage = xdr.HashIdPreimage.envelopeTypeContractId(
    new xdr.HashIdPreimageContractId({
      networkId: hash(new TextEncoder().encode(config.networkPassphrase)),
      contractIdPreimage: xdr.ContractIdPreimage.contractIdPreimageFromAddress(
        new xdr.ContractIdPreimageFromAddress({
          address: new Address(deployer).toScAddress(),
          salt,
        }),
      ),
    }),
  );
  return StrKey.encodeContract(hash(preimage.toXdr()));
}

async function send(config: Config, server: Server, payer: Wallet, operation: xdr.Operation) {
  const source = await reached(server.getAccount(payer.address));
  const built = new TransactionBuilder(source, {
    fee: BASE_FEE,
    networkPassphrase: config.networkPassphrase,
  })
    .addOperation(operation)
    .setTimeout(60)
    .build();
  const prepared = await server.prepareTransaction(built);
  const signed = await payer.sign(prepared.toXDR());
  const sent = await reached(
    server.sendTransaction(TransactionBuilder.fromXDR(signed, config.networkPassphrase)),
  );
  if (sent.status === "ERROR" || sent.status === "TRY_AGAIN_LATER") {
    throw new NodeFailed(`the node did not take the transaction: ${sent.status}`);
  }
  const settled = await server.pollTransaction(sent.hash, { attempts: 60 }).catch(() => undefined);
  if (settled?.status === Api.GetTransactionStatus.FAILED) {
    throw new NodeFailed(`the transaction ${sent.hash} that creates the account failed`);
  }
  if (settled?.status !== Api.GetTransactionStatus.SUCCESS) throw new Unsettled(sent.hash);
}

const random = (): Bytes => crypto.getRandomValues(new Uint8Array(32));
