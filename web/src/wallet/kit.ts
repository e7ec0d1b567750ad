// Browser wallets, by Stellar Wallets Kit. Modules are imported one by one: those that speak to
// hardware or to a relay bring hundreds of packages.

import { StellarWalletsKit } from "@creit.tech/stellar-wallets-kit/sdk";
import { AlbedoModule } from "@creit.tech/stellar-wallets-kit/modules/albedo";
import { FreighterModule } from "@creit.tech/stellar-wallets-kit/modules/freighter";
import { HanaModule } from "@creit.tech/stellar-wallets-kit/modules/hana";
import { LobstrModule } from "@creit.tech/stellar-wallets-kit/modules/lobstr";
import { RabetModule } from "@creit.tech/stellar-wallets-kit/modules/rabet";
import { xBullModule } from "@creit.tech/stellar-wallets-kit/modules/xbull";
import type { ModuleInterface, Networks } from "@creit.tech/stellar-wallets-kit/types";

import type { Config } from "@/config";

import { Declined, type Wallet, WalletFailed } from "./wallet";

let started = false;

/** Another host's icon would be blocked by the policy, and would tell that host who visits. */
function withOwnIcon<M extends ModuleInterface>(module: M): M {
  module.productIcon = `/wallets/${module.productId}.svg`;
  return module;
}

function start(config: Config): void {
  if (started) return;
  const modules = [
    new FreighterModule(),
    new xBullModule(),
    new LobstrModule(),
    new AlbedoModule(),
    new RabetModule(),
    new HanaModule(),
  ].map(withOwnIcon);
  StellarWalletsKit.init({ modules, network: config.networkPassphrase as Networks });
  started = true;
}

/** Wallets answer refusals in many forms: `code` -4 is that of SEP-43. */
function failure(error: unknown): Error {
  const { code, message } = (error ?? {}) as { code?: number; message?: string };
  const text = message ?? String(error);
  if (code === -4 || /reject|declin|denied|cancel|closed/i.test(text)) return new Declined(text);
  return new WalletFailed(text);
}

const walletOf = (config: Config, address: string): Wallet => ({
  kind: "kit",
  name: StellarWalletsKit.selectedModule.productName,
  address,
  async sign(envelope) {
    try {
      const options = { networkPassphrase: config.networkPassphrase, address };
      return (await StellarWalletsKit.signTransaction(envelope, options)).signedTxXdr;
    } catch (error) {
      throw failure(error);
    }
  },
});

/** Lets the person choose a wallet and account. */
export async function choose(config: Config): Promise<Wallet> {
  start(config);
  try {
    const { address } = await StellarWalletsKit.authModal();
    return walletOf(config, address);
  } catch (error) {
    throw failure(error);
  }
}

/** The wallet that was chosen before, if it still answers. */
export async function restore(config: Config): Promise<Wallet | undefined> {
  start(config);
  try {
    const { address } = await StellarWalletsKit.getAddress();
    return walletOf(config, address);
  } catch {
    return undefined;
  }
}

/** Forgets the choice. */
export const forget = (): Promise<void> => StellarWalletsKit.disconnect();
