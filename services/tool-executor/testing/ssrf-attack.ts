import type { LookupAddress, lookup } from "node:dns";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { createLogger } from "@turnwright/platform/logger";
import { RefusedAddressError } from "@turnwright/platform/outbound/outbound";
import { refusedAddresses } from "@turnwright/testing/loopback-only";
import type { Tool } from "../src/tool-definition/define-tool.ts";
import { createFetchUrl } from "../src/tools/fetch-url.ts";
import { createHttpRequest } from "../src/tools/http-request.ts";
import { createToolOutbound } from "../src/tools/tool-outbound.ts";

/** Notations of internal addresses; PORT stands for the canary's port. */
const urls = [
  "http://127.0.0.1:PORT/",
  "http://127.0.0.1.:PORT/",
  "http://127.1:PORT/",
  "http://127.0.1:PORT/",
  "http://127.255.255.254:PORT/",
  "http://2130706433:PORT/",
  "http://017700000001:PORT/",
  "http://0x7f000001:PORT/",
  "http://0x7f.0x0.0x0.0x1:PORT/",
  "http://0177.0.0.01:PORT/",
  "http://0177.0x0.1:PORT/",
  "http://00000177.0.0.1:PORT/",
  "http://4294967295:PORT/",
  "http://0.0.0.0:PORT/",
  "http://0:PORT/",
  "http://0x0:PORT/",
  "http://localhost:PORT/",
  "http://LOCALHOST:PORT/",
  "http://localhost.:PORT/",
  "http://localhost.localdomain:PORT/",
  "http://sub.localhost:PORT/",
  "http://[::1]:PORT/",
  "http://[0:0:0:0:0:0:0:1]:PORT/",
  "http://[0000:0000:0000:0000:0000:0000:0000:0001]:PORT/",
  "http://[::]:PORT/",
  "http://[::ffff:127.0.0.1]:PORT/",
  "http://[::ffff:7f00:1]:PORT/",
  "http://[0:0:0:0:0:ffff:127.0.0.1]:PORT/",
  "http://[::127.0.0.1]:PORT/",
  "http://[::ffff:0:127.0.0.1]:PORT/",
  "http://[64:ff9b::127.0.0.1]:PORT/",
  "http://[64:ff9b:1::7f00:1]:PORT/",
  "http://[2002:7f00:1::]:PORT/",
  "http://[fe80::1%25lo]:PORT/",
  "http://[fe80::1]:PORT/",
  "http://[fd00::1]:PORT/",
  "http://[fc00::1]:PORT/",
  "http://[ff02::1]:PORT/",
  "http://①②⑦.⓪.⓪.①:PORT/",
  "http://127。0。0。1:PORT/",
  "http://ⓛocalhost:PORT/",
  "http://%6c%6f%63%61%6c%68%6f%73%74:PORT/",
  "http://127.0.0.1%2f@example.com:PORT/",
  "http://example.com@127.0.0.1:PORT/",
  "http://example.com:80@127.0.0.1:PORT/",
  "http://user:pass@127.0.0.1:PORT/",
  "http://127.0.0.1:PORT\\@example.com/",
  "http:\\\\127.0.0.1:PORT\\",
  "http:127.0.0.1:PORT/",
  "http:///127.0.0.1:PORT/",
  "http://127.0.0.1:PORT#@example.com/",
  "http://127.0.0.1:PORT?@example.com/",
  "HTTP://127.0.0.1:PORT/",
  " http://127.0.0.1:PORT/",
  "http://127.0.0.1\t:PORT/",
  "http://127.0.\n0.1:PORT/",
  "http://10.0.0.1:PORT/",
  "http://172.16.0.1:PORT/",
  "http://192.168.0.1:PORT/",
  "http://100.64.0.1:PORT/",
  "http://169.254.169.254/latest/meta-data/",
  "http://[fd00:ec2::254]/latest/meta-data/",
  "http://2852039166/latest/meta-data/",
  "https://127.0.0.1:PORT/",
  "ftp://127.0.0.1:PORT/",
  "file:///etc/passwd",
  "gopher://127.0.0.1:PORT/_GET",
  "data:text/plain,inside",
  "javascript:fetch('http://127.0.0.1:PORT')",
  "ws://127.0.0.1:PORT/",
  "blob:http://127.0.0.1:PORT/",
  "//127.0.0.1:PORT/",
];

/** Names that resolve to internal addresses. */
const answers: Record<string, readonly LookupAddress[][]> = {
  "inside.example": [[{ address: "127.0.0.1", family: 4 }]],
  "inside6.example": [[{ address: "::1", family: 6 }]],
  "mapped.example": [[{ address: "::ffff:127.0.0.1", family: 6 }]],
  "mixed.example": [
    [
      { address: "93.184.215.14", family: 4 },
      { address: "127.0.0.1", family: 4 },
    ],
  ],
  "mixed6.example": [
    [
      { address: "127.0.0.1", family: 4 },
      { address: "2606:2800:220:1::1", family: 6 },
    ],
  ],
  "nat64.example": [[{ address: "64:ff9b::7f00:1", family: 6 }]],
  "zone.example": [[{ address: "fe80::1%lo", family: 6 }]],
  "metadata.example": [[{ address: "169.254.169.254", family: 4 }]],
};

/**
 * A global unicast address of a block that was never allocated: the guard lets it pass, and the tests' connector
 * refuses it.
 */
