// Whom the user trusts with spending: the canonical key, its checks, and the grants.

import { type FormEvent, useState } from "react";

import { parseAmount, plainAmount, showAmount, type Unit } from "@/amount";
import type { Agent } from "@/api/gateway";
import { useApp } from "@/app";
import type { Check, Grant } from "@/chain/client";
import { useAgents, useCanonical, useGrants, useUnit } from "@/data";
import { texts } from "@/texts";
import {
  Amount,
  Button,
  Card,
  Empty,
  Failure,
  Field,
  Icon,
  Id,
  Modal,
  Notice,
  SelectField,
  Skeleton,
  When,
} from "@/ui";
import { useAct } from "@/ui/act";

import { amountError } from "./Wallet";

const EXPIRIES = { day: 1, week: 7, month: 30, quarter: 90, never: 0 } as const;

export function RunnerCard() {
  const t = texts.runner;
  const { config, ready } = useApp();
  const agents = useAgents();
  const unit = useUnit();
  const [isOpen, setOpen] = useState(false);
  const first = agents.data?.find((agent) => agent.listsThisRunner) ?? agents.data?.[0];
  const checks = useCanonical(first?.agentId);
  if (!ready) return null;
  return (
    <Card title={t.title} about={t.about} id="runner">
      <div className="stack">
        <p className="muted small-text">{t.key}</p>
        {config.runner ? (
          <p data-testid="runner-key">
            <Id text={config.runner} length={10} />
          </p>
        ) : (
          <p>{t.none}</p>
        )}
      </div>
      {agents.error && <Failure error={agents.error} onRetry={() => agents.refetch()} />}
      {agents.data?.length === 0 && (
        <Empty title={texts.authorise.noAgents} todo={texts.authorise.noAgentsTodo} />
      )}
      {first && <Checks checks={checks.data} />}
      {first && (
        <div className="row">
          <Button look="primary" disabled={!isSure(checks.data)} onClick={() => setOpen(true)}>
            {texts.authorise.action}
          </Button>
        </div>
      )}
      <Modal open={isOpen} onOpenChange={setOpen} title={texts.authorise.title}>
        {agents.data && first && unit && (
          // What was typed in another unit is another amount.
          <AuthoriseForm
            key={unit.name}
            agents={agents.data}
            first={first}
            unit={unit}
            onDone={() => setOpen(false)}
          />
        )}
      </Modal>
    </Card>
  );
}

/** Whether every check was made and holds. */
const isSure = (checks: Check[] | undefined): boolean =>
  checks?.every((check) => check.state === "ok") ?? false;

function Checks({ checks }: { checks: Check[] | undefined }) {
  const t = texts.runner;
  if (!checks) return <Skeleton lines={3} />;
  const icons = { ok: "check", bad: "close", unknown: "question" } as const;
  return (
    <div className="stack">
      <ul className="checks" data-testid="checks">
        {checks.map(({ id, state }) => (
          <li key={id} className={state} data-check={id} data-state={state}>
            <span className="mark">
              <Icon name={icons[state]} />
            </span>
            <span>
              <span className="visually-hidden">{t.state[state]}: </span>
              {t.checks[id]}
            </span>
          </li>
        ))}
      </ul>
      {checks.some((check) => check.state === "bad") ? (
        <Notice kind="bad" title={t.blocked}>
          <p>{t.blockedText}</p>
        </Notice>
      ) : (
        !isSure(checks) && (
          <Notice kind="warn" title={t.blocked}>
            <p>{t.unchecked}</p>
          </Notice>
        )
      )}
    </div>
  );
}

interface AuthoriseProps {
  agents: Agent[];
  first: Agent;
  unit: Unit;
  onDone: () => void;
}

