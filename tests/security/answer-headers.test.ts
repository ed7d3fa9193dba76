import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import type { DescService } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { publicServices } from "@turnwright/gateway";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { mount } from "@turnwright/platform/rpc/mount";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { aliceKey, type Fixture, startFixture } from "../../gateway/testing/gateway.ts";
import { type Entry, entriesOfServices } from "./contract-routes.ts";

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
}

interface Asked {
  readonly verb: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

const services = Object.values(publicServices).flat() as readonly DescService[];
const entries = entriesOfServices(services);
let gateway: Fixture;

beforeAll(async () => {
  const accounts = mount(AuthService, {
    login: () => ({ accessToken: "access", refreshToken: "refresh" }),
    register() {
      throw new Error("an unexpected fault");
    },
    refresh() {
      throw fail(ErrorReason.INVALID_REFRESH_TOKEN, "The refresh token is not valid.");
    },
  } as unknown as ServiceImpl<typeof AuthService>);
  // Services that are not mounted here answer that they are not implemented.
  const others = services
    .filter((service) => service !== AuthService && service.typeName !== "turnwright.auth.v1.TokenService")
    .map((service) => mount(service, {} as ServiceImpl<DescService>));
  gateway = await startFixture({
    mounts: [accounts, ...others],
    env: { RATE_LIMIT_ENABLED: "false", SERVER_REQUEST_TIMEOUT: "1s" },
  });
});
afterAll(() => gateway.close());

async function overHttp1({ verb, path, headers = {}, body }: Asked): Promise<Answer> {
  const socket = connect({ port: gateway.port, host: "127.0.0.1" }).on("error", () => {});
  const lines = Object.entries({
    host: "a",
    connection: "close",
    ...(body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) }),
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`${verb} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
  if (body !== undefined) socket.write(body);
  return rawAnswer(socket);
}

/** Reads an HTTP/1.1 response to its end. */
async function rawAnswer(socket: ReturnType<typeof connect>): Promise<Answer> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  await new Promise((resolve) => socket.once("close", resolve));
  const text = Buffer.concat(chunks).toString("latin1");
  const end = text.indexOf("\r\n\r\n");
  const [first = "", ...lines] = text.slice(0, end).split("\r\n");
  const headers = lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 2)]);
  return { status: Number(first.split(" ")[1]), headers: Object.fromEntries(headers), body: text.slice(end + 4) };
}

async function overHttp2({ verb, path, headers = {}, body }: Asked): Promise<Answer> {
  const session = connectHttp2(gateway.url);
  try {
    const stream = session.request({ ":method": verb, ":path": path, ...headers });
    stream.end(body);
    const [head] = (await once(stream, "response")) as [Record<string, string>];
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    return { status: Number(head[":status"]), headers: head, body: Buffer.concat(chunks).toString("latin1") };
  } finally {
    session.destroy();
  }
}

const banner = /fastify|connect-(?:es|node)|grpc-(?:js|node)|node(?:js|\.js)?\/|express|undici|turnwright\/|v?\d+\.\d+\.\d+/i;
/** Responses that may be cached: files of the docs. */
const keptPaths = /^\/(?:swagger\/(?:index\.html|.*\.(?:js|css|png)|doc\.json)|openapi\.json)$/;

/** Faults of a response, one line each. */
function faultsOf({ verb, path }: Asked, { status, headers, body }: Answer): string[] {
  const at = `${verb} ${path} → ${status}`;
  const faults: string[] = [];
  const expectHeader = (name: string, isRight: (value: string) => boolean) => {
    const value = headers[name];
    if (value === undefined || !isRight(value)) faults.push(`${at}: ${name}: ${value}`);
  };
  expectHeader("x-content-type-options", (value) => value === "nosniff");
  expectHeader("content-security-policy", (value) => /default-src 'none'/.test(value) && /frame-ancestors 'none'/.test(value));
  expectHeader("content-security-policy", (value) => !/unsafe|\*|https?:/.test(value));
  expectHeader("referrer-policy", (value) => value === "no-referrer");
  if (!keptPaths.test(path) || status >= 400) expectHeader("cache-control", (value) => /no-store/.test(value));
  for (const name of ["server", "x-powered-by", "via", "x-aspnet-version", "x-runtime"]) {
    if (headers[name] !== undefined) faults.push(`${at}: ${name}: ${headers[name]}`);
  }
  for (const [name, value] of Object.entries(headers)) {
    if (name !== "date" && name !== "etag" && banner.test(String(value))) faults.push(`${at}: ${name}: ${value}`);
  }
  if (status >= 400 && banner.test(body)) faults.push(`${at}: ${body}`);
  return faults;
}

const json = { "content-type": "application/json" };
const withKey = { authorization: `Bearer ${aliceKey}` };

function enveloped(message: string): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(Buffer.byteLength(message), 1);
  return Buffer.concat([head, Buffer.from(message)]);
}

/** The ways to call an entry, valid and invalid. */
function waysOf(entry: Entry): Asked[] {
  const path = entry.template.replaceAll(/\{[^}]+\}/g, "0190a000-0000-7000-8000-00000000000a");
  const body = entry.verb === "GET" || entry.verb === "DELETE" ? undefined : "{}";
  const sent = { verb: entry.verb, path, body };
  const type = entry.isStream && entry.surface === "connect" ? { "content-type": "application/connect+json" } : json;
  const ways: Asked[] = [
    { ...sent, headers: type },
    { ...sent, headers: { ...type, ...withKey } },
    { ...sent, headers: { ...type, authorization: "Basic eA==" } },
    { verb: "TRACE", path },
    { verb: "OPTIONS", path, headers: { origin: "https://a.example", "access-control-request-method": entry.verb } },
  ];
  if (body === undefined) return ways;
  ways.push(
    { ...sent, body: "{", headers: { ...type, ...withKey } },
    { ...sent, body: "<a/>", headers: { ...withKey, "content-type": "text/xml" } },
    { ...sent, headers: { ...type, "content-length": "99999999999" } },
  );
  if (entry.surface === "connect") {
    const messages = { "application/grpc-web+json": {}, "application/grpc+json": { te: "trailers" } };
    for (const [wire, more] of Object.entries(messages)) {
      ways.push({ ...sent, body: enveloped("{}"), headers: { "content-type": wire, ...more, ...withKey } });
      ways.push({ ...sent, body: enveloped("{}"), headers: { "content-type": wire, ...more } });
    }
  }
  return ways;
}

async function faultsOfAll(asked: readonly Asked[]): Promise<{ faults: string[]; statuses: Set<number> }> {
  const faults: string[] = [];
  const statuses = new Set<number>();
  for (const one of asked) {
    const isGrpc = one.headers?.te !== undefined;
    const ways = [...(isGrpc ? [] : [overHttp1]), ...(one.headers?.["content-length"] === undefined ? [overHttp2] : [])];
    for (const way of ways) {
      const answer = await way(one);
      statuses.add(answer.status);
      faults.push(...faultsOf(one, answer));
    }
  }
  return { faults, statuses };
}

describe("every response has security headers and hides the software behind it", () => {
  test("on every route, over REST, Connect, gRPC-web and gRPC, with and without a credential, in every error", async () => {
    const { faults, statuses } = await faultsOfAll(entries.flatMap(waysOf));
    expect(faults).toEqual([]);
    expect([...statuses].sort()).toEqual(expect.arrayContaining([200, 204, 400, 401, 405, 413, 415, 501]));
  }, 120_000);

  test("on pages, health, missing resources and no route at all", async () => {
    const paths = ["/swagger/index.html", "/swagger/start.js", "/swagger/swagger-ui-bundle.js", "/swagger/swagger-ui.css"];
    paths.push("/swagger/favicon-32x32.png", "/swagger/doc.json", "/openapi.json", "/swagger", "/docs", "/health", "/ready");
    paths.push(
      "/.well-known/jwks.json",
      "/nothing",
      "/swagger/nothing.html",
      "/swagger/../health",
      "/",
      "/%E0%A4%A",
      "//",
      "/?<script>",
    );
    const { faults, statuses } = await faultsOfAll(
      paths.flatMap((path) => ["GET", "HEAD", "POST"].map((verb) => ({ verb, path }))),
    );
    expect(faults).toEqual([]);
    expect([...statuses].sort()).toEqual([200, 302, 400, 404, 405]);
  }, 60_000);

  test("on unexpected failures and on a successful login", async () => {
    const faultsOfPost = async (path: string, body: string) => {
      const asked = { verb: "POST", path, headers: json, body };
      const answer = await overHttp1(asked);
      return { status: answer.status, faults: faultsOf(asked, answer) };
    };
    const account = { email: "you@example.com", password: "SecurePass123" };
    const registration = JSON.stringify({ ...account, name: "You" });
    expect(await faultsOfPost("/v1/auth/register", registration)).toEqual({ status: 500, faults: [] });
    expect(await faultsOfPost("/v1/auth/login", JSON.stringify(account))).toEqual({ status: 200, faults: [] });
  });

  test.each([
    ["is no request", "NONSENSE\r\n\r\n", 400],
    ["has headers over the limit", `GET / HTTP/1.1\r\nhost: a\r\nx: ${"y".repeat(20_000)}\r\n\r\n`, 431],
    ["never ends", "POST /v1/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 5\r\n\r\n", 408],
  ])("to what %s", async (_what, bytes, status) => {
    const socket = connect({ port: gateway.port, host: "127.0.0.1" }).on("error", () => {});
    socket.write(bytes);
    const answer = await rawAnswer(socket);
    expect(answer.status).toBe(status);
    expect(faultsOf({ verb: "bytes", path: "" }, answer)).toEqual([]);
  });
});
