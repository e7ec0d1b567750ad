// What the whole console shares: configuration, wallet, login, gateway, chain, theme.

import { useQueryClient } from "@tanstack/react-query";
import {
  createContext,
  type ReactNode,
  use,
  useCallback,
  useEffect,
  useMemo,
  useRef,
  useState,
} from "react";

import { askAgain, askAgainForAll } from "@/api/again";
import { follow, type StreamState } from "@/api/events";
import { Gateway, type Run } from "@/api/gateway";
import { logIn, logOut, refresh, type Session } from "@/api/session";
import type { Chain } from "@/chain/client";
import type { Config } from "@/config";
import type { Wallet } from "@/wallet/wallet";

export type Stream = StreamState | "off";

interface App {
  config: Config;
  gateway: Gateway;
  wallet: Wallet | undefined;
  session: Session | undefined;
  /** Whether the gateway answers for this account: logged in, or no login is asked for. */
  ready: boolean;
  isOperator: boolean;
  stream: Stream;
  /** Why there is no session, where the last login failed. */
  loginError: unknown;
  /** Loads the SDK when it is first needed. */
  chain: () => Promise<Chain>;
  /** Takes this wallet and logs in. A login that fails is kept in `loginError`: the wallet stays. */
  connect: (wallet: Wallet) => Promise<void>;
  signIn: () => Promise<void>;
  disconnect: (forget?: boolean) => Promise<void>;
}

const Context = createContext<App | null>(null);

export function useApp(): App {
  const app = use(Context);
  if (!app) throw new Error("used outside of the application");
  return app;
}

/** Which kind of wallet was used last. An address or a key is never stored. */
const CHOICE = "lumio.wallet";

async function restoreWallet(config: Config): Promise<Wallet | undefined> {
  const choice = localStorage.getItem(CHOICE);
  if (choice === "local") return (await import("@/wallet/local")).restore(config);
  if (choice === "kit") return (await import("@/wallet/kit")).restore(config);
  return undefined;
}

export function AppProvider({ config, children }: { config: Config; children: ReactNode }) {
  const queries = useQueryClient();
  const [wallet, setWallet] = useState<Wallet>();
  const [session, setSession] = useState<Session>();
  const [loginError, setLoginError] = useState<unknown>();
  const [stream, setStream] = useState<Stream>("off");
  const current = useRef<Session>(undefined);
  current.current = session;

  const gateway = useMemo(
    () =>
      new Gateway(
        config,
        () => current.current?.token,
        () => setSession(undefined),
      ),
    [config],
  );

  // A login that ends after another one began, or after its wallet has left, is not used.
  const logins = useRef(0);
  const begin = useCallback(
    async (whose: Wallet) => {
      logins.current += 1;
      const own = logins.current;
      setLoginError(undefined);
      try {
        const begun = await logIn(config, whose);
        if (own === logins.current) setSession(begun);
      } catch (error) {
        if (own === logins.current) setLoginError(error);
      }
    },
    [config],
  );

  const connect = useCallback(
    async (next: Wallet) => {
      localStorage.setItem(CHOICE, next.kind);
      setWallet(next);
      if (config.auth === "login") await begin(next);
    },
    [begin, config],
  );

  const signIn = useCallback(async () => {
    if (wallet) await begin(wallet);
  }, [begin, wallet]);

  const disconnect = useCallback(
    async (forget = false) => {
      const ended = current.current;
      localStorage.removeItem(CHOICE);
      logins.current += 1;
      setSession(undefined);
      setLoginError(undefined);
      setWallet(undefined);
      if (ended) await logOut(config, ended);
      if (wallet?.kind === "kit") await (await import("@/wallet/kit")).forget();
      if (wallet?.kind === "local" && forget) await (await import("@/wallet/local")).forget();
      // Nothing of one account is shown to the next.
      queries.clear();
    },
    [config, queries, wallet],
  );

  useEffect(() => {
    let isCurrent = true;
    restoreWallet(config)
      .then(async (found) => {
        if (!found || !isCurrent) return;
        setWallet(found);
        // A wallet of the person's own is not asked to sign without a click.
        if (config.auth === "login" && found.kind === "local") await begin(found);
      })
      .catch(() => undefined);
    return () => {
      isCurrent = false;
    };
  }, [begin, config]);

  useEffect(() => {
    if (!session) return;
    const soon = Math.max(5_000, session.expiresAt - Date.now() - 60_000);
    const timer = setTimeout(() => {
      refresh(config, session).then(setSession, (error: unknown) => {
        setSession(undefined);
        setLoginError(error);
      });
    }, soon);
    return () => clearTimeout(timer);
  }, [config, session]);

  const ready = wallet !== undefined && (config.auth === "none" || session !== undefined);
  const account = ready ? wallet.address : undefined;
  useEffect(() => {
    if (account === undefined) {
      setStream("off");
      return;
    }
    const ending = new AbortController();
    follow(
      gateway,
      "/events",
      {
        onState: (state) => {
          setStream(state);
          // What happened between the first answers and the stream came by no event.
          if (state === "live") void askAgainForAll(queries);
        },
        onEvent: ({ event, runId, data }) => {
          // The step is shown at once; the answer that follows brings the rest.
          const status = data.status as Run["status"] | undefined;
          const stepped = (run: Run) => (run.id === runId && status ? { ...run, status } : run);
          queries.setQueriesData<Run[]>({ queryKey: ["runs"] }, (runs) => runs?.map(stepped));
          queries.setQueryData<Run>(["run", runId], (run) => run && stepped(run));
          const keys = [["runs"], ["run", runId], ["timeline", runId], ["summary"], ["operator"]];
          if (["finalized", "failed", "cancelled", "opening"].includes(event)) {
            keys.push(["books"], ["grants"], ["outputs", runId]);
          }
          void askAgain(queries, keys);
        },
      },
      ending.signal,
    );
    return () => ending.abort();
  }, [account, gateway, queries]);

  const chain = useMemo(() => {
    let loaded: Promise<Chain> | undefined;
    return () => {
      loaded ??= import("@/chain/client").then(({ Chain }) => new Chain(config, wallet));
      return loaded;
    };
  }, [config, wallet]);

  const isOperator = ready && (config.auth === "none" || session?.role === "operator");
  const app = useMemo<App>(
    () => ({
      config,
      gateway,
      wallet,
      session,
      ready,
      isOperator,
      stream,
      loginError,
      chain,
      connect,
      signIn,
      disconnect,
    }),
    [
      config,
      gateway,
      wallet,
      session,
      ready,
      isOperator,
      stream,
      loginError,
      chain,
      connect,
      signIn,
      disconnect,
    ],
  );
  return <Context value={app}>{children}</Context>;
}
