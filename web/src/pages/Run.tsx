// One run: its state, what it used and cost, what it left, and whether that is true.

import { Link, useParams } from "@tanstack/react-router";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useState } from "react";

import { LUMENS, showAmount } from "@/amount";
import {
  type Attempt,
  GatewayError,
  type Output,
  type Run,
  type RunStatus,
  type TimelineEntry,
} from "@/api/gateway";
import { useApp } from "@/app";
import { hasEnded, useAgent, useRun, useTimeline, useUnit } from "@/data";
import { explainCode, visible } from "@/errors";
import { texts } from "@/texts";
import {
  Amount,
  Bar,
  Button,
  Card,
  Empty,
  Explanation,
  Facts,
  Failure,
  Icon,
  Id,
  Notice,
  Skeleton,
  StatusChip,
  When,
} from "@/ui";
import { useAct } from "@/ui/act";

import { RunActions } from "./Wallet";

const VerifyCard = lazy(() =>
  import("./Verify").then(({ VerifyCard }) => ({ default: VerifyCard })),
);

const t = texts.run;

export function RunPage() {
  const { id } = useParams({ from: "/runs/$id" });
  const { wallet, ready } = useApp();
  const run = useRun(id);
  if (!wallet) return <Empty title={t.missing} todo={t.missingTodo} />;
  if (!ready) return null;
  if (run.isPending) return <Skeleton lines={8} />;
  if (run.error && !run.data) {
    const isMissing = run.error instanceof GatewayError && run.error.status === 404;
    if (isMissing) return <Empty title={t.missing} todo={t.missingTodo} />;
    return <Failure error={run.error} onRetry={() => run.refetch()} />;
  }
  return run.data && <Shown run={run.data} />;
}

function Shown({ run }: { run: Run }) {
  const failure = run.errorCode ? explainCode(run.errorCode, run.error) : undefined;
  return (
    <>
      <div className="spread">
        <div className="stack">
          <Link to="/" className="row">
            <Icon name="back" />
            {t.back}
          </Link>
          <h1>{run.label ? visible(run.label) : `${t.title} ${run.id.slice(0, 8)}`}</h1>
        </div>
        <StatusChip status={run.status} />
      </div>
      <Progress run={run} />
      {failure && (
        <Notice kind="bad" title={visible(failure.means)}>
          <Explanation explained={failure} />
        </Notice>
      )}
      {run.waitingFor && !hasEnded(run) && (
        <Notice title={texts.runs.waitingFor}>
          <p>{visible(run.waitingFor)}</p>
        </Notice>
      )}
      <RunActions run={run} />
      <div className="grid">
        <div className="column span-7">
          <MoneyCard run={run} />
          <OutputsCard run={run} />
          <Suspense fallback={<Skeleton lines={4} />}>
            <VerifyCard run={run} />
          </Suspense>
        </div>
        <div className="column span-5">
          <TimelineCard run={run} />
          <ModuleCard run={run} />
          <FactsCard run={run} />
        </div>
      </div>
    </>
  );
}

const WAY = ["pending", "opening", "running", "finalizing", "finalized"] as const;

function Progress({ run }: { run: Run }) {
  const at = WAY.indexOf(run.status as (typeof WAY)[number]);
  // A run that failed got as far as its chain transactions say.
  const reached =
    at >= 0
      ? at
      : run.receipt
        ? 4
        : run.usage || run.transactionHashes.finalize
          ? 3
          : run.runId
            ? 2
            : 1;
  return (
    <ol className="progress" aria-label={t.progress}>
      {WAY.map((name, index) => {
        const isBad = at < 0 && index === reached;
        const isDone = index < reached || (at === WAY.length - 1 && index === reached);
        const state = isBad ? "bad" : isDone ? "done" : index === reached ? "now" : "later";
        const status: RunStatus = isBad ? run.status : name;
        return (
          <li key={name} data-state={state} aria-current={index === reached ? "step" : undefined}>
            {texts.runs.status[status]}
          </li>
        );
      })}
    </ol>
  );
}

function MoneyCard({ run }: { run: Run }) {
  const attempts = run.attempts ?? [];
  const receipts = attempts.flatMap((attempt) => (attempt.receipt ? [attempt.receipt] : []));
  const total = receipts.reduce(
    (sum, receipt) => sum + BigInt(receipt.actualCharge) + BigInt(receipt.runnerFee ?? "0"),
    0n,
  );
  return (
    <Card title={t.money}>
      <div className="spread">
        <p className="figure" data-testid="total" data-stroops={total.toString()}>
          <Amount stroops={total} />
        </p>
        <span className="badge">
          {t.escrow}: {t.escrowIs[run.escrow]}
        </span>
      </div>
      <Usage run={run} />
      {attempts.length > 0 && <Attempts attempts={attempts} />}
    </Card>
  );
}

