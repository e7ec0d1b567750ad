import { useState } from "react";

import { useApp } from "@/app";
import { type Config, isLocal, passkeys } from "@/config";
import { texts } from "@/texts";
import type { Wallet } from "@/wallet/wallet";

import { useAct } from "./act";
import { Button, Failure, Field, Id, Modal } from "./index";

const t = texts.connect;

/** A way to a wallet that is one click. */
type Way = "kit" | "create" | "open" | "local";

async function walletBy(way: Way, config: Config): Promise<Wallet> {
  if (way === "kit") return (await import("@/wallet/kit")).choose(config);
  if (way === "local") return (await import("@/wallet/local")).create(config);
  return (await import("@/wallet/passkey"))[way](config);
}

/** Whether the browser wallets' own dialog opens on the way: ours would keep the focus. */
const opensKit = (way: Way, config: Config): boolean =>
  way === "kit" || (way !== "local" && config.passkeyPayer === "wallet");

/** The choice of a wallet, and what is connected. */
export function ConnectButton({ large = false }: { large?: boolean }) {
  const { config, wallet, connect } = useApp();
  const [isOpen, setOpen] = useState(false);
  const [way, setWay] = useState<Way>();
  // Kept here, since the dialog may be closed meanwhile.
  const act = useAct(
    async (chosen: Way) => {
      setWay(chosen);
      if (opensKit(chosen, config)) setOpen(false);
      try {
        await connect(await walletBy(chosen, config));
      } catch (error) {
        setOpen(true);
        throw error;
      }
    },
    { onDone: () => setOpen(false) },
  );
  const short = wallet && `${wallet.address.slice(0, 4)}…${wallet.address.slice(-4)}`;
  return (
    <>
      <Button
        look={wallet ? "plain" : "primary"}
        className={large ? "large" : ""}
        onClick={() => {
          act.reset();
          setOpen(true);
        }}
        data-testid="connect"
        data-address={wallet?.address}
      >
        {short ?? t.action}
      </Button>
      <Modal
        open={isOpen}
        onOpenChange={setOpen}
        title={wallet ? wallet.name : t.title}
        about={wallet ? undefined : t.about}
      >
        {wallet ? (
          <Connected onDone={() => setOpen(false)} />
        ) : (
          <Choice
            onChoice={act.run}
            busy={act.isBusy ? way : undefined}
            error={act.error}
            onDone={() => setOpen(false)}
          />
        )}
      </Modal>
    </>
  );
}

interface ChoiceProps {
  onChoice: (way: Way) => void;
  /** The way that is being gone. */
  busy: Way | undefined;
  error: unknown;
  onDone: () => void;
}

function Choice({ onChoice, busy, error, onDone }: ChoiceProps) {
  const { config } = useApp();
  const where = passkeys(config);
  const button = (way: Way) => ({
    type: "button" as const,
    className: "choice",
    onClick: () => onChoice(way),
    disabled: busy !== undefined,
    "aria-busy": busy === way,
  });
  return (
    <div className="stack">
      <button {...button("kit")}>
        <span className="strong">{t.kit}</span>
        <span className="muted">{t.kitAbout}</span>
      </button>
      {where === "here" && (
        <>
          <button {...button("open")}>
            <span className="strong">{busy === "open" ? t.passkeyBusy : t.passkeyOpen}</span>
            <span className="muted">{t.passkeyOpenAbout}</span>
          </button>
          <button {...button("create")}>
            <span className="strong">{busy === "create" ? t.passkeyBusy : t.passkey}</span>
            <span className="muted">{t.passkeyAbout}</span>
          </button>
        </>
      )}
      {where === "elsewhere" && isLocal(config) && (
        <p className="muted">
          {t.passkeyElsewhere} <a href={byName()}>{byName()}</a>
        </p>
      )}
      {isLocal(config) && (
        <>
          <button {...button("local")} data-testid="local-key">
            <span className="strong">
              {busy === "local" ? t.opening : t.local}{" "}
              <span className="badge warn">{t.localBadge}</span>
            </span>
            <span className="muted">{t.localAbout}</span>
          </button>
          <ImportKey onDone={onDone} />
        </>
      )}
      {error !== undefined && <Failure error={error} />}
    </div>
  );
}

/** This page by the name that every machine has for itself. */
function byName(): string {
  const url = new URL(location.href);
  url.hostname = "localhost";
  return url.href;
}

function ImportKey({ onDone }: { onDone: () => void }) {
  const { config, connect } = useApp();
  const [secret, setSecret] = useState("");
  const isWellFormed = /^S[A-Z2-7]{55}$/.test(secret.trim());
  const act = useAct(
    async () => {
      const { importSecret } = await import("@/wallet/local");
      const wallet = await importSecret(config, secret);
      setSecret("");
      await connect(wallet);
    },
    { onDone },
  );
  return (
    <details className="disclosure">
      <summary>{t.importLabel}</summary>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (isWellFormed) void act.run();
        }}
      >
        <Field
          label={t.importField}
          help={t.importHelp}
          type="password"
          autoComplete="off"
          spellCheck={false}
          value={secret}
          onChange={(event) => setSecret(event.target.value)}
          error={secret !== "" && !isWellFormed ? t.importInvalid : undefined}
        />
        <Button type="submit" busy={act.isBusy} disabled={!isWellFormed}>
          {t.importAction}
        </Button>
        {act.error !== undefined && <Failure error={act.error} />}
      </form>
    </details>
  );
}

function Connected({ onDone }: { onDone: () => void }) {
  const { wallet, disconnect } = useApp();
  const [isSure, setSure] = useState(false);
  if (!wallet) return null;
  const end = (forget: boolean) => {
    onDone();
    void disconnect(forget);
  };
  return (
    <div className="stack">
      <p className="muted">{t.signedInAs}</p>
      <p>
        <Id text={wallet.address} length={12} />
      </p>
      <div className="row">
        <Button onClick={() => end(false)}>{t.disconnect}</Button>
        {wallet.kind === "local" && !isSure && (
          <Button look="quiet" onClick={() => setSure(true)}>
            {t.forget}
          </Button>
        )}
      </div>
      {isSure && (
        <div className="stack">
          <p>{t.forgetConfirm}</p>
          <Button look="danger" onClick={() => end(true)}>
            {t.forget}
          </Button>
        </div>
      )}
    </div>
  );
}
