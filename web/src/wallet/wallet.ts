/** Something that signs for one account. Where its key is, is its own matter. */
export interface Wallet {
  kind: "local" | "kit";
  /** As people know it. */
  name: string;
  address: string;
  /** Signs a transaction envelope (base64 XDR) for the configured network. */
  sign(envelope: string): Promise<string>;
}

/** The person said no in their wallet. */
export class Declined extends Error {}
