import { useState } from "react";

import { useApp } from "@/app";
import { isLocal, passkeys } from "@/config";
import { texts } from "@/texts";

import { useAct } from "./act";
import { Button, Failure, Field, Id, Modal } from "./index";

const t = texts.connect;

/** The choice of a wallet, and what is connected. */
export function ConnectButton({ large = false }: { large?: boolean }) {
  const { config, wallet, connect } = useApp();
  const [isOpen, setOpen] = useState(false);
  // Kept here, since a wallet that pays is chosen in a dialog of its own: ours is closed meanwhile.
  const passkey = useAct(
    async (what: "create" | "open") => {
      if (config.passkeyPayer === "wallet") setOpen(false);
      try {
        await connect(await (await import("@/wallet/passkey"))[what](config));
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
        onClick={() => setOpen(true)}
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
          <Choice passkey={passkey} onDone={() => setOpen(false)} />
        )}
        {/* Also where the account is there and only its login failed. */}
        {passkey.error !== undefined && <Failure error={passkey.error} />}
      </Modal>
    </>
  );
}

interface ChoiceProps {
  passkey: ReturnType<typeof useAct<["create" | "open"]>>;
  onDone: () => void;
}

function Choice({ passkey, onDone }: ChoiceProps) {
  const { config, connect } = useApp();
  const kit = useAct(async () => {
    const { choose } = await import("@/wallet/kit");
    // The kit opens a dialog of its own; ours would keep the focus.
    onDone();
    await connect(await choose(config));
  });
  const local = useAct(
    async () => {
      const { create } = await import("@/wallet/local");
      await connect(await create(config));
    },
    { onDone },
  );
  const where = passkeys(config);
  const error = kit.error ?? local.error;
  return (
    <div className="stack">
      <button type="button" className="choice" onClick={() => kit.run()} disabled={kit.isBusy}>
        <span className="strong">{t.kit}</span>
        <span className="muted">{t.kitAbout}</span>
      </button>
      {where === "here" && (
        <>
          <button
            type="button"
            className="choice"
            onClick={() => passkey.run("open")}
            disabled={passkey.isBusy}
            aria-busy={passkey.isBusy}
          >
            <span className="strong">{passkey.isBusy ? t.passkeyBusy : t.passkeyOpen}</span>
            <span className="muted">{t.passkeyOpenAbout}</span>
          </button>
          <button
            type="button"
            className="choice"
            onClick={() => passkey.run("create")}
            disabled={passkey.isBusy}
          >
            <span className="strong">{t.passkey}</span>
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
          <button
            type="button"
            className="choice"
            onClick={() => local.run()}
            disabled={local.isBusy}
            aria-busy={local.isBusy}
            data-testid="local-key"
          >
            <span className="strong">
              {local.isBusy ? t.opening : t.local}{" "}
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
