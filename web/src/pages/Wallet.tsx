// Money, limits, the runner's grants, and the newest runs of one account.

import { Link } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";

import { parseAmount, plainAmount, showAmount, type Unit } from "@/amount";
import type { Run } from "@/api/gateway";
import { useApp } from "@/app";
import type { Books } from "@/chain/client";
import { hasEnded, useBooks, useFunds, useGrants, useRuns, useSummary, useUnit } from "@/data";
import { explainCode, visible } from "@/errors";
import { texts } from "@/texts";
import {
  Amount,
  Bar,
  Button,
  Card,
  Empty,
  Failure,
  Field,
  Icon,
  Modal,
  Skeleton,
  StatusChip,
  SwitchRow,
  When,
} from "@/ui";
import { useAct } from "@/ui/act";
import { ConnectButton } from "@/ui/Connect";

import { GrantsCard, RunnerCard } from "./Runner";

export function WalletPage() {
  const { wallet } = useApp();
  if (!wallet) return <Hero />;
  return (
    <>
      <h1>{texts.nav.wallet}</h1>
      <Guide />
      <div className="grid">
        <div className="column span-7">
          <BalanceCard />
          <RunnerCard />
          <GrantsCard />
        </div>
        <div className="column span-5">
          <LimitsCard />
          <QueueCard />
          <RunsCard />
        </div>
      </div>
    </>
  );
}

function Hero() {
  const t = texts.hero;
  return (
    <div className="hero">
      <h1>{t.title}</h1>
      <p className="hero-lead">{t.lead}</p>
      <ConnectButton large />
      <ol>
        {t.steps.map((step) => (
          <li key={step.title}>
            <span className="strong">{step.title}</span>
            <span className="muted">{step.text}</span>
          </li>
        ))}
      </ol>
    </div>
  );
}

/** What a newcomer does next, until the first run has ended. */
function Guide() {
  const { wallet } = useApp();
  const books = useBooks();
  const grants = useGrants();
  const runs = useRuns();
  if (!books.data || !grants.data || !runs.data) return null;
  const verified = localStorage.getItem(`lumio.verified.${wallet?.address}`) !== null;
  const isDone = {
    deposit: books.data.balance > 0n || books.data.receipts > 0n,
    authorise: grants.data.length > 0 || books.data.receipts > 0n,
    run: runs.data.length > 0,
    verify: verified,
  };
  const names = ["deposit", "authorise", "run", "verify"] as const;
  const next = names.find((name) => !isDone[name]);
  if (next === undefined) return null;
  const newest = runs.data[0];
  return (
    <section aria-label={texts.guide.title}>
      <ol className="guide">
        {names.map((name, index) => {
          const state = isDone[name] ? "done" : name === next ? "next" : "later";
          const text = texts.guide.steps[name];
          return (
            <li key={name} data-state={state} aria-current={state === "next" ? "step" : undefined}>
              <span className="mark" aria-hidden="true">
                {isDone[name] ? <Icon name="check" /> : index + 1}
              </span>
              {name === "run" && state === "next" ? <Link to="/build">{text}</Link> : null}
              {name === "verify" && state === "next" && newest ? (
                <Link to="/runs/$id" params={{ id: newest.id }}>
                  {text}
                </Link>
              ) : null}
              {state !== "next" || name === "deposit" || name === "authorise" ? text : null}
              {state === "done" && <span className="visually-hidden">({texts.guide.done})</span>}
            </li>
          );
        })}
      </ol>
    </section>
  );
}