function AuthoriseForm({ agents, first, unit, onDone }: AuthoriseProps) {
  const { chain, config } = useApp();
  const t = texts.authorise;
  const [agent, setAgent] = useState(String(first.agentId));
  const [expiry, setExpiry] = useState<keyof typeof EXPIRIES>("month");
  const [perRun, setPerRun] = useState("1");
  const [total, setTotal] = useState("10");
  const [fee, setFee] = useState(plainAmount(BigInt(config.runnerFee), unit));
  const [step, setStep] = useState(1);
  const agentId = Number(agent);
  const checks = useCanonical(agentId);
  const amounts = [perRun, total, fee].map((typed) => parseAmount(typed, unit));
  const errors = amounts.map((amount) => amountError(amount, unit, true));
  const [per_run_cap, total_cap, max_runner_fee] = amounts.map((amount) =>
    typeof amount === "bigint" ? amount : 0n,
  );
  const act = useAct(
    async () => {
      const vault = await chain();
      const runner = config.runner!;
      setStep(1);
      await vault.setLimits(runner, agentId, {
        per_run_cap: per_run_cap!,
        total_cap: total_cap!,
        max_runner_fee: max_runner_fee!,
      });
      setStep(2);
      await vault.grant(runner, agentId, expiresAt(EXPIRIES[expiry]));
    },
    { stale: [["grants"]], said: t.done, onDone },
  );
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (isSure(checks.data) && !errors.some(Boolean)) void act.run();
  };
  return (
    <form className="stack" onSubmit={submit} noValidate>
      <SelectField
        label={t.agent}
        value={agent}
        onChange={setAgent}
        options={agents.map(({ agentId, metadataUri }) => ({
          value: String(agentId),
          label: metadataUri ? `${agentId} · ${metadataUri}` : `${agentId}`,
        }))}
      />
      {!isSure(checks.data) && <Checks checks={checks.data} />}
      <SelectField
        label={t.expiry}
        value={expiry}
        onChange={(value) => setExpiry(value as keyof typeof EXPIRIES)}
        options={Object.entries(t.expiries).map(([value, label]) => ({ value, label }))}
      />
      <Field
        label={t.perRun}
        unit={unit.name}
        inputMode="decimal"
        value={perRun}
        onChange={(event) => setPerRun(event.target.value)}
        error={errors[0]}
        help={texts.limits.none}
      />
      <Field
        label={t.total}
        unit={unit.name}
        inputMode="decimal"
        value={total}
        onChange={(event) => setTotal(event.target.value)}
        error={errors[1]}
        help={texts.limits.none}
      />
      <Field
        label={t.fee}
        unit={unit.name}
        inputMode="decimal"
        value={fee}
        onChange={(event) => setFee(event.target.value)}
        error={errors[2]}
        help={t.feeHelp(showAmount(BigInt(config.runnerFee), unit))}
      />
      <p className="help">{t.limitsFirst}</p>
      <Button type="submit" look="primary" busy={act.isBusy} disabled={!isSure(checks.data)}>
        {act.isBusy ? t.step(step) : t.submit}
      </Button>
      {act.error !== undefined && <Failure error={act.error} />}
    </form>
  );
}

const expiresAt = (days: number): bigint | null =>
  days === 0 ? null : BigInt(Math.floor(Date.now() / 1000) + days * 86_400);

export function GrantsCard() {
  const t = texts.grants;
  const grants = useGrants();
  return (
    <Card title={t.title} id="grants">
      {grants.isPending && <Skeleton lines={3} />}
      {grants.error && <Failure error={grants.error} onRetry={() => grants.refetch()} />}
      {grants.data && <Rotation grants={grants.data} />}
      {grants.data?.length === 0 && <Empty title={t.empty} todo={t.emptyTodo} />}
      {grants.data && grants.data.length > 0 && (
        <ul className="list" aria-label={t.list} data-testid="grants">
          {grants.data.map((grant) => (
            <GrantRow key={`${grant.runner} ${grant.agent_id}`} grant={grant} />
          ))}
        </ul>
      )}
    </Card>
  );
}

