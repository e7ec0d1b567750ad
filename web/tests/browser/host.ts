// A host of static files that knows nothing of the gateway: the console has to work from any.

import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const dist = fileURLToPath(new URL("../../dist/", import.meta.url));

const kinds: Record<string, string> = {
  ".css": "text/css",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
};

/** The gateway's own policy, for a console on another host than the gateway. */
export const policy = (...connect: string[]) =>
  [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
    "img-src 'self' data:",
    "font-src 'self'",
    `connect-src 'self' ${connect.join(" ")}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");

export interface Host {
  url: string;
  config: Record<string, unknown>;
  stop(): void;
}

/** Serves the built console with `config` as its /config.json, which may be changed meanwhile. */
export async function host(config: Record<string, unknown>, ...connect: string[]): Promise<Host> {
  const served: Host = { url: "", config, stop: () => server.close() };
  const server: Server = createServer((request, response) => {
    const path = normalize(new URL(request.url ?? "/", "http://host").pathname);
    response.setHeader("content-security-policy", policy(...connect));
    if (path === "/config.json") {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(served.config));
      return;
    }
    const file = join(dist, path === "/" ? "index.html" : path);
    if (!existsSync(file) || !statSync(file).isFile()) {
      response.statusCode = 404;
      response.end();
      return;
    }
    response.setHeader("content-type", kinds[extname(file)] ?? "application/octet-stream");
    createReadStream(file).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("the host has no port");
  served.url = `http://localhost:${address.port}`;
  return served;
}