function BalanceCard() {
  const t = texts.balance;
  const books = useBooks();
  const funds = useFunds();
  const unit = useUnit();
  const [dialog, setDialog] = useState<"deposit" | "withdraw">();
  return (
    <Card title={t.title}>
      {books.isPending && <Skeleton lines={4} />}
      {books.error && <Failure error={books.error} onRetry={() => books.refetch()} />}
      {books.data && (
        <>
          <div>
            <p className="muted">{t.available}</p>
            <p
              className="figure"
              data-testid="balance"
              data-stroops={books.data.balance.toString()}
            >
              <Amount stroops={books.data.balance} />
            </p>
          </div>
          <div className="row">
            <Button look="primary" onClick={() => setDialog("deposit")}>
              {t.deposit}
            </Button>
            <Button onClick={() => setDialog("withdraw")} disabled={books.data.balance === 0n}>
              {t.withdraw}
            </Button>
          </div>
          <Spending books={books.data} unit={unit} />
          <dl className="facts">
            <div>
              <dt>{t.escrow}</dt>
              <dd>
                <Amount stroops={books.data.escrow} />
              </dd>
            </div>
            <div>
              <dt>{t.wallet}</dt>
              <dd>
                {funds.data === undefined ? texts.common.none : <Amount stroops={funds.data} />}
              </dd>
            </div>
          </dl>
          {unit && (
            // What was typed in another unit is another amount.
            <MoveDialog
              key={unit.name}
              kind={dialog}
              onClose={() => setDialog(undefined)}
              most={{ deposit: funds.data, withdraw: books.data.balance }}
              unit={unit}
            />
          )}
        </>
      )}
    </Card>
  );
}

function Spending({ books, unit }: { books: Books; unit: Unit | undefined }) {
  const t = texts.balance;
  const used = books.spent + books.reserved;
  const cap = books.dailyCap;
  const spent = showAmount(books.spent, unit);
  return (
    <div className="stack">
      <Bar
        label={t.spent}
        value={Number(used)}
        most={Number(cap)}
        text={cap === 0n ? t.spentUncapped(spent) : t.spentOf(spent, showAmount(cap, unit))}
      />
      {books.reserved > 0n && (
        <p className="help">
          {t.reserved}: <Amount stroops={books.reserved} />
        </p>
      )}
    </div>
  );
}

interface MoveProps {
  kind: "deposit" | "withdraw" | undefined;
  onClose: () => void;
  most: { deposit: bigint | undefined; withdraw: bigint };
  unit: Unit;
}

/** What is wrong with an amount, or nothing. */
export function amountError(
  value: ReturnType<typeof parseAmount>,
  unit: Unit,
  isZeroFine = false,
): string | undefined {
  if (isZeroFine && value === "empty") return undefined;
  if (value === "places") return texts.amount.places(unit.decimals);
  if (typeof value === "string") return texts.amount[value];
  return value === 0n && !isZeroFine ? texts.amount.zero : undefined;
}

function MoveDialog({ kind, onClose, most, unit }: MoveProps) {
  const { chain } = useApp();
  const t = texts.balance;
  const [typed, setTyped] = useState("");
  const [isTouched, setTouched] = useState(false);
  const amount = parseAmount(typed, unit);
  const highest = kind ? most[kind] : undefined;
  const tooMuch = typeof amount === "bigint" && highest !== undefined && amount > highest;
  const error = tooMuch ? t.tooMuch(showAmount(highest, unit)) : amountError(amount, unit);
  const shown = typeof amount === "bigint" ? showAmount(amount, unit) : "";
  const close = () => {
    setTyped("");
    setTouched(false);
    act.reset();
    onClose();
  };
  const act = useAct(
    async () => {
      if (typeof amount !== "bigint" || !kind) return;
      await (kind === "deposit"
        ? (await chain()).deposit(amount)
        : (await chain()).withdraw(amount));
    },
    {
      stale: [["books"]],
      said: kind === "deposit" ? t.deposited(shown) : t.withdrawn(shown),
      onDone: () => close(),
    },
  );
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTouched(true);
    if (!error) void act.run();
  };
  return (
    <Modal
      open={kind !== undefined}
      onOpenChange={(open) => !open && close()}
      title={kind ? t[kind] : ""}
      about={kind === "withdraw" ? t.withdrawAbout : t.depositAbout}
    >
      <form className="stack" onSubmit={submit} noValidate>
        <Field
          label={t.amount}
          unit={unit.name}
          inputMode="decimal"
          autoComplete="off"
          value={typed}
          onChange={(event) => setTyped(event.target.value)}
          error={isTouched ? error : undefined}
        />
        <div className="spread">
          {kind === "withdraw" ? (
            <Button small look="quiet" onClick={() => setTyped(plainAmount(most.withdraw, unit))}>
              {t.max}
            </Button>
          ) : (
            <span />
          )}
          <Button type="submit" look="primary" busy={act.isBusy}>
            {act.isBusy ? texts.common.signing : kind && t[kind]}
          </Button>
        </div>
        {act.error !== undefined && <Failure error={act.error} />}
      </form>
    </Modal>
  );
}

