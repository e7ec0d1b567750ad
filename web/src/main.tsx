import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { GatewayError } from "@/api/gateway";
import { AppProvider } from "@/app";
import { loadConfig } from "@/config";
import { router } from "@/router";
import { texts } from "@/texts";
import { applyTheme } from "@/theme";
import { Button, Notice } from "@/ui";
import "./styles.css";

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 1_000,
      refetchOnWindowFocus: true,
      // A refusal stays one; silence and trouble of the server may pass.
      retry: (count, error) =>
        count < 3 && !(error instanceof GatewayError && error.status < 500 && error.status !== 429),
    },
  },
});

applyTheme();
const root = createRoot(document.getElementById("root")!);

loadConfig().then(
  (config) =>
    root.render(
      <StrictMode>
        <QueryClientProvider client={queries}>
          <AppProvider config={config}>
            <RouterProvider router={router} />
          </AppProvider>
        </QueryClientProvider>
      </StrictMode>,
    ),
  (error: unknown) =>
    root.render(
      <main className="page">
        <Notice
          kind="bad"
          title={texts.start.failed}
          action={<Button onClick={() => location.reload()}>{texts.start.reload}</Button>}
        >
          <p>{texts.start.todo}</p>
          <p className="code">{error instanceof Error ? error.message : String(error)}</p>
        </Notice>
      </main>,
    ),
);
