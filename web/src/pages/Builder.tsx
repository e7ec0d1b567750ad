// A new run: which agent, which input, at most how much.

import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useId, useMemo, useRef, useState } from "react";

import { showAmount } from "@/amount";
import type { Agent, Meters } from "@/api/gateway";
import { useApp } from "@/app";
import { useMistakes } from "@/check";
import { useAgent, useAgents, useQuote, useUnit } from "@/data";
import { explainCode, visible } from "@/errors";
import { texts } from "@/texts";
import {
  Amount,
  Button,
  Card,
  Empty,
  Explanation,
  Failure,
  Field,
  Id,
  Notice,
  say,
  Skeleton,
} from "@/ui";
import { useAct } from "@/ui/act";
import { ConnectButton } from "@/ui/Connect";

import { remember } from "@/verify/asked";

import { initial, SchemaForm } from "./SchemaForm";

const t = texts.build;

/** R12. */
const MOST_INPUT = 8 * 1024 * 1024;

const METERS = ["runtimeMs", "llmIn", "llmOut", "httpCalls"] as const;
/** Of an agent without a rate card, which no run can be opened for. */
const NO_RATES = { runtimeMs: "0", llmIn: "0", llmOut: "0", httpCalls: "0" };

export function BuilderPage() {
  const { wallet, ready } = useApp();
  const agents = useAgents();
  const [chosen, setChosen] = useState<number>();
  if (!wallet) {
    return <Empty title={t.title} todo={t.connectFirst} action={<ConnectButton />} />;
  }
  const agent =
    agents.data?.find(({ agentId }) => agentId === chosen) ??
    agents.data?.find(({ listsThisRunner }) => listsThisRunner) ??
    agents.data?.[0];
  return (
    <>
      <div className="stack">
        <h1>{t.title}</h1>
        <p className="muted">{t.lead}</p>
      </div>
      {ready && agents.isPending && <Skeleton lines={4} />}
      {agents.error && <Failure error={agents.error} onRetry={() => agents.refetch()} />}
      {agents.data?.length === 0 && <Empty title={t.noAgents} todo={t.noAgentsTodo} />}
      {agents.data && agent && (
        <div className="grid">
          <div className="column span-5">
            <AgentsCard agents={agents.data} chosen={agent.agentId} onChoose={setChosen} />
          </div>
          <div className="span-7">
            <BuildForm key={agent.agentId} agent={agent} />
          </div>
        </div>
      )}
    </>
  );
}

interface AgentsProps {
  agents: Agent[];
  chosen: number;
  onChoose: (id: number) => void;
}

function AgentsCard({ agents, chosen, onChoose }: AgentsProps) {
  return (
    <Card title={t.agent}>
      <div className="stack">
        {agents.map((agent) => (
          <AgentChoice
            key={agent.agentId}
            agent={agent}
            isChosen={agent.agentId === chosen}
            onChoose={() => onChoose(agent.agentId)}
          />
        ))}
      </div>
    </Card>
  );
}

interface ChoiceProps {
  agent: Agent;
  isChosen: boolean;
  onChoose: () => void;
}

function AgentChoice({ agent, isChosen, onChoose }: ChoiceProps) {
  const unit = useUnit();
  const detail = useAgent(isChosen ? agent.agentId : undefined);
  const verdict = detail.data?.verdict;
  const { moduleId: name, moduleVersion: version } = verdict ?? {};
  const rates = agent.rates ?? NO_RATES;
  const priced = METERS.filter((meter) => rates[meter] !== "0");
  return (
    <div className="stack">
      <button type="button" className="choice" aria-pressed={isChosen} onClick={onChoose}>
        <span className="spread">
          <span className="strong">
            {texts.run.agent} {agent.agentId}
            {name && ` · ${visible(name)}`} {version && visible(version)}
          </span>
          {verdict && (
            <span className={`badge ${verdict.accepted ? "good" : "bad"}`}>
              {visible(verdict.verdict)}
            </span>
          )}
        </span>
        {agent.metadataUri && <span className="help">{visible(agent.metadataUri)}</span>}
        {!agent.listsThisRunner && <span className="badge warn">{t.notListed}</span>}
        <span className="help">
          {priced.map((meter) => (
            <span key={meter}>
              {texts.meters[meter]}: {showAmount(BigInt(rates[meter]), unit)} {t.perUnit}{" "}
            </span>
          ))}
        </span>
      </button>
      {isChosen && (
        <p className="help row">
          {t.by} <Id text={agent.developer} /> {texts.run.module}{" "}
          <Id text={agent.manifestHash ?? texts.common.none} />
        </p>
      )}
    </div>
  );
}

