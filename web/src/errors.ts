// Any failure in words: what it means, what to do, and its code.

import { GatewayError, Unreachable } from "@/api/gateway";
import { errorTexts } from "@/texts";
import { Declined } from "@/wallet/wallet";

export interface Explained {
  code: string;
  means: string;
  todo: string;
  /** What the other side said, where that adds something. */
  detail?: string;
}

/** `InsufficientBalance` and `OPEN_INSUFFICIENT_BALANCE` are one code here. */
export function normalise(code: string): string {
  const snake = /^[A-Z0-9_]+$/.test(code) ? code : code.replace(/([a-z0-9])([A-Z])/g, "$1_$2");
  return snake.toUpperCase().replace(/^(PREFLIGHT|OPEN)_/, "");
}

/** The words for a code; a code that is not known keeps what was said with it. */
export function explainCode(code: string, detail?: string): Explained {
  const known = errorTexts[normalise(code)];
  if (known) return { code, ...known, detail };
  return {
    code,
    means: detail ?? "Something went wrong.",
    todo: "Try again. If it stays, send this code to the operator.",
  };
}

export function explain(error: unknown): Explained {
  if (error instanceof GatewayError) {
    const issues = error.issues.map((issue) =>
      [issue.pointer, issue.message ?? issue.detail].filter(Boolean).join(": "),
    );
    return explainCode(error.code, [error.message, ...issues].join("; "));
  }
  if (error instanceof Unreachable) return explainCode("UNREACHABLE");
  if (error instanceof Declined) return explainCode("DECLINED");
  const { code, hash, name, message } = (error ?? {}) as Record<string, unknown>;
  if (typeof code === "string" && errorTexts[normalise(code)]) {
    return explainCode(code, message === code ? undefined : String(message));
  }
  if (typeof hash === "string") return explainCode("UNSETTLED", String(message));
  if (name === "NodeFailed" || error instanceof TypeError) {
    return explainCode("NODE_FAILED", String(message));
  }
  return explainCode(typeof code === "string" ? code : "UNEXPECTED", String(message ?? error));
}

/** Foreign text for a person: control characters and marks that turn text around are shown, not obeyed (R18). */
export const visible = (text: string | undefined | null): string =>
  (text ?? "").replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (mark) =>
    mark === "\n" || mark === "\t"
      ? mark
      : `\\u${mark.codePointAt(0)!.toString(16).padStart(4, "0")}`,
  );