function Usage({ run }: { run: Run }) {
  const meters = (Object.keys(texts.meters) as (keyof typeof texts.meters)[]).filter(
    (meter) => run.budgets[meter] > 0 || (run.usage?.[meter] ?? 0) > 0,
  );
  return (
    <div className="stack">
      <h3>{t.usage}</h3>
      {meters.map((meter) => {
        const used = run.usage?.[meter];
        const budget = run.budgets[meter];
        const of = `${used === undefined ? t.unused : used.toLocaleString("en")} / ${budget.toLocaleString("en")}`;
        return (
          <Bar key={meter} label={texts.meters[meter]} value={used ?? 0} most={budget} text={of} />
        );
      })}
    </div>
  );
}

function Attempts({ attempts }: { attempts: Attempt[] }) {
  const unit = useUnit();
  const amountOf = (stroops: string | undefined) =>
    stroops === undefined ? texts.common.none : showAmount(BigInt(stroops), unit);
  return (
    <div className="stack">
      <h3>{t.attempts}</h3>
      {attempts.length > 1 && <p className="help">{t.attemptsAbout}</p>}
      <div className="table-scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">#</th>
              <th scope="col">{texts.operator.outcome}</th>
              <th scope="col" className="number">
                {t.charge}
              </th>
              <th scope="col" className="number">
                {t.fee}
              </th>
              <th scope="col" className="number">
                {t.refund}
              </th>
            </tr>
          </thead>
          <tbody>
            {attempts.map((attempt) => (
              <tr key={attempt.attempt}>
                <td>{attempt.attempt}</td>
                <td>
                  {t.outcome[attempt.outcome] ?? visible(attempt.outcome)}
                  {attempt.errorCode && <p className="code">{visible(attempt.errorCode)}</p>}
                </td>
                <td className="number">{amountOf(attempt.receipt?.actualCharge)}</td>
                <td className="number">
                  {amountOf(attempt.receipt && (attempt.receipt.runnerFee ?? "0"))}
                </td>
                <td className="number">{amountOf(attempt.receipt?.refund)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

function TimelineCard({ run }: { run: Run }) {
  const timeline = useTimeline(run.id);
  // A gateway without timelines still names the transactions of the present attempt.
  const isMissing = timeline.error instanceof GatewayError && timeline.error.status === 404;
  const entries = timeline.data ?? (isMissing ? known(run) : undefined);
  return (
    <Card title={t.timeline}>
      {timeline.isPending && <Skeleton lines={5} />}
      {timeline.error && !isMissing && (
        <Failure error={timeline.error} onRetry={() => timeline.refetch()} />
      )}
      {entries?.length === 0 && <Empty title={t.timelineEmpty} />}
      {entries && entries.length > 0 && (
        <ol className="timeline" data-testid="timeline">
          {entries.map((entry, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: entries are only ever added at the end
            <Entry key={index} entry={entry} />
          ))}
        </ol>
      )}
    </Card>
  );
}

function known(run: Run): TimelineEntry[] {
  const { open, finalize } = run.transactionHashes;
  const hashes = [open && (["open", open] as const), finalize && (["finalize", finalize] as const)];
  return hashes.flatMap((pair) =>
    pair
      ? [
          {
            at: run.updatedAt,
            kind: "transaction" as const,
            attempt: run.attempt,
            transaction: {
              hash: pair[1],
              purpose: pair[0],
              state: "",
              sends: 1,
              createdAt: run.createdAt,
              updatedAt: run.updatedAt,
            },
          },
        ]
      : [],
  );
}

function Entry({ entry }: { entry: TimelineEntry }) {
  if (entry.kind === "event") {
    const name = texts.runs.status[entry.status] ?? visible(entry.event);
    return (
      <li className="event" data-event={entry.event}>
        <span className="strong">{name}</span>
        {entry.errorCode && <span className="code">{visible(entry.errorCode)}</span>}
        <When at={entry.at} />
      </li>
    );
  }
  const { transaction } = entry;
  const more = [
    transaction.state,
    transaction.ledger !== undefined && t.ledger(transaction.ledger),
    transaction.feeCharged !== undefined &&
      t.networkFee(showAmount(BigInt(transaction.feeCharged), LUMENS)),
  ].filter(Boolean);
  return (
    <li className="transaction" data-purpose={transaction.purpose}>
      <span>{t.purposes[transaction.purpose as keyof typeof t.purposes] ?? t.transaction}</span>
      <span className="row">
        <Id text={transaction.hash} length={8} />
      </span>
      <span className="help">{more.join(" · ")}</span>
      <When at={transaction.closedAt ?? entry.at} />
    </li>
  );
}

function ModuleCard({ run }: { run: Run }) {
  const agent = useAgent(run.agentId);
  const verdict = agent.data?.verdict;
  // The verdict is about the module that the agent sells now.
  const isThis = run.manifestHash !== undefined && agent.data?.manifestHash === run.manifestHash;
  return (
    <Card title={t.verdict}>
      <Facts
        rows={[
          [
            t.module,
            run.manifestHash ? <Id key="module" text={run.manifestHash} /> : texts.common.none,
          ],
          ...(verdict && isThis
            ? ([
                [
                  texts.operator.verdict,
                  <span
                    key="verdict"
                    className={`badge ${verdict.verdict === "PASS" ? "good" : "bad"}`}
                  >
                    {visible(verdict.verdict)}
                  </span>,
                ],
                ["", verdict.accepted ? t.verdictAccepted : t.verdictRefused],
              ] as [string, React.ReactNode][])
            : []),
        ]}
      />
      {agent.isSuccess && !(verdict && isThis) && <p className="help">{t.verdictNone}</p>}
    </Card>
  );
}

function FactsCard({ run }: { run: Run }) {
  return (
    <Card title={t.facts}>
      <Facts
        rows={[
          [t.title, <Id key="id" text={run.id} />],
          [t.agent, `${run.agentId}${run.rateVersion ? ` (v${run.rateVersion})` : ""}`],
          [t.workflow, run.workflowId ? visible(run.workflowId) : texts.common.none],
          [t.asked, <When key="asked" at={run.createdAt} />],
          [t.updated, <When key="updated" at={run.updatedAt} />],
          [t.seed, String(run.seed)],
          [t.input, <Id key="input" text={run.inputDigest} />],
          [t.vaultId, run.runId ? <Id key="vault" text={run.runId} /> : texts.common.none],
          [
            t.deadline,
            run.deadline ? <When key="deadline" at={run.deadline} /> : texts.common.none,
          ],
        ]}
      />
    </Card>
  );
}

function OutputsCard({ run }: { run: Run }) {
  const { gateway } = useApp();
  const delivered = (run.attempts ?? []).findLast((attempt) => attempt.pack !== undefined);
  const outputs = useQuery({
    queryKey: ["outputs", run.id, delivered?.attempt],
    queryFn: () => gateway.outputs(run.id, delivered!.attempt),
    enabled: delivered !== undefined,
    staleTime: Number.POSITIVE_INFINITY,
  });
  return (
    <Card title={t.outputs}>
      {!delivered && <Empty title={hasEnded(run) ? t.outputsNone : t.outputsLater} />}
      {delivered && outputs.isPending && <Skeleton lines={2} />}
      {outputs.error && <Failure error={outputs.error} onRetry={() => outputs.refetch()} />}
      {outputs.data?.outputs.length === 0 && <Empty title={t.outputsNone} />}
      {outputs.data && outputs.data.outputs.length > 0 && (
        <ul className="list" data-testid="outputs">
          {outputs.data.outputs.map((output) => (
            <OutputRow key={output.path} run={run} attempt={outputs.data.attempt} output={output} />
          ))}
        </ul>
      )}
    </Card>
  );
}

/** More is for an editor, not for a page. */
const MOST_SHOWN = 256 * 1024;

const sizeOf = (bytes: number) =>
  bytes < 1024
    ? `${bytes} B`
    : `${(bytes / 1024).toLocaleString("en", { maximumFractionDigits: 1 })} KiB`;

interface OutputProps {
  run: Run;
  attempt: number;
  output: Output;
}

function OutputRow({ run, attempt, output }: OutputProps) {
  const { gateway } = useApp();
  const [shown, setShown] = useState<string>();
  const look = useAct(async () => {
    if (output.length > MOST_SHOWN) return setShown(t.tooLarge);
    const blob = await gateway.output(run.id, attempt, output.path);
    setShown(await readable(blob));
  });
  const download = useAct(async () => {
    save(await gateway.output(run.id, attempt, output.path), output.path);
  });
  const error = look.error ?? download.error;
  return (
    <li>
      <div className="spread">
        <span className="stack-tight">
          <span className="strong">{visible(output.path)}</span>{" "}
          <span className="help">{sizeOf(output.length)}</span>
        </span>
        <span className="row">
          <Button
            small
            busy={look.isBusy}
            onClick={() => (shown === undefined ? look.run() : setShown(undefined))}
            aria-expanded={shown !== undefined}
          >
            <Icon name="eye" />
            {t.look}
          </Button>
          <Button small busy={download.isBusy} onClick={() => download.run()}>
            <Icon name="download" />
            {t.download}
          </Button>
        </span>
      </div>
      <Id text={output.sha256} length={10} />
      {shown !== undefined && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls is reached by keys
        <section className="viewer" tabIndex={0} aria-label={visible(output.path)}>
          {shown}
        </section>
      )}
      {error !== undefined && <Failure error={error} />}
    </li>
  );
}

/** The text of a file, JSON in lines; marks that could mislead are shown as what they are. */
async function readable(blob: Blob): Promise<string> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await blob.arrayBuffer());
  } catch {
    return t.binary;
  }
  try {
    return visible(JSON.stringify(JSON.parse(text), null, 2));
  } catch {
    return visible(text);
  }
}

/** Never opened in this page: what a module wrote must not run here. */
function save(blob: Blob, path: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([blob], { type: "application/octet-stream" }));
  link.download = path.split("/").at(-1) ?? "output";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
