import type { DescService } from "@bufbuild/protobuf";
import { Access } from "@turnwright/contract/auth/v1/access";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeProtos } from "../../packages/contract/tools/openapi/described-protos.ts";
import { type Entry, entriesOfServices } from "./contract-routes.ts";
import { ask, type EntryRequest, requestOf } from "./entry-requests.ts";
import { type HostileField, hostileFields, hostileMessages, withValue } from "./hostile-values.ts";
import { type Ask, send } from "./requests.ts";
import { closedUrl, type Stage, startStage } from "./stage.ts";

let services: readonly DescService[];
let entries: Entry[];
let stage: Stage;

beforeAll(async () => {
  services = describeProtos().services;
  const open: readonly Access[] = [Access.PUBLIC, Access.USER, Access.ADMIN];
  entries = entriesOfServices(services).filter(({ access }) => open.includes(access));
  stage = await startStage();
}, 120_000);
afterAll(() => stage?.stop());

/** Replaces the public hosts in example requests, so that nothing is sent to them. */
const harmless = (body: string) => body.replaceAll(/https?:\/\/[^"\\]*/g, closedUrl);

/** A request with a value in a field; undefined if the entry has no such field. */
function requestWith(entry: Entry, { path }: HostileField, value: unknown): EntryRequest | undefined {
  const request = requestOf(entry);
  const [field = ""] = path;
  if (entry.surface === "rest" && path.length === 1 && entry.pathFields.includes(field)) {
    const at = entry.template.split("/").indexOf(`{${field}}`);
    const parts = request.path.split("/");
    if (at < 0) return undefined;
    const toText = String(value).slice(0, 2_000).toWellFormed();
    return { ...request, path: [...parts.slice(0, at), encodeURIComponent(toText), ...parts.slice(at + 1)].join("/") };
  }
  if (entry.surface === "rest" && entry.body === "") {
    if (path.length > 1 || typeof value === "object") return undefined;
    const separator = request.path.includes("?") ? "&" : "?";
    return {
      ...request,
      path: `${request.path}${separator}${field}=${encodeURIComponent(String(value).slice(0, 2_000).toWellFormed())}`,
    };
  }
  if (request.body === undefined) return undefined;
  if (entry.surface === "connect" && entry.isStream) {
    const json = Buffer.from(JSON.stringify(withValue(JSON.parse(String(request.body.slice(5))), path, value)));
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(json.length, 1);
    return { ...request, body: Buffer.concat([prefix, json]) };
  }
  // A REST body may consist of a single field.
  const isOneField = entry.surface === "rest" && entry.body !== "*";
  if (isOneField && field !== entry.body) return undefined;
  const inBody = isOneField ? path.slice(1) : path;
  return { ...request, body: harmless(JSON.stringify(withValue(JSON.parse(String(request.body)), inBody, value))) };
}

async function failuresOf(cells: readonly (() => Promise<string | undefined>)[]): Promise<string[]> {
  const left = [...cells];
  const failed: string[] = [];
  const worker = async () => {
    for (let cell = left.shift(); cell !== undefined; cell = left.shift()) {
      const failure = await cell();
      if (failure !== undefined) failed.push(failure);
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  return failed;
}

const tokenFor = async (entry: Entry) =>
  entry.access === Access.ADMIN ? stage.admin.accessToken : (await stage.account()).accessToken;

/** Sends the request and leaves after the first piece: only whether it is understood matters. */
const tryOut = (entry: Entry, request: Ask, token: string) => {
  const headers = { ...(request.headers as Record<string, string>), authorization: `Bearer ${token}` };
  return ask(stage.baseUrl, entry, { ...request, headers, firstPiece: true });
};

describe("bad input", () => {
  test("is never a server error, in whatever field of whatever route", async () => {
    const cells: (() => Promise<string | undefined>)[] = [];
    for (const entry of entries) {
      const token = await tokenFor(entry);
      for (const field of hostileFields(entry.method.input)) {
        for (const { name, value } of field.values) {
          const request = requestWith(entry, field, value);
          if (request === undefined) continue;
          cells.push(async () => {
            const { status, body } = await tryOut(entry, request, token);
            const isFault = status >= 500 || status < 200;
            // Text with NUL is a mistake of the client, who learns in which field.
            const isUnnamedNul = name.startsWith("NUL") && !(status === 400 && body.includes(field.path.at(-1) ?? ""));
            return isFault || isUnnamedNul
              ? `${entry.name}, ${name} in ${field.path.join(".")}: ${status} ${body.slice(0, 200)}`
              : undefined;
          });
        }
      }
    }
    console.log(`bad input: ${entries.length} entries, ${cells.length} requests`);
    expect(await failuresOf(cells)).toEqual([]);
    expect(cells.length).toBeGreaterThan(1_000);
  }, 300_000);

  test("that only binary protobuf can express is refused as well", async () => {
    const cells: (() => Promise<string | undefined>)[] = [];
    const { accessToken } = await stage.account();
    for (const entry of entries.filter(({ surface, isStream }) => surface === "connect" && !isStream)) {
      const token = entry.access === Access.ADMIN ? stage.admin.accessToken : accessToken;
      for (const { name, bytes } of hostileMessages(entry.method.input)) {
        const request = {
          method: "POST",
          path: entry.template,
          headers: { "content-type": "application/proto" },
          body: Buffer.from(bytes),
        };
        cells.push(async () => {
          const { status, body } = await tryOut(entry, request, token);
          return status >= 400 && status < 500 ? undefined : `${entry.name}, ${name}: ${status} ${body.slice(0, 200)}`;
        });
      }
    }
    expect(await failuresOf(cells)).toEqual([]);
    expect(cells.length).toBeGreaterThan(3);
  }, 60_000);

  test("is answered with the name of its field", async () => {
    const { accessToken } = await stage.account();
    const post = (path: string, body: object) =>
      send(stage.baseUrl, {
        method: "POST",
        path,
        headers: { authorization: `Bearer ${accessToken}` },
        body: JSON.stringify(body),
      });
    for (const [path, body, param] of [
      ["/v1/auth/login", { email: "a\0@example.com", password: "SecurePass123" }, "email"],
      ["/v1/auth/register", { email: "a@example.com", password: "SecurePass123", name: "a\0" }, "name"],
      ["/v1/api-keys", { name: "k", allowed_tools: ["calculator", "a\0"] }, "allowed_tools[1]"],
      ["/v1/webhooks", { url: "https://example.com/\0" }, "url"],
      ["/v1/conversations", { message: "hi", model: "a\0" }, "model"],
    ] as const) {
      const answer = await post(path, body);
      expect([path, answer.status], answer.body).toEqual([path, 400]);
      expect(JSON.parse(answer.body).error.param).toBe(param);
    }
    const usage = await send(stage.baseUrl, {
      method: "GET",
      path: "/v1/usage?start=0000-01-01",
      headers: { authorization: `Bearer ${accessToken}` },
    });
    expect([usage.status, JSON.parse(usage.body).error.param]).toEqual([400, "start"]);
  });
});
