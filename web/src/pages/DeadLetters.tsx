// Runs that no worker can go on with: what is known about each, and the two ways out of it.

import { useQuery } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";

import type { DeadLetter, Escrow, OrderAnswer, QueueRow } from "@/api/gateway";
import { useApp } from "@/app";
import { explainCode, visible } from "@/errors";
import { texts } from "@/texts";
import { Button, Facts, Failure, Field, Id, Modal, Skeleton, say, When } from "@/ui";
import { useAct } from "@/ui/act";

import { Panel, runLink, Table } from "./OperatorParts";

const t = texts.operator;
const d = texts.operator.deadLetters;

const escrowText = (escrow: string) => texts.run.escrowIs[escrow as Escrow] ?? visible(escrow);

/** Why no worker goes on: an operator's case says so itself, else the attempt's failure does. */
function whyOf({ operatorReason, errorCode, error }: QueueRow): string {
  if (operatorReason) return visible(operatorReason);
  if (errorCode) return explainCode(errorCode, error).means;
  return visible(error ?? d.escrowOpen);
}

export function DeadLettersPanel() {
  const { gateway } = useApp();
  const [chosen, setChosen] = useState<string>();
  return (
    <Panel
      name="dead"
      load={gateway.deadLetters}
      isEmpty={(rows) => rows.length === 0}
      empty={t.deadEmpty}
    >
      {(rows) => (
        <>
          <p className="muted">{d.about}</p>
          <Table
            label={t.tabs.dead}
            heads={[t.run, t.user, t.attempt, d.why, t.escrow, t.since, d.decide]}
            rows={rows.map((row) => ({
              key: row.id,
              cells: [
                runLink(row.id),
                <Id key="user" text={row.user} length={4} />,
                row.attempt,
                <>
                  {visible(whyOf(row))}
                  {row.errorCode && <p className="code">{visible(row.errorCode)}</p>}
                </>,
                escrowText(row.escrow),
                <When key="since" at={row.updatedAt} />,
                <Button
                  key="decide"
                  small
                  aria-label={d.decideOf(row.id)}
                  onClick={() => setChosen(row.id)}
                >
                  {d.decide}
                </Button>,
              ],
            }))}
          />
          <Modal
            open={chosen !== undefined}
            onOpenChange={(open) => !open && setChosen(undefined)}
            title={d.title}
            testId="dead-letter"
          >
            {chosen && <Decision id={chosen} onDone={() => setChosen(undefined)} />}
          </Modal>
        </>
      )}
    </Panel>
  );
}

/** What contract state proves about one run, and what can be done. */
function Decision({ id, onDone }: { id: string; onDone: () => void }) {
  const { gateway } = useApp();
  const letter = useQuery({
    queryKey: ["operator", "dead", id],
    queryFn: () => gateway.deadLetter(id),
    retry: false,
  });
  const [isGivingUp, setGivingUp] = useState(false);
  if (letter.error) return <Failure error={letter.error} onRetry={() => letter.refetch()} />;
  if (!letter.data) return <Skeleton lines={5} />;
  return (
    <div className="stack">
      <Known letter={letter.data} />
      {isGivingUp ? (
        <Discard id={id} onBack={() => setGivingUp(false)} onDone={onDone} />
      ) : (
        <Replay id={id} onGiveUp={() => setGivingUp(true)} onDone={onDone} />
      )}
    </div>
  );
}

function Known({ letter: { run, attempts, proof, proofText, action } }: { letter: DeadLetter }) {
  const signed = attempts.flatMap(({ transactions }) => transactions);
  return (
    <>
      <Facts
        rows={[
          [t.run, <Id key="run" text={run.id} length={8} />],
          [t.user, <Id key="user" text={run.user} length={8} />],
          [t.attempt, run.attempt],
          [t.escrow, escrowText(run.escrow)],
          ...(run.deadline
            ? [[d.deadline, <When key="deadline" at={run.deadline} />] as [string, ReactNode]]
            : []),
        ]}
      />
      {run.error && (
        <Said title={d.failed}>
          {visible(run.error)} {run.errorCode && <code>{visible(run.errorCode)}</code>}
        </Said>
      )}
      <Said title={d.proof}>
        <span data-proof={proof}>{d.proofs[proof as keyof typeof d.proofs] ?? visible(proof)}</span>
        {/* Why nothing is known, or with how much it was settled. */}
        {["settled", "unknown"].includes(proof) && ` ${visible(proofText)}`}
      </Said>
      <Said title={d.action}>{visible(action)}</Said>
      {signed.length > 0 && (
        <section className="stack" aria-label={d.transactions}>
          <p className="strong">{d.transactions}</p>
          <ul className="list">
            {signed.map(({ hash, purpose, state }) => (
              <li key={hash}>
                <div className="spread">
                  <span>
                    {texts.run.purposes[purpose as keyof typeof texts.run.purposes] ??
                      texts.run.transaction}
                    {", "}
                    {visible(state)}
                  </span>
                  <Id text={hash} length={6} />
                </div>
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  );
}

function Said({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div>
      <p className="strong">{title}</p>
      <p>{children}</p>
    </div>
  );
}

/** Gives an order about a run; what came of it is said, and lists and figures are asked for again. */
function useOrder(order: () => Promise<OrderAnswer>, onDone: () => void) {
  return useAct(
    async () => {
      const { outcome, text } = await order();
      say(outcome === "ended" ? d.ended : d.started, visible(text));
    },
    { stale: [["operator"], ["summary"]], onDone },
  );
}

interface ReplayProps {
  id: string;
  onGiveUp: () => void;
  onDone: () => void;
}

function Replay({ id, onGiveUp, onDone }: ReplayProps) {
  const { gateway } = useApp();
  const act = useOrder(() => gateway.replay(id), onDone);
  return (
    <>
      <p className="help">{d.replayAbout}</p>
      <div className="row">
        <Button look="primary" busy={act.isBusy} onClick={() => act.run()}>
          {d.replay}
        </Button>
        <Button disabled={act.isBusy} onClick={onGiveUp}>
          {d.discard}
        </Button>
      </div>
      {act.error !== undefined && <Failure error={act.error} />}
    </>
  );
}

interface DiscardProps {
  id: string;
  onBack: () => void;
  onDone: () => void;
}

/** The second step of giving a run up, with the reason that is kept with it. */
function Discard({ id, onBack, onDone }: DiscardProps) {
  const { gateway } = useApp();
  const [reason, setReason] = useState("");
  const act = useOrder(() => gateway.discard(id, reason.trim()), onDone);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void act.run();
  };
  return (
    <form className="stack" onSubmit={submit}>
      <p className="strong">{d.discardTitle}</p>
      <p>{d.discardText}</p>
      <Field
        label={d.reason}
        help={d.reasonHelp}
        maxLength={500}
        value={reason}
        onChange={(event) => setReason(event.target.value)}
      />
      <div className="row">
        <Button type="submit" look="danger" busy={act.isBusy}>
          {d.discardConfirm}
        </Button>
        <Button disabled={act.isBusy} onClick={onBack}>
          {texts.common.cancel}
        </Button>
      </div>
      {act.error !== undefined && <Failure error={act.error} />}
    </form>
  );
}