function LimitsCard() {
  const books = useBooks();
  const unit = useUnit();
  return (
    <Card title={texts.limits.title} about={texts.limits.about} id="limits">
      {(books.isPending || (books.data && !unit)) && <Skeleton lines={4} />}
      {books.error && <Failure error={books.error} onRetry={() => books.refetch()} />}
      {books.data && unit && (
        <LimitsForm
          key={`${books.data.perRunCap} ${books.data.dailyCap} ${unit.name}`}
          books={books.data}
          unit={unit}
        />
      )}
    </Card>
  );
}

function LimitsForm({ books, unit }: { books: Books; unit: Unit }) {
  const { chain } = useApp();
  const t = texts.limits;
  const plain = (cap: bigint) => (cap === 0n ? "" : plainAmount(cap, unit));
  const [perRun, setPerRun] = useState(plain(books.perRunCap));
  const [daily, setDaily] = useState(plain(books.dailyCap));
  const caps = [parseAmount(perRun, unit), parseAmount(daily, unit)] as const;
  const [perRunCap, dailyCap] = caps.map((cap) => (typeof cap === "bigint" ? cap : 0n));
  const errors = caps.map((cap) => amountError(cap, unit, true));
  const isChanged = perRunCap !== books.perRunCap || dailyCap !== books.dailyCap;
  const stale = [["books"]];
  const save = useAct(
    async () =>
      (await chain()).setPolicy({
        per_run_cap: perRunCap!,
        daily_cap: dailyCap!,
        paused: books.paused,
      }),
    { stale, said: t.saved },
  );
  const pause = useAct(
    async (paused: boolean) =>
      (await chain()).setPolicy({
        per_run_cap: books.perRunCap,
        daily_cap: books.dailyCap,
        paused,
      }),
    { stale, said: books.paused ? t.resumedNow : t.pausedNow },
  );
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (isChanged && !errors.some(Boolean)) void save.run();
  };
  return (
    <>
      <form className="stack" onSubmit={submit} noValidate>
        <Field
          label={t.perRun}
          inputMode="decimal"
          value={perRun}
          onChange={(event) => setPerRun(event.target.value)}
          error={errors[0]}
          help={t.none}
          unit={unit.name}
        />
        <Field
          label={t.daily}
          inputMode="decimal"
          value={daily}
          onChange={(event) => setDaily(event.target.value)}
          error={errors[1]}
          help={t.none}
          unit={unit.name}
        />
        <Button type="submit" busy={save.isBusy} disabled={!isChanged || errors.some(Boolean)}>
          {save.isBusy ? texts.common.signing : t.save}
        </Button>
        {save.error !== undefined && <Failure error={save.error} />}
      </form>
      <SwitchRow
        label={t.pause}
        help={books.paused ? t.paused : t.pauseAbout}
        checked={books.paused}
        busy={pause.isBusy}
        onChange={(paused) => pause.run(paused)}
      />
      {pause.error !== undefined && <Failure error={pause.error} />}
    </>
  );
}

