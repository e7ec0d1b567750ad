// The proof of a run, recomputed here. Its own chunk: it brings XDR and the whole judge.

import { useState } from "react";

import { STROOPS, showAmount } from "@/amount";
import type { Run } from "@/api/gateway";
import { useApp } from "@/app";
import { hasEnded, useUnit } from "@/data";
import { visible } from "@/errors";
import { texts } from "@/texts";
import { Button, Card, Failure, Icon, Notice } from "@/ui";
import { useAct } from "@/ui/act";
import type { Proof } from "@/verify";

const t = texts.verify;

export function VerifyCard({ run }: { run: Run }) {
  const { gateway, chain, wallet } = useApp();
  const unit = useUnit();
  const [proof, setProof] = useState<Proof>();
  const act = useAct(async () => {
    setProof(undefined);
    const { verify } = await import("@/verify");
    const found = await verify(gateway, await chain(), run, unit ?? STROOPS);
    setProof(found);
    if (found.verdict === "proven")
      localStorage.setItem(`lumio.verified.${wallet?.address}`, run.id);
  });
  if (!hasEnded(run)) return null;
  return (
    <Card title={t.title} about={t.about} id="verify">
      <div className="row">
        <Button look={proof ? "plain" : "primary"} busy={act.isBusy} onClick={() => act.run()}>
          {act.isBusy ? t.busy : proof ? t.again : t.action}
        </Button>
      </div>
      {act.error !== undefined && (
        <>
          <Notice kind="warn" title={t.unknown} />
          <Failure error={act.error} />
        </>
      )}
      {proof && <Shown proof={proof} />}
    </Card>
  );
}

const KINDS = { proven: "good", broken: "bad", unknown: "warn" } as const;
const ICONS = { ok: "check", broken: "close", unknown: "question", skipped: "dash" } as const;

function Shown({ proof }: { proof: Proof }) {
  return (
    <div className="stack" data-testid="proof" data-verdict={proof.verdict}>
      <Notice kind={KINDS[proof.verdict]} title={t[proof.verdict]}>
        {proof.proven.map((sentence) => (
          <p key={sentence}>{visible(sentence)}</p>
        ))}
        {proof.verdict !== "proven" && proof.atLeast && <p>{proof.atLeast}</p>}
        {proof.verdict === "unknown" && proof.cost && <p>{visible(proof.cost)}</p>}
        {proof.tombstone && <p>{visible(proof.tombstone)}</p>}
      </Notice>
      <ul className="proof" aria-label={t.listLabel}>
        {proof.links.map(({ link, state, detail }) => (
          <li key={link} className={state} data-link={link} data-state={state}>
            <span className="mark">
              <Icon name={ICONS[state]} />
            </span>
            <span className="strong">
              {link} <span className="visually-hidden">{t.state[state]}</span>
            </span>
            <span>{visible(detail)}</span>
          </li>
        ))}
      </ul>
      {proof.attempts.length > 1 && (
        <div>
          <h3>{t.attempts}</h3>
          <ul>
            {proof.attempts.map(({ attempt, runId, outcome, charge, fee }) => (
              <li key={runId}>
                {attempt}: {outcome}, {showAmount(charge + fee, proof.unit)}
              </li>
            ))}
          </ul>
        </div>
      )}
      <Lines title={t.restsOn} lines={proof.restsOn} />
      <Lines title={t.notLookedAt} lines={proof.notLookedAt} />
      <p className="help">{t.stronger}</p>
    </div>
  );
}

function Lines({ title, lines }: { title: string; lines: string[] }) {
  return (
    <div>
      <h3>{title}</h3>
      <ul className="plain">
        {lines.map((line) => (
          <li key={line} className="small-text muted">
            {visible(line)}
          </li>
        ))}
      </ul>
    </div>
  );
}