const nobody: LookupAddress = { address: "2000::1", family: 6 };

/** Names that resolve to an external address first, and to an internal one when they are looked up again. */
const rebinding: Record<string, readonly LookupAddress[][]> = {
  "rebind.example": [[nobody], [{ address: "127.0.0.1", family: 4 }]],
  "rebind6.example": [[nobody], [{ address: "::1", family: 6 }]],
  "rebind-mapped.example": [[nobody], [{ address: "::ffff:127.0.0.1", family: 6 }]],
  "rebind-twice.example": [[nobody], [nobody], [{ address: "127.0.0.1", family: 4 }]],
};
/** Time to wait for a connection that is refused. */
const rebindingMs = 300;

/** The outcome of an attack. */
export interface AttackReport {
  readonly vectors: number;
  /** Requests that reached the internal server. */
  readonly hits: readonly string[];
  /** Vectors that the guard itself did not refuse, whether or not they reached anything. */
  readonly accepted: readonly string[];
  /** Addresses outside this machine that the guard let pass to the tests' connector, which opened no socket. */
  readonly passed: readonly string[];
}

async function listen(server: Server, host: string): Promise<number> {
  server.listen(0, host);
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/**
 * Tries to reach a server on this machine through fetch_url and http_request: directly, by redirects, and by names with
 * hostile DNS answers.
 */
export async function attackInside(): Promise<AttackReport> {
  const hits: string[] = [];
  const before = refusedAddresses.length;
  const canary = createServer((request, response) => {
    hits.push(`${request.method} ${request.headers.host}${request.url}`);
    response.end("inside");
  });
  const port = await listen(canary, "::");
  // The one allowed host. It redirects its callers to internal addresses.
  const lure = createServer((request, response) => {
    const target = new URL(request.url ?? "/", "http://lure").searchParams;
    const status = Number(target.get("status") ?? 302);
    // Line breaks cannot stand in a header; bytes beyond ASCII can.
    const location = Buffer.from((target.get("to") ?? "").replaceAll("\n", ""), "utf8").toString("latin1");
    response.writeHead(status, { location }).end();
  });
  const lurePort = await listen(lure, "127.0.0.1");
  const asked = new Map<string, number>();
  const resolve = (host: string, _options: unknown, callback: (error: Error | null, addresses: LookupAddress[]) => void) => {
    const turn = asked.get(host) ?? 0;
    asked.set(host, turn + 1);
    const known = answers[host] ?? rebinding[host] ?? [[{ address: "127.0.0.1", family: 4 }]];
    callback(null, [...(known[Math.min(turn, known.length - 1)] ?? [])]);
  };
  const outbound = createToolOutbound({ allowedHosts: [`127.0.0.1:${lurePort}`], lookup: resolve as unknown as typeof lookup });
  const tools: Tool[] = [createFetchUrl(outbound) as Tool, createHttpRequest(outbound) as Tool];
  const context = {
    signal: AbortSignal.timeout(60_000),
    logger: createLogger({ service: "attack", level: "silent" }),
    callKey: "k",
  };
  const accepted: string[] = [];
  let vectors = 0;
  const send = (tool: Tool, url: string) => {
    vectors += 1;
    const args = tool.name === "http_request" ? { url, method: "POST", headers: {}, body: "x" } : { url };
    return tool.execute(args as never, context) as Promise<{ status?: number }>;
  };
  const attempt = async (name: string, url: string) => {
    for (const tool of tools) {
      try {
        const { status } = await send(tool, url);
        // A redirect that is not followed is the lure's own response.
        if (status === undefined || status < 300 || status >= 400) accepted.push(`${tool.name} ${name}`);
      } catch (error) {
        // A failed connection is no refusal: on another machine a server may listen at that address.
        const isRefused =
          reasonOf(error) === ErrorReason.INVALID_TOOL_ARGUMENTS || (error as Error).cause instanceof RefusedAddressError;
        if (!isRefused) accepted.push(`${tool.name} ${name}: ${error}`);
      }
    }
  };
  try {
    const targets = [...urls, ...Object.keys(answers).map((host) => `http://${host}:PORT/`)].map((url) =>
      url.replaceAll("PORT", String(port)),
    );
    for (const url of targets) await attempt(url, url);
    // The guard lets the first address pass. It must not look the name up again and connect to the second address.
    for (const tool of tools) {
      asked.clear();
      const sent = Object.keys(rebinding).map(async (host) => {
        // A connection attempt ignores its signal, so it is left to `close`.
        const sending = send(tool, `http://${host}:${port}/`).catch(() => undefined);
        const answered = await Promise.race([sending, delay(rebindingMs)]);
        if (answered !== undefined) accepted.push(`${tool.name} ${host}`);
      });
      await Promise.all(sent);
    }
    // Without slashes a redirect is relative to its origin, the lure itself.
    for (const [i, url] of targets.filter((target) => !/^http:\d/.test(target)).entries()) {
      const status = [301, 302, 303, 307, 308][i % 5];
      await attempt(
        `redirect ${status} to ${url}`,
        `http://127.0.0.1:${lurePort}/?status=${status}&to=${encodeURIComponent(url)}`,
      );
    }
  } finally {
    await outbound.close();
    for (const server of [canary, lure]) {
      server.closeAllConnections();
      server.close();
    }
  }
  const passed = [...new Set(refusedAddresses.slice(before))].filter((address) => address !== nobody.address);
  return { vectors, hits, accepted, passed };
}