function QueueCard() {
  const t = texts.queue;
  const summary = useSummary();
  const status = summary.data?.status;
  const { ready } = useApp();
  if (!ready) return null;
  return (
    <Card title={t.title}>
      {summary.isPending && <Skeleton lines={2} />}
      {summary.error && <Failure error={summary.error} onRetry={() => summary.refetch()} />}
      {status && (
        <dl className="figures">
          <div>
            <dt>{t.depth}</dt>
            <dd data-testid="queue-depth">{status.queueDepth}</dd>
          </div>
          <div>
            <dt>{t.running}</dt>
            <dd>{status.running}</dd>
          </div>
          <div>
            <dt>{t.stuck}</dt>
            <dd>{status.stuck}</dd>
          </div>
        </dl>
      )}
    </Card>
  );
}

function RunsCard() {
  const t = texts.runs;
  const runs = useRuns(5);
  const { ready } = useApp();
  if (!ready) return null;
  return (
    <Card title={t.title}>
      {runs.isPending && <Skeleton lines={5} />}
      {runs.error && <Failure error={runs.error} onRetry={() => runs.refetch()} />}
      {runs.data?.length === 0 && (
        <Empty
          title={t.empty}
          todo={t.emptyTodo}
          action={
            <Link to="/build" className="button primary">
              {t.build}
            </Link>
          }
        />
      )}
      {runs.data && runs.data.length > 0 && (
        <ul className="list" data-testid="runs">
          {runs.data.map((run) => (
            <RunRow key={run.id} run={run} />
          ))}
        </ul>
      )}
    </Card>
  );
}

function RunRow({ run }: { run: Run }) {
  const t = texts.runs;
  const failure = run.errorCode ? explainCode(run.errorCode, run.error) : undefined;
  return (
    <li data-run={run.id}>
      <div className="spread">
        <Link to="/runs/$id" params={{ id: run.id }} className="strong">
          {run.label ? visible(run.label) : run.id.slice(0, 8)}
        </Link>
        <StatusChip status={run.status} />
      </div>
      <p className="help">
        <When at={run.createdAt} /> · {texts.run.agent} {run.agentId}
        {run.attempt > 1 && ` · ${t.attempt(run.attempt)}`}
      </p>
      {failure && (
        <p className="small-text">
          {visible(failure.means)} <span className="code">{visible(failure.code)}</span>
        </p>
      )}
      {run.waitingFor && !hasEnded(run) && (
        <p className="small-text muted">
          {t.waitingFor}: {visible(run.waitingFor)}
        </p>
      )}
      <RunActions run={run} />
    </li>
  );
}

/** What may be done about a run now. */
export function RunActions({ run }: { run: Run }) {
  const { gateway, chain } = useApp();
  const t = texts.runs;
  const stale = [["runs"], ["run", run.id], ["timeline", run.id], ["summary"], ["books"]];
  const retry = useAct(() => gateway.retry(run.id), { stale, said: t.retried });
  const cancel = useAct(() => gateway.cancel(run.id), { stale, said: t.cancelled });
  const reclaim = useAct(async () => (await chain()).reclaim(run.runId!), {
    stale,
    said: t.reclaimed,
  });
  const isOverdue =
    run.escrow === "open" && run.runId && run.deadline && Date.parse(run.deadline) <= Date.now();
  const canCancel = ["pending", "opening"].includes(run.status);
  if (run.status !== "failed" && !canCancel && !isOverdue) return null;
  const error = retry.error ?? cancel.error ?? reclaim.error;
  return (
    <>
      <div className="row">
        {run.status === "failed" && (
          <Button small busy={retry.isBusy} onClick={() => retry.run()}>
            {t.retry}
          </Button>
        )}
        {canCancel && (
          <Button small busy={cancel.isBusy} onClick={() => cancel.run()}>
            {t.cancel}
          </Button>
        )}
        {isOverdue && (
          <Button small busy={reclaim.isBusy} onClick={() => reclaim.run()}>
            {t.reclaim}
          </Button>
        )}
      </div>
      {error !== undefined && <Failure error={error} />}
    </>
  );
}