type Mode = "form" | "json" | "file";

function BuildForm({ agent }: { agent: Agent }) {
  const detail = useAgent(agent.agentId);
  if (detail.isPending) return <Skeleton lines={6} />;
  const schema = detail.data?.inputSchema;
  return <Inputs agent={agent} schema={schema} />;
}

interface InputsProps {
  agent: Agent;
  schema: Record<string, unknown> | undefined;
}

function Inputs({ agent, schema }: InputsProps) {
  const { gateway, wallet } = useApp();
  const navigate = useNavigate();
  const [mode, setMode] = useState<Mode>(schema ? "form" : "json");
  const [pristine] = useState<unknown>(() => (schema ? initial(schema) : {}));
  const [form, setForm] = useState<unknown>(pristine);
  const [json, setJson] = useState("{}");
  const [label, setLabel] = useState("");
  const [budgets, setBudgets] = useState<Record<(typeof METERS)[number], string>>(() => ({
    runtimeMs: (agent.rates ?? NO_RATES).runtimeMs === "0" ? "0" : "20000",
    llmIn: "0",
    llmOut: "0",
    httpCalls: "0",
  }));
  const input = useMemo(
    () => (mode === "form" ? { value: form } : parseInput(json)),
    [mode, form, json],
  );
  const { mistakes, isChecking, isUnchecked } = useMistakes(schema, input);
  const meters = METERS.map((meter) => [meter, /^\d{1,15}$/.test(budgets[meter].trim())] as const);
  const isWhole = meters.every(([, isFine]) => isFine);
  const numbers = Object.fromEntries(
    METERS.map((meter) => [meter, Number(budgets[meter])]),
  ) as unknown as Meters;
  const isEmpty = isWhole && METERS.every((meter) => numbers[meter] === 0);
  const quote = useQuote(agent.agentId, isWhole && !isEmpty ? numbers : undefined);

  // One key for one intent: a click that is repeated after a lost answer starts no second run.
  const key = useRef<{ of: string; key: string }>(undefined);
  const start = useAct(
    async () => {
      if (!("value" in input) || !wallet) return;
      const request = {
        user: wallet.address,
        agentId: agent.agentId,
        budgets: numbers,
        input: input.value,
        ...(label.trim() && { label: label.trim() }),
      };
      const of = JSON.stringify(request);
      if (key.current?.of !== of) key.current = { of, key: crypto.randomUUID() };
      const run = await gateway.start(request, key.current.key);
      await remember(run.id, input.value);
      key.current = undefined;
      say(t.started);
      await navigate({ to: "/runs/$id", params: { id: run.id } });
    },
    { stale: [["runs"], ["summary"]] },
  );
  const canStart = !isChecking && mistakes.length === 0 && isWhole && !isEmpty;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (canStart) void start.run();
  };
  return (
    <form className="column" onSubmit={submit} noValidate>
      <Card title={t.input}>
        <Modes mode={mode} hasForm={schema !== undefined} onChange={setMode} />
        {!schema && <p className="help">{t.noSchema}</p>}
        {mode === "form" && schema && (
          <SchemaForm schema={schema} value={form} onChange={setForm} />
        )}
        {mode === "json" && <JsonField value={json} onChange={setJson} mistakes={mistakes} />}
        {mode === "file" && <FileField onText={setJson} schema={schema} />}
        {mode === "form" &&
          mistakes.length > 0 &&
          // Nobody has made a mistake in a form that was not touched.
          (form === pristine ? (
            <p className="help">{t.missing}</p>
          ) : (
            <Mistakes mistakes={mistakes} />
          ))}
        {mode === "file" && mistakes.length > 0 && <Mistakes mistakes={mistakes} />}
        {isUnchecked && <Notice kind="warn" title={t.unchecked} />}
        <Field
          label={t.label}
          value={label}
          maxLength={100}
          onChange={(event) => setLabel(event.target.value)}
        />
      </Card>
      <Card title={t.budget}>
        <div className="figures">
          {METERS.map((meter) => (
            <Field
              key={meter}
              label={texts.meters[meter]}
              inputMode="numeric"
              value={budgets[meter]}
              onChange={(event) => setBudgets({ ...budgets, [meter]: event.target.value })}
              error={/^\d{1,15}$/.test(budgets[meter].trim()) ? undefined : t.whole}
            />
          ))}
        </div>
        {isEmpty && <p className="field-error">{t.emptyBudget}</p>}
        <Price agent={agent} budgets={isWhole ? numbers : undefined} quote={quote} />
        <Button
          type="submit"
          look="primary"
          className="large"
          busy={start.isBusy}
          disabled={!canStart}
        >
          {start.isBusy ? t.starting : t.start}
        </Button>
        {start.error !== undefined && <Failure error={start.error} />}
      </Card>
    </form>
  );
}

