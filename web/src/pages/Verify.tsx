import type { Run } from "@/api/gateway";

export function VerifyCard(_: { run: Run }) {
  return null;
}
