// The console's building blocks. What has behaviour (dialogs, switches, tabs, toasts) is Base UI's.

import { Dialog } from "@base-ui/react/dialog";
import { Switch } from "@base-ui/react/switch";
import { Toast } from "@base-ui/react/toast";
import {
  type ButtonHTMLAttributes,
  type InputHTMLAttributes,
  type ReactNode,
  useId,
  useState,
} from "react";

import { formatAmount, showAmount } from "@/amount";
import type { RunStatus } from "@/api/gateway";
import { useUnit } from "@/data";
import { type Explained, explain, visible } from "@/errors";
import { texts } from "@/texts";

type ButtonProps = ButtonHTMLAttributes<HTMLButtonElement> & {
  look?: "primary" | "plain" | "quiet" | "danger";
  busy?: boolean;
  small?: boolean;
};

export function Button({ look = "plain", busy, small, className, children, ...rest }: ButtonProps) {
  const names = ["button", look, small && "small", className].filter(Boolean).join(" ");
  return (
    <button
      type="button"
      {...rest}
      className={names}
      aria-busy={busy || undefined}
      disabled={rest.disabled || busy}
    >
      {busy && <span className="spinner" aria-hidden="true" />}
      {children}
    </button>
  );
}

interface CardProps {
  title: string;
  about?: string;
  action?: ReactNode;
  children: ReactNode;
  id?: string;
  className?: string;
}

export function Card({ title, about, action, children, id, className }: CardProps) {
  const heading = useId();
  return (
    <section className={`card ${className ?? ""}`} aria-labelledby={heading} id={id}>
      <header className="card-head">
        <div>
          <h2 id={heading}>{title}</h2>
          {about && <p className="muted">{about}</p>}
        </div>
        {action}
      </header>
      {children}
    </section>
  );
}

type FieldProps = InputHTMLAttributes<HTMLInputElement> & {
  label: string;
  help?: ReactNode;
  error?: string | undefined;
  unit?: string;
};

export function Field({ label, help, error, unit, ...rest }: FieldProps) {
  const id = useId();
  const described = [help && `${id}-help`, error && `${id}-error`].filter(Boolean).join(" ");
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <div className="input-row">
        <input
          {...rest}
          id={id}
          aria-invalid={error ? true : undefined}
          aria-describedby={described || undefined}
        />
        {unit && <span className="unit">{unit}</span>}
      </div>
      {help && (
        <p className="help" id={`${id}-help`}>
          {help}
        </p>
      )}
      {error && (
        <p className="field-error" id={`${id}-error`}>
          {error}
        </p>
      )}
    </div>
  );
}

interface SelectProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  options: { value: string; label: string }[];
}

/** The browser's own: it is the best one on a phone. */
export function SelectField({ label, value, onChange, options }: SelectProps) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <select id={id} value={value} onChange={(event) => onChange(event.target.value)}>
        {options.map((option) => (
          <option key={option.value} value={option.value}>
            {option.label}
          </option>
        ))}
      </select>
    </div>
  );
}

interface SwitchRowProps {
  label: string;
  help: string;
  checked: boolean;
  busy?: boolean;
  onChange: (checked: boolean) => void;
}

export function SwitchRow({ label, help, checked, busy, onChange }: SwitchRowProps) {
  const id = useId();
  return (
    <div className="switch-row">
      <div>
        <span id={id} className="strong">
          {label}
        </span>
        <p className="help" id={`${id}-help`}>
          {help}
        </p>
      </div>
      <Switch.Root
        className="switch"
        checked={checked}
        disabled={busy}
        onCheckedChange={onChange}
        aria-labelledby={id}
        aria-describedby={`${id}-help`}
      >
        <Switch.Thumb className="switch-thumb" />
      </Switch.Root>
    </div>
  );
}

interface ModalProps {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  title: string;
  about?: string | undefined;
  children: ReactNode;
  testId?: string;
}

