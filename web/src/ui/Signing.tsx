// What a passkey is to sign, shown before it is asked: its own dialog names only the site.

import { useSyncExternalStore } from "react";

import { useApp } from "@/app";
import type { Config } from "@/config";
import { visible } from "@/errors";
import { texts } from "@/texts";
import { type Call, pending, subscribe } from "@/wallet/approval";

import { Button, Id, Modal } from "./index";

const t = texts.signing;

export function Signing() {
  const { config } = useApp();
  const asked = useSyncExternalStore(subscribe, pending);
  return (
    <Modal
      open={asked !== undefined}
      onOpenChange={(open) => {
        if (!open) asked?.answer(false);
      }}
      title={t.title}
      about={t.about}
      testId="signing"
    >
      {asked && (
        <div className="stack">
          <p className="strong">{t.calls}</p>
          <Shown call={asked.call} config={config} />
          <p className="muted">{t.until(asked.until)}</p>
          <div className="row">
            <Button look="primary" onClick={() => asked.answer(true)}>
              {t.yes}
            </Button>
            <Button onClick={() => asked.answer(false)}>{t.no}</Button>
          </div>
        </div>
      )}
    </Modal>
  );
}

function Shown({ call, config }: { call: Call; config: Config }) {
  return (
    <div className="stack">
      <p>
        {nameOf(call.contract, config)} <Id text={call.contract} length={8} />
      </p>
      <ul className="signed">
        <li className="code">{visible(call.name)}</li>
        {call.args.map((value, place) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: an argument is known by its place
          <li className="code" key={place}>
            {visible(value)}
          </li>
        ))}
      </ul>
      {call.calls.map((below) => (
        <div key={below.contract + below.name}>
          <p className="strong">{t.below}</p>
          <Shown call={below} config={config} />
        </div>
      ))}
    </div>
  );
}

function nameOf(contract: string, config: Config): string {
  if (contract === config.contractId) return t.names.vault;
  if (contract === config.agentRegistryId) return t.names.registry;
  if (contract === config.token) return t.names.token;
  return contract === config.webAuthContractId ? t.names.login : t.other;
}
