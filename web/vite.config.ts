import { fileURLToPath } from "node:url";

import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const packages = here("../packages");

export default defineConfig({
  plugins: [react()],
  resolve: {
    // The contract clients are built from their source, so that the console is never behind them.
    alias: [
      { find: /^@\//, replacement: `${here("src")}/` },
      { find: /^(agent_registry|prepaid_vault)$/, replacement: `${packages}/$1/src/index.ts` },
    ],
    // One SDK: values of a second copy would not be `instanceof` the first one's classes.
    dedupe: ["@stellar/stellar-sdk"],
  },
  server: { fs: { allow: [here("."), packages] } },
  build: {
    target: "es2023",
    // Inlined files would need `data:` in more places of the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