export function Modal({ open, onOpenChange, title, about, children, testId }: ModalProps) {
  return (
    <Dialog.Root open={open} onOpenChange={onOpenChange}>
      <Dialog.Portal>
        <Dialog.Backdrop className="backdrop" />
        <Dialog.Viewport className="modal-viewport">
          <Dialog.Popup className="modal" data-testid={testId ?? "modal"}>
            <div className="modal-head">
              <Dialog.Title className="modal-title">{title}</Dialog.Title>
              <Dialog.Close className="icon-button" aria-label={texts.common.close}>
                <Icon name="close" />
              </Dialog.Close>
            </div>
            {about && <Dialog.Description className="muted">{about}</Dialog.Description>}
            {children}
          </Dialog.Popup>
        </Dialog.Viewport>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

const ICONS = {
  close: "M5 5l10 10M15 5L5 15",
  check: "M4 10.500l4 4 8-9",
  copy: "M7 7V4h9v9h-3M4 7h9v9H4z",
  alert: "M10 6v5M10 14.200v.1M10 2.500l8 14.500H2z",
  question: "M7.500 7.500a2.500 2.500 0 1 1 3.600 2.200c-.7.4-1.100.9-1.100 1.800M10 14.200v.1",
  dash: "M5 10h10",
  wallet: "M3 6.500h13.500v10H3zM3 6.500l10-3.500v3.500M13 11.500h.5",
  build: "M10 3v14M3 10h14",
  operator: "M3 16h3V9H3zM8.500 16h3V4h-3zM14 16h3v-5h-3z",
  download: "M10 3v10M6 9.500l4 4 4-4M4 17h12",
  eye: "M2 10s3-5 8-5 8 5 8 5-3 5-8 5-8-5-8-5zM10 12a2 2 0 1 0 0-4 2 2 0 0 0 0 4z",
  back: "M12 4l-6 6 6 6",
} as const;

export function Icon({ name }: { name: keyof typeof ICONS }) {
  return (
    <svg className="icon" viewBox="0 0 20 20" aria-hidden="true">
      <path d={ICONS[name]} />
    </svg>
  );
}

/** An amount of the vault's token. */
export function Amount({ stroops }: { stroops: bigint }) {
  const unit = useUnit();
  if (!unit) return <span className="amount">{showAmount(stroops, unit)}</span>;
  return (
    <span className="amount">
      {formatAmount(stroops, unit)} <span className="symbol">{unit.name}</span>
    </span>
  );
}

/** A long id: its ends, the whole of it for copying and for readers of screens. */
export function Id({ text, length = 6 }: { text: string; length?: number }) {
  const [isCopied, setCopied] = useState(false);
  const short =
    text.length > 2 * length + 1 ? `${text.slice(0, length)}…${text.slice(-length)}` : text;
  const copy = async () => {
    await navigator.clipboard?.writeText(text).catch(() => undefined);
    setCopied(true);
    setTimeout(() => setCopied(false), 1_500);
  };
  return (
    <button
      type="button"
      className="id"
      title={text}
      onClick={copy}
      aria-label={`${short}: ${texts.common.copyValue} ${text}`}
    >
      <span>{short}</span>
      <Icon name={isCopied ? "check" : "copy"} />
    </button>
  );
}

export function StatusChip({ status }: { status: RunStatus }) {
  return (
    <span className={`chip status-${status}`} data-run-status={status}>
      <span className="dot" aria-hidden="true" />
      {texts.runs.status[status]}
    </span>
  );
}

interface NoticeProps {
  kind?: "info" | "warn" | "bad" | "good";
  title: string;
  children?: ReactNode;
  action?: ReactNode;
}

export function Notice({ kind = "info", title, children, action }: NoticeProps) {
  return (
    <div className={`notice ${kind}`} role={kind === "bad" ? "alert" : "status"}>
      <div>
        <p className="strong">{title}</p>
        {children}
      </div>
      {action}
    </div>
  );
}

export function Explanation({ explained }: { explained: Explained }) {
  const { means, todo, code, detail } = explained;
  return (
    <>
      <p>
        <span className="muted">{texts.common.todo}</span> {todo}
      </p>
      {detail && detail !== means && <p className="muted small-text">{visible(detail)}</p>}
      <p className="code">{visible(code)}</p>
    </>
  );
}

/** A failure in words, with its code and what to do. */
export function Failure({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const explained = explain(error);
  return (
    <Notice
      kind="bad"
      title={visible(explained.means)}
      action={
        onRetry && (
          <Button small onClick={onRetry}>
            {texts.common.retry}
          </Button>
        )
      }
    >
      <Explanation explained={explained} />
    </Notice>
  );
}

export function Empty({
  title,
  todo,
  action,
}: {
  title: string;
  todo?: string;
  action?: ReactNode;
}) {
  return (
    <div className="empty">
      <p className="strong">{title}</p>
      {todo && <p className="muted">{todo}</p>}
      {action}
    </div>
  );
}

export function Skeleton({ lines = 3 }: { lines?: number }) {
  return (
    <div className="skeleton" role="status" aria-label={texts.common.loading}>
      {Array.from({ length: lines }, (_, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the lines are all the same
        <span key={index} />
      ))}
    </div>
  );
}

interface BarProps {
  label: string;
  value: number;
  most: number;
  text: string;
}

/** How much of something is used. */
export function Bar({ label, value, most, text }: BarProps) {
  const share = most > 0 ? Math.min(100, (value / most) * 100) : 0;
  return (
    <div className="bar">
      <div className="bar-text">
        <span>{label}</span>
        <span className="amount">{text}</span>
      </div>
      <meter min={0} max={100} value={share} aria-label={`${label}: ${text}`} />
    </div>
  );
}

export function Facts({ rows }: { rows: [string, ReactNode][] }) {
  return (
    <dl className="facts">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

export const toasts = Toast.createToastManager();

export const say = (title: string, description?: string) =>
  toasts.add({ title, description, timeout: 5_000 });

function ToastList() {
  const { toasts: list } = Toast.useToastManager();
  return list.map((toast) => (
    <Toast.Root key={toast.id} toast={toast} className="toast">
      <Icon name="check" />
      <div>
        <Toast.Title className="toast-title" />
        <Toast.Description className="toast-description" />
      </div>
      <Toast.Close className="icon-button" aria-label={texts.common.close}>
        <Icon name="close" />
      </Toast.Close>
    </Toast.Root>
  ));
}

export function Toasts() {
  return (
    <Toast.Provider toastManager={toasts}>
      <Toast.Portal>
        <Toast.Viewport className="toasts">
          <ToastList />
        </Toast.Viewport>
      </Toast.Portal>
    </Toast.Provider>
  );
}

const clock = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });

export function When({ at }: { at: string | number }) {
  const date = new Date(at);
  return <time dateTime={date.toISOString()}>{clock.format(date)}</time>;
}
