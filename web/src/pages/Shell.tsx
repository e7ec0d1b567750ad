// What surrounds every page.

import { Link, Outlet } from "@tanstack/react-router";
import { useEffect, useState } from "react";

import { useApp } from "@/app";
import { isLocal } from "@/config";
import { texts } from "@/texts";
import { applyTheme, type Theme, theme } from "@/theme";
import { Button, Failure, Icon, Notice, Toasts } from "@/ui";
import { useAct } from "@/ui/act";
import { ConnectButton } from "@/ui/Connect";
import { Signing } from "@/ui/Signing";

export function Shell() {
  const { isOperator } = useApp();
  return (
    <>
      <button type="button" className="skip" onClick={focusContent}>
        {texts.skip}
      </button>
      <header className="top">
        <Link to="/" className="brand">
          <img src="/lumio.svg" alt="" width={28} height={28} />
          {texts.product}
        </Link>
        <nav aria-label={texts.nav.label}>
          <Link to="/">
            <Icon name="wallet" />
            {texts.nav.wallet}
          </Link>
          <Link to="/build">
            <Icon name="build" />
            {texts.nav.build}
          </Link>
          {isOperator && (
            <Link to="/operator">
              <Icon name="operator" />
              {texts.nav.operator}
            </Link>
          )}
        </nav>
        <div className="top-right">
          <NetworkBadge />
          <StreamDot />
          <ConnectButton />
        </div>
      </header>
      <main className="page" id="content" tabIndex={-1}>
        <Offline />
        <SignIn />
        <Outlet />
      </main>
      <footer className="foot">
        <ThemeChoice />
      </footer>
      <Signing />
      <Toasts />
    </>
  );
}

/** A button, because the router owns the part of the address that a link would use. */
function focusContent() {
  document.getElementById("content")?.focus();
}

function NetworkBadge() {
  const { config } = useApp();
  const names: Record<string, string> = {
    "Public Global Stellar Network ; September 2015": texts.network.public,
    "Test SDF Network ; September 2015": texts.network.test,
  };
  const name = isLocal(config)
    ? texts.network.local
    : (names[config.networkPassphrase] ?? texts.network.other);
  return <span className="badge">{name}</span>;
}

function StreamDot() {
  const { stream } = useApp();
  if (stream === "off") return null;
  return (
    <span className={`stream ${stream}`} role="status" data-testid="stream">
      <span className="dot" aria-hidden="true" />
      <span className="stream-text">{texts.stream[stream]}</span>
    </span>
  );
}

function Offline() {
  const [isOnline, setOnline] = useState(navigator.onLine);
  useEffect(() => {
    const update = () => setOnline(navigator.onLine);
    window.addEventListener("online", update);
    window.addEventListener("offline", update);
    return () => {
      window.removeEventListener("online", update);
      window.removeEventListener("offline", update);
    };
  }, []);
  if (isOnline) return null;
  return (
    <Notice kind="warn" title={texts.offline.title}>
      <p>{texts.offline.text}</p>
    </Notice>
  );
}

function SignIn() {
  const { wallet, ready, signIn, loginError } = useApp();
  const act = useAct(signIn);
  if (!wallet || ready) return null;
  return (
    <div className="stack">
      <Notice
        title={texts.login.needed}
        action={
          <Button look="primary" busy={act.isBusy} onClick={() => act.run()}>
            {act.isBusy ? texts.login.busy : texts.login.action}
          </Button>
        }
      >
        <p>{texts.login.about}</p>
      </Notice>
      {loginError !== undefined && !act.isBusy && <Failure error={loginError} />}
    </div>
  );
}

function ThemeChoice() {
  const [chosen, setChosen] = useState<Theme>(theme());
  return (
    <fieldset className="themes">
      <legend className="visually-hidden">{texts.theme.label}</legend>
      {(["auto", "light", "dark"] as const).map((name) => (
        <label key={name}>
          <input
            type="radio"
            name="theme"
            checked={chosen === name}
            onChange={() => {
              setChosen(name);
              applyTheme(name);
            }}
          />
          <span>{texts.theme[name]}</span>
        </label>
      ))}
    </fieldset>
  );
}