function GrantRow({ grant }: { grant: Grant }) {
  const { chain, config } = useApp();
  const t = texts.grants;
  const unit = useUnit();
  const [isOpen, setOpen] = useState(false);
  const isCanonical = grant.runner === config.runner;
  const act = useAct(async () => (await chain()).revoke(grant.runner, grant.agent_id), {
    stale: [["grants"]],
    said: t.revoked,
    onDone: () => setOpen(false),
  });
  const { limits } = grant;
  return (
    <li data-runner={grant.runner} data-agent={grant.agent_id}>
      <div className="spread">
        <span className="row">
          <span className="strong">
            {t.agent} {grant.agent_id}
          </span>
          <Id text={grant.runner} />
          <span className={`badge ${isCanonical ? "good" : "warn"}`}>
            {isCanonical ? t.current : t.old}
          </span>
        </span>
        <Button small look="danger" onClick={() => setOpen(true)}>
          {t.revoke}
        </Button>
      </div>
      <p className="help">
        {t.ends}{" "}
        {grant.expires_at == null ? t.never : <When at={Number(grant.expires_at) * 1000} />} ·{" "}
        {t.used} <Amount stroops={grant.used} />
        {limits && limits.total_cap > 0n && ` ${t.ofTotal(showAmount(limits.total_cap, unit))}`}
        {" · "}
        {limits && limits.per_run_cap > 0n
          ? t.perRun(showAmount(limits.per_run_cap, unit))
          : t.noLimit}
      </p>
      <Modal open={isOpen} onOpenChange={setOpen} title={t.revokeTitle} about={t.revokeText}>
        <div className="stack">
          <div className="row">
            <Button look="danger" busy={act.isBusy} onClick={() => act.run()}>
              {act.isBusy ? texts.common.signing : t.revoke}
            </Button>
            <Button onClick={() => setOpen(false)}>{texts.common.cancel}</Button>
          </div>
          {act.error !== undefined && <Failure error={act.error} />}
        </div>
      </Modal>
    </li>
  );
}

/** Step 4 of a rotation: the new key gets what the old one had; the old grants stay until revoked. */
function Rotation({ grants }: { grants: Grant[] }) {
  const { chain, config } = useApp();
  const agents = useAgents();
  const t = texts.rotation;
  const granted = new Set(
    grants.filter((grant) => grant.runner === config.runner).map((grant) => grant.agent_id),
  );
  const old = grants.filter((grant) => {
    const agent = agents.data?.find(({ agentId }) => agentId === grant.agent_id);
    return grant.runner !== config.runner && !granted.has(grant.agent_id) && agent?.listsThisRunner;
  });
  const next = old[0];
  const checks = useCanonical(next?.agent_id);

  // A key that the agent lists beside ours may be another service's, which the user wants to keep:
  // it is offered where the change was just made here. One that is listed no more opens no run.
  const [changed, setChanged] = useState<Grant>();
  const former = grants.find((grant) => {
    const agent = agents.data?.find(({ agentId }) => agentId === grant.agent_id);
    const isChanged = changed?.runner === grant.runner && changed.agent_id === grant.agent_id;
    const isDelisted = agent !== undefined && !agent.runners.includes(grant.runner);
    return (
      grant.runner !== config.runner && granted.has(grant.agent_id) && (isChanged || isDelisted)
    );
  });
  const revoke = useAct(
    async (grant: Grant) => (await chain()).revoke(grant.runner, grant.agent_id),
    { stale: [["grants"]], said: texts.grants.revoked },
  );
  const act = useAct(
    async (grant: Grant) => {
      const vault = await chain();
      if (grant.limits) await vault.setLimits(config.runner!, grant.agent_id, grant.limits);
      await vault.grant(config.runner!, grant.agent_id, grant.expires_at ?? null);
      setChanged(grant);
    },
    { stale: [["grants"]], said: texts.authorise.done },
  );
  if (!next && former) {
    return (
      <div className="stack">
        <Notice
          title={t.done}
          action={
            <Button busy={revoke.isBusy} onClick={() => revoke.run(former)}>
              {t.revokeOld(former.agent_id)}
            </Button>
          }
        >
          <p>{t.doneText}</p>
          <p>
            <Id text={former.runner} />
          </p>
        </Notice>
        {revoke.error !== undefined && <Failure error={revoke.error} />}
      </div>
    );
  }
  if (!next) return null;
  return (
    <div className="stack">
      <Notice
        kind="warn"
        title={t.title}
        action={
          <Button
            look="primary"
            busy={act.isBusy}
            disabled={!isSure(checks.data)}
            onClick={() => act.run(next)}
          >
            {t.grant(next.agent_id)}
          </Button>
        }
      >
        <p>{t.text}</p>
        <p>{t.revoke}</p>
      </Notice>
      {act.error !== undefined && <Failure error={act.error} />}
    </div>
  );
}
