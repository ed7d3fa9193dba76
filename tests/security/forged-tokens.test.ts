import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { byKey, makeToken } from "./forge.ts";
import { type Forge, type ForgedClass, forgedClasses, prepareForge } from "./forged-tokens.ts";
import { send } from "./requests.ts";
import { type Stage, startStage } from "./stage.ts";

let stage: Stage;
let attacker: Server;
/** Requests for keys to the attacker's server. */
const fetched: string[] = [];
let forge: Forge;

beforeAll(async () => {
  attacker = createServer((request, response) => {
    fetched.push(request.url ?? "");
    response.end("{}");
  }).listen(0, "127.0.0.1");
  await once(attacker, "listening");
  stage = await startStage();
  forge = await prepareForge(stage, `http://127.0.0.1:${(attacker.address() as AddressInfo).port}`);
}, 120_000);
afterAll(async () => {
  await stage?.stop();
  attacker?.close();
});

/** Routes open to every credential, one per surface. */
const protectedRoutes = [
  { method: "GET", path: "/v1/auth/me" },
  { method: "POST", path: "/turnwright.auth.v1.AuthService/GetCurrentUser", body: "{}" },
] as const;

/** The statuses of a sample on each protected route; `unsent` if no HTTP client sends it. */
async function answersTo(sample: ForgedClass["samples"][number]): Promise<(number | "unsent")[]> {
  return Promise.all(
    protectedRoutes.map(async ({ path, ...route }) => {
      const query = sample.query === undefined ? "" : `?${sample.query}`;
      const type = "body" in route ? ["content-type", "application/json"] : [];
      try {
        return (await send(stage.baseUrl, { ...route, path: path + query, headers: [...sample.headers, ...type] })).status;
      } catch (error) {
        if ((error as { code?: string }).code === "ERR_INVALID_CHAR") return "unsent";
        throw error;
      }
    }),
  );
}

test("the forger's unchanged token is accepted, so that refusals are due to the forgery", async () => {
  const { header, claims, key } = forge;
  const genuine = makeToken(header, claims, byKey(key.privateKey));
  expect(genuine).toBe(forge.victim.accessToken);
  expect(await answersTo({ headers: ["authorization", `Bearer ${genuine}`] })).toEqual([200, 200]);
  const renewed = makeToken(header, { ...claims, jti: "another" }, byKey(key.privateKey));
  expect(await answersTo({ headers: ["authorization", `Bearer ${renewed}`] })).toEqual([200, 200]);
});

test("every class of forged tokens is refused", async () => {
  const classes = forgedClasses(forge);
  expect(new Set(classes.map(({ name }) => name)).size).toBe(classes.length);
  const failed: string[] = [];
  let samples = 0;
  const left = classes.flatMap(({ name, samples }) => samples.map((sample, index) => ({ name, sample, index })));
  const worker = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const answers = await answersTo(next.sample);
      const isRefused = answers.every((status) => status === 401 || status === 400 || status === 431);
      if (!isRefused) failed.push(`${next.name}, sample ${next.index}: ${answers} ${JSON.stringify(next.sample).slice(0, 300)}`);
      samples += answers.length;
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  console.log(`forged tokens: ${classes.length} classes, ${samples} requests`);
  expect(failed).toEqual([]);
  expect(classes.length).toBeGreaterThanOrEqual(30);
}, 120_000);

test("no key was requested from the attacker", () => {
  expect(fetched).toEqual([]);
});

test("the victim's session and the system are unharmed", async () => {
  expect(await answersTo({ headers: ["authorization", `Bearer ${forge.victim.accessToken}`] })).toEqual([200, 200]);
  expect((await send(stage.baseUrl, { method: "GET", path: "/ready" })).status).toBe(200);
});