interface PriceProps {
  agent: Agent;
  budgets: Meters | undefined;
  quote: ReturnType<typeof useQuote>;
}

/** The gateway's quote; without one, prices times budgets. */
function Price({ agent, budgets, quote }: PriceProps) {
  const { config } = useApp();
  const unit = useUnit();
  const { data } = quote;
  const own = budgets
    ? METERS.reduce(
        (sum, meter) => sum + BigInt((agent.rates ?? NO_RATES)[meter]) * BigInt(budgets[meter]),
        0n,
      )
    : 0n;
  const fee = BigInt(data?.runnerFee ?? config.runnerFee);
  const escrow = data ? BigInt(data.escrow) : own + fee;
  const refusal = data?.refusal && explainCode(data.refusal.code, data.refusal.reason);
  return (
    <>
      <div className="price" aria-live="polite">
        <span className="muted">{t.price}</span>
        <span className="figure" data-testid="price" data-stroops={escrow.toString()}>
          <Amount stroops={escrow} />
        </span>
        <span className="help">
          {t.priceAbout}
          {fee > 0n && ` (${t.fee} ${showAmount(fee, unit)})`}
        </span>
      </div>
      {refusal && (
        <Notice kind="warn" title={`${t.refusal}: ${visible(refusal.means)}`}>
          <Explanation explained={refusal} />
        </Notice>
      )}
    </>
  );
}

interface ModesProps {
  mode: Mode;
  hasForm: boolean;
  onChange: (mode: Mode) => void;
}

function Modes({ mode, hasForm, onChange }: ModesProps) {
  const modes: Mode[] = hasForm ? ["form", "json", "file"] : ["json", "file"];
  return (
    <fieldset className="themes">
      <legend className="visually-hidden">{t.input}</legend>
      {modes.map((name) => (
        <label key={name}>
          <input type="radio" name="mode" checked={mode === name} onChange={() => onChange(name)} />
          <span>{t[name]}</span>
        </label>
      ))}
    </fieldset>
  );
}

function Mistakes({ mistakes }: { mistakes: string[] }) {
  return (
    // The role is around the list: on it, it would take the entries' list away from readers of it.
    <div role="status">
      <ul className="field-error">
        {mistakes.slice(0, 8).map((mistake) => (
          <li key={mistake}>{visible(mistake)}</li>
        ))}
      </ul>
    </div>
  );
}

interface JsonProps {
  value: string;
  onChange: (value: string) => void;
  mistakes: string[];
}

function JsonField({ value, onChange, mistakes }: JsonProps) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{t.jsonLabel}</label>
      <textarea
        id={id}
        value={value}
        spellCheck={false}
        aria-invalid={mistakes.length > 0}
        aria-describedby={mistakes.length > 0 ? `${id}-error` : undefined}
        onChange={(event) => onChange(event.target.value)}
      />
      <div id={`${id}-error`}>{mistakes.length > 0 && <Mistakes mistakes={mistakes} />}</div>
    </div>
  );
}

function FileField({ onText, schema }: { onText: (text: string) => void; schema: unknown }) {
  const id = useId();
  const [error, setError] = useState<string>();
  const member = textMember(schema);
  const read = async (file: File | undefined) => {
    if (!file) return;
    if (file.size > MOST_INPUT) return setError(t.tooLarge);
    setError(undefined);
    const text = await file.text();
    const isJson = /\.json$/i.test(file.name);
    // A file that is no JSON becomes the text of the one member that the module asks for.
    onText(isJson || !member ? text : JSON.stringify({ [member]: text }));
  };
  return (
    <div className="field">
      <label htmlFor={id}>{t.fileLabel}</label>
      <input id={id} type="file" onChange={(event) => read(event.target.files?.[0])} />
      {error && <p className="field-error">{error}</p>}
    </div>
  );
}

/** The member of the input that takes a text, if exactly one is required. */
function textMember(schema: unknown): string | undefined {
  const { properties, required } = (schema ?? {}) as {
    properties?: Record<string, { type?: unknown }>;
    required?: string[];
  };
  const names = (required ?? []).filter((name) => properties?.[name]?.type === "string");
  return names.length === 1 ? names[0] : undefined;
}

function parseInput(text: string): { value: unknown } | { error: string } {
  if (new Blob([text]).size > MOST_INPUT) return { error: t.tooLarge };
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    return { error: `${t.invalidJson} ${error instanceof Error ? error.message : ""}` };
  }
}
