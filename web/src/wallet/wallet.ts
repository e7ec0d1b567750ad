/** Something that signs for one account. Where its key is, is its own matter. */
export interface Wallet {
  kind: "local" | "kit" | "passkey";
  /** As people know it. */
  name: string;
  address: string;
  /**
   * The account that carries this one's calls in its transactions and pays their fees, where a
   * contract is the account. It can do nothing else for it.
   */
  payer?: string;
  /** Signs a transaction envelope (base64 XDR) for the configured network, as the payer if there is one. */
  sign(envelope: string): Promise<string>;
  /** Signs an authorization entry (base64 XDR) of the account, where a contract is the account. */
  authorise?(entry: string): Promise<string>;
}

/** The person said no in their wallet. */
export class Declined extends Error {}

/** The wallet gave no signature or no account, for a reason that is not the person's. */
export class WalletFailed extends Error {
  readonly code = "WALLET_FAILED";
}
