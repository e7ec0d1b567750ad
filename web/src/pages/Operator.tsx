// What the operator of a runner looks at: work, what waits for a decision, and what was found.

import { Tabs } from "@base-ui/react/tabs";
import { useQuery } from "@tanstack/react-query";
import { lazy, type ReactNode, Suspense, useState } from "react";

import type {
  Escrow,
  PackCheck,
  PackRow,
  Pause,
  PauseScope,
  QueueRow,
  RunStatus,
  Verdict,
} from "@/api/gateway";
import { useApp } from "@/app";
import { visible } from "@/errors";
import { texts } from "@/texts";
import {
  Button,
  Card,
  Empty,
  Failure,
  Field,
  Icon,
  Id,
  Notice,
  Skeleton,
  StatusChip,
  SwitchRow,
  When,
} from "@/ui";
import { useAct } from "@/ui/act";

import { DeadLettersPanel } from "./DeadLetters";
import { Panel, runLink, Table } from "./OperatorParts";

const Charts = lazy(() => import("./Charts").then(({ Charts }) => ({ default: Charts })));

const t = texts.operator;

const TABS = ["queue", "dead", "reconciliation", "verdicts", "packs", "charts"] as const;

export function OperatorPage() {
  const { isOperator } = useApp();
  if (!isOperator) return <Empty title={t.only} todo={t.onlyTodo} />;
  const panels: Record<(typeof TABS)[number], ReactNode> = {
    queue: <QueuePanel />,
    dead: <DeadLettersPanel />,
    reconciliation: <ReconciliationPanel />,
    verdicts: <VerdictsPanel />,
    packs: <PacksPanel />,
    charts: (
      <Suspense fallback={<Skeleton lines={6} />}>
        <Charts />
      </Suspense>
    ),
  };
  return (
    <>
      <h1>{t.title}</h1>
      <div className="grid">
        <div className="column span-6">
          <IntakeCard />
        </div>
        <div className="column span-6">
          <PauseCard />
        </div>
      </div>
      <Tabs.Root defaultValue="queue" className="column">
        <Tabs.List className="tabs" aria-label={t.title}>
          {TABS.map((name) => (
            <Tabs.Tab key={name} value={name} className="tab">
              {t.tabs[name]}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        {TABS.map((name) => (
          <Tabs.Panel key={name} value={name}>
            {panels[name]}
          </Tabs.Panel>
        ))}
      </Tabs.Root>
    </>
  );
}

/** Stops new runs of this service at its gateway; what was accepted goes on. */
function IntakeCard() {
  const { gateway } = useApp();
  const [reason, setReason] = useState("");
  const pauses = useQuery({ queryKey: ["operator", "intake"], queryFn: gateway.pauses });
  const stale = [["operator", "intake"], ["summary"]];
  const pause = useAct(() => gateway.pauseIntake(reason.trim()), { stale, said: t.intakeNow });
  const resume = useAct((scope: PauseScope) => gateway.resumeIntake(scope), {
    stale,
    said: t.intakeResumed,
  });
  if (pauses.error) return <Failure error={pauses.error} onRetry={() => pauses.refetch()} />;
  if (!pauses.data) return <Skeleton lines={2} />;
  const ofAll = pauses.data.find(({ scope }) => scope === "all");
  const others = pauses.data.filter((each) => each !== ofAll);
  return (
    <Card title={t.intake}>
      <SwitchRow
        label={t.intakePause}
        help={t.intakeAbout}
        checked={ofAll !== undefined}
        busy={pause.isBusy || resume.isBusy}
        onChange={(paused) => void (paused ? pause.run() : resume.run({}))}
      />
      {ofAll ? (
        <Notice kind="warn" title={t.intakePaused}>
          <PauseReason pause={ofAll} />
        </Notice>
      ) : (
        <Field
          label={t.intakeReason}
          help={t.intakeReasonHelp}
          maxLength={500}
          value={reason}
          onChange={(event) => setReason(event.target.value)}
        />
      )}
      {others.length > 0 && (
        <ul className="plain stack" aria-label={t.intakeOthers}>
          {others.map((each) => (
            <li key={`${each.scope} ${each.subject}`} className="spread">
              <div>
                <span className="strong">
                  {each.scope === "agent" ? t.intakeAgent : t.intakeUser}{" "}
                  {visible(each.subject ?? texts.common.none)}
                </span>
                <PauseReason pause={each} />
              </div>
              <Button small busy={resume.isBusy} onClick={() => resume.run(scopeOf(each))}>
                {t.intakeResume}
              </Button>
            </li>
          ))}
        </ul>
      )}
      {(pause.error ?? resume.error) !== undefined && (
        <Failure error={pause.error ?? resume.error} />
      )}
    </Card>
  );
}

const scopeOf = ({ scope, subject = "" }: Pause): PauseScope =>
  scope === "agent" ? { agent: Number(subject) } : { user: subject };

function PauseReason({ pause }: { pause: Pause }) {
  return (
    <p className="help">
      {visible(pause.reason)} · {visible(pause.pausedBy ?? texts.common.none)} ·{" "}
      <When at={pause.pausedAt} />
    </p>
  );
}

/** Stops every new run of the vault; the vault's own administrator alone may. */
function PauseCard() {
  const { chain, wallet } = useApp();
  const state = useQuery({
    queryKey: ["administration"],
    queryFn: async () => (await chain()).administration(),
  });
  const act = useAct(
    async (paused: boolean) => {
      const vault = await chain();
      await (paused ? vault.pauseOpens() : vault.resumeOpens());
    },
    { stale: [["administration"]] },
  );
  if (state.error) return <Failure error={state.error} onRetry={() => state.refetch()} />;
  if (!state.data) return <Skeleton lines={2} />;
  const { admin, opensPaused } = state.data;
  return (
    <Card title={t.pause}>
      {opensPaused && <Notice kind="warn" title={t.pausedAll} />}
      {admin === wallet?.address ? (
        <SwitchRow
          label={t.pause}
          help={t.pauseAbout}
          checked={opensPaused}
          busy={act.isBusy}
          onChange={(paused) => act.run(paused)}
        />
      ) : (
        <p className="help">
          {t.pauseAbout} {t.pauseAdmin(`${admin.slice(0, 6)}…${admin.slice(-6)}`)}
        </p>
      )}
      {act.error !== undefined && <Failure error={act.error} />}
    </Card>
  );
}

function QueuePanel() {
  const { gateway } = useApp();
  return (
    <Panel name="queue" load={gateway.queue} isEmpty={() => false} empty="">
      {({ summary, runs }) => (
        <>
          <dl className="figures">
            {Object.entries(summary).map(([name, value]) => (
              <div key={name}>
                <dt>{t.figures[name as keyof typeof t.figures] ?? visible(name)}</dt>
                <dd>{Number(value).toLocaleString("en")}</dd>
              </div>
            ))}
          </dl>
          {runs.length === 0 ? (
            <Empty title={t.queueEmpty} />
          ) : (
            <QueueTable rows={runs} label={t.tabs.queue} />
          )}
        </>
      )}
    </Panel>
  );
}

function QueueTable({ rows, label }: { rows: QueueRow[]; label: string }) {
  return (
    <Table
      label={label}
      heads={[t.run, t.user, t.status, t.phase, t.failures, t.waits, t.since]}
      rows={rows.map((row) => ({
        key: row.id,
        cells: [
          runLink(row.id),
          <Id key="user" text={row.user} length={4} />,
          <StatusChip key="status" status={row.status as RunStatus} />,
          visible(row.phase),
          row.failures,
          visible(row.operatorReason ?? row.waitingFor ?? texts.common.none),
          <When key="since" at={row.createdAt} />,
        ],
      }))}
    />
  );
}

/** A finding's members are shown by their names: there may be more of them. */
function ReconciliationPanel() {
  const { gateway } = useApp();
  return (
    <Panel name="reconciliation" load={gateway.reconciliation} isEmpty={() => false} empty="">
      {({ checkedAt, compared = {}, findings = [] }) => (
        <>
          <dl className="figures">
            {Object.entries(compared).map(([name, value]) => (
              <div key={name}>
                <dt>{t.places[name as keyof typeof t.places] ?? visible(name)}</dt>
                <dd>{Number(value).toLocaleString("en")}</dd>
              </div>
            ))}
          </dl>
          {checkedAt && (
            <p className="help">
              {t.compared} <When at={checkedAt} />
            </p>
          )}
          {findings.length === 0 ? (
            <Empty title={t.reconciliationEmpty} />
          ) : (
            <Findings findings={findings} />
          )}
        </>
      )}
    </Panel>
  );
}

function Findings({ findings }: { findings: Record<string, unknown>[] }) {
  const names = [...new Set(findings.flatMap((finding) => Object.keys(finding)))];
  const text = (value: unknown) =>
    visible(typeof value === "string" ? value : (JSON.stringify(value) ?? texts.common.none));
  return (
    <Table
      label={t.tabs.reconciliation}
      heads={names.map((name) => t.findings[name as keyof typeof t.findings] ?? visible(name))}
      rows={findings.map((finding) => ({
        key: JSON.stringify(finding),
        cells: names.map((name) => text(finding[name])),
      }))}
    />
  );
}

function VerdictsPanel() {
  const { gateway } = useApp();
  return (
    <Panel
      name="verdicts"
      load={gateway.verdicts}
      isEmpty={(rows) => rows.length === 0}
      empty={t.verdictsEmpty}
    >
      {(rows) => (
        <Table
          label={t.tabs.verdicts}
          heads={[t.module, t.verdict, t.effects, t.attempts, t.issued]}
          rows={rows.map(({ manifestHash, attempts, verdict }) => ({
            key: manifestHash,
            cells: [
              <ModuleName key="module" hash={manifestHash} verdict={verdict} />,
              <VerdictBadge key="verdict" verdict={verdict} />,
              <Effects key="effects" effects={verdict?.sideEffects} />,
              attempts,
              verdict?.issuedAt ? <When key="issued" at={verdict.issuedAt} /> : texts.common.none,
            ],
          }))}
        />
      )}
    </Panel>
  );
}

function ModuleName({ hash, verdict }: { hash: string; verdict: Verdict | undefined }) {
  return (
    <div className="stack">
      {verdict?.moduleId && (
        <span>
          {visible(verdict.moduleId)} {visible(verdict.moduleVersion ?? "")}
        </span>
      )}
      <Id text={hash} />
    </div>
  );
}

function VerdictBadge({ verdict }: { verdict: Verdict | undefined }) {
  if (!verdict) return texts.common.none;
  return (
    <>
      <span className={`badge ${verdict.accepted ? "good" : "bad"}`}>
        {visible(verdict.verdict)}
      </span>
      {verdict.reason && <p className="help">{visible(verdict.reason)}</p>}
    </>
  );
}

function Effects({ effects }: { effects: Verdict["sideEffects"] | undefined }) {
  if (!effects) return texts.common.none;
  const { declared, observed, deniedCount } = effects;
  const seen = observed.map(({ category, count }) => `${category} × ${count}`);
  return (
    <>
      <p>{t.declared(visible(declared.join(", ")))}</p>
      <p>{t.observed(visible(seen.join(", ")))}</p>
      {deniedCount > 0 && <p>{t.denied(deniedCount)}</p>}
    </>
  );
}

function PacksPanel() {
  const { gateway } = useApp();
  return (
    <Panel
      name="packs"
      load={gateway.packs}
      isEmpty={(rows) => rows.length === 0}
      empty={t.packsEmpty}
    >
      {(rows) => (
        <Table
          label={t.tabs.packs}
          heads={[t.run, t.escrow, t.pack, t.seal, t.since, t.check]}
          rows={rows.map((row) => ({
            key: `${row.runId} ${row.attempt}`,
            cells: [
              runLink(row.runId),
              texts.run.escrowIs[row.escrow as Escrow] ?? visible(row.escrow),
              <Id key="pack" text={row.packId} />,
              <Id key="seal" text={row.sealDigest} />,
              <When key="since" at={row.endedAt ?? row.createdAt} />,
              <PackCheckCell key="check" row={row} />,
            ],
          }))}
        />
      )}
    </Panel>
  );
}

function PackCheckCell({ row }: { row: PackRow }) {
  const { gateway } = useApp();
  const [check, setCheck] = useState<PackCheck>();
  const act = useAct(async () => setCheck(await gateway.checkPack(row.runId, row.attempt)));
  if (act.error !== undefined) return <Failure error={act.error} />;
  if (!check) {
    return (
      <Button small busy={act.isBusy} onClick={() => act.run()}>
        {act.isBusy ? t.checking : t.check}
      </Button>
    );
  }
  return (
    <>
      <span
        className={`badge ${check.status === "ok" ? "good" : check.status === "warn" ? "warn" : "bad"}`}
      >
        <Icon name={check.status === "fail" ? "close" : "check"} />{" "}
        {t.checked[check.status as keyof typeof t.checked]}
      </span>
      {check.issues.map((issue) => (
        <p key={`${issue.code} ${issue.detail}`} className="help">
          {visible(issue.code)}: {visible(issue.detail)}
        </p>
      ))}
    </>
  );
}
