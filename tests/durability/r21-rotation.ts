/**
 * Row R21: MESH_SECRET and JWT_SECRET are replaced in a mesh with two replicas of each part, which are restarted one
 * after another in random order, under load; approvals are decided before each restart: `npm run durability -- r21`.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createClient as createRpcClient } from "@connectrpc/connect";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { signAccessToken } from "@turnwright/platform/identity/access-token";
import { createServiceTokenSource } from "@turnwright/platform/identity/service-token";
import { createGrpcTransport } from "@turnwright/platform/rpc/grpc-transport";
import { serviceCredentialsInterceptor } from "@turnwright/platform/rpc/interceptors";
import { type EffectCounter, startEffectCounter } from "../e2e/effect-counter.ts";
import { report, seeded } from "../security/long/stage.ts";
import { startLoad } from "./drain-load.ts";
import { type Client, createClient } from "./load-client.ts";
import { onStores } from "./on-stores.ts";
import { type ReplicatedMesh, startReplicatedMesh } from "./replicated-mesh.ts";

const { values } = parseArgs({
  options: {
    approvals: { type: "string", default: "100" },
    callers: { type: "string", default: "4" },
    seed: { type: "string", default: "21" },
  },
});
const approvalsPerStep = Math.ceil(Number(values.approvals) / 3);
const [present, next] = [0, 1].map(() => ({ mesh: randomBytes(24).toString("hex"), jwt: randomBytes(24).toString("hex") }));
if (present === undefined || next === undefined) throw new Error("There are two pairs of secrets.");
const settings = (signing: typeof present, accepted?: typeof present) => ({
  MESH_SECRET: signing.mesh,
  JWT_SECRET: signing.jwt,
  MESH_SECRET_ACCEPTED: accepted?.mesh ?? "",
  JWT_SECRET_ACCEPTED: accepted?.jwt ?? "",
});
const steps = [
  ["add", settings(present, next)],
  ["swap", settings(next, present)],
  ["remove", settings(next)],
] as const;

interface Turn {
  readonly data: { conversation_id: string; response: string };
}
interface Conversation {
  readonly data: { messages: { role: string; content: string }[]; pending_approvals: { id: string }[] };
}

async function login(client: Client): Promise<string> {
  const account = { email: `rotation-${randomUUID()}@example.com`, password: "correct-horse-battery" };
  await client.call("POST", "/v1/auth/register", { body: { ...account, name: "Rotation" } });
  const { data } = await client.call<{ data: { access_token: string } }>("POST", "/v1/auth/login", { body: account });
  return data.access_token;
}

/** Parks a run that waits for the approval of a request to the effect counter; returns its conversation. */
async function park(client: Client, token: string, effects: EffectCounter): Promise<string> {
  const body = { message: `post ${randomUUID()} to ${effects.url}` };
  const { data } = await client.call<Turn>("POST", "/v1/conversations", { token, body });
  if (data.response !== "pending_approval") throw new Error(`The run did not park: ${data.response}`);
  return data.conversation_id;
}

/** Whether the conversation's approved call has its result and the run its answer, within a minute. */
async function isAnswered(client: Client, token: string, id: string): Promise<boolean> {
  for (const until = Date.now() + 60_000; Date.now() < until; await delay(100)) {
    const { data } = await client.call<Conversation>("GET", `/v1/conversations/${id}`, { token });
    const tool = data.messages.find(({ role }) => role === "tool");
    if (data.messages.at(-1)?.role === "assistant" && tool?.content.includes("received")) return true;
    if (data.pending_approvals.length > 0) return false;
  }
  return false;
}

/** Restarts all replicas with other settings, under load. Returns the failures, and counts of calls and approvals. */
async function takeStep(mesh: ReplicatedMesh, effects: EffectCounter, env: Record<string, string>, random: () => number) {
  const client = createClient(mesh.gateways);
  const token = await login(client);
  const parked = await Promise.all(Array.from({ length: approvalsPerStep }, () => park(client, token, effects)));
  const load = await startLoad(mesh.gateways, { unary: Number(values.callers), streams: 1, longStreams: 0, longWords: 0 });
  const left = [...mesh.replicas];
  const decided: Promise<string>[] = [];
  const decide = (count: number) => {
    for (const id of parked.splice(0, count)) {
      const decision = client.call("POST", `/v1/conversations/${id}/approve`, { token, body: { approved: true } });
      const answered = decision.then(() => isAnswered(client, token, id));
      // Settled in any case: a rejection that nobody awaits yet would end this process.
      decided.push(
        answered.then(
          (isGood) => (isGood ? "" : `approval: ${id} has no answer`),
          (error: unknown) => `approval: ${String(error)}`,
        ),
      );
    }
  };
  while (left.length > 0) {
    const [replica] = left.splice(Math.floor(random() * left.length), 1);
    decide(Math.ceil(parked.length / (left.length + 1)));
    await replica?.terminate();
    await replica?.start(env);
  }
  const outcomes = await Promise.all(decided);
  await load.stop();
  await client.close();
  const { unary, failures, ended, refused, resumed, broken, cut, handedOver } = load.counts;
  const errors = [...failures, ...refused, ...resumed, ...broken, ...outcomes.filter((fault) => fault !== "")];
  return { errors, unary, streams: ended + handedOver, cut, approvals: outcomes.length };
}

/** Whether the mesh refuses access tokens and service tokens under a secret, by kind. */
async function refusals(mesh: ReplicatedMesh, secrets: typeof present): Promise<Record<string, boolean>> {
  if (secrets === undefined) return {};
  const claims = { userId: randomUUID(), sessionId: randomUUID(), role: "admin", expiresAt: Date.now() + 60_000 };
  const token = await signAccessToken({ secret: secrets.jwt }, claims);
  const answer = await fetch(`${mesh.gateways[0]}/v1/auth/me`, { headers: { authorization: `Bearer ${token}` } });
  const text = await answer.text();
  const auth = mesh.replicas.find(({ name }) => name.startsWith("auth"));
  const interceptors = [serviceCredentialsInterceptor(createServiceTokenSource(secrets.mesh, "gateway"))];
  const transport = createGrpcTransport({ addresses: [`127.0.0.1:${auth?.port}`], interceptors });
  const call = createRpcClient(TokenService, transport).listRevocations({ seconds: 1 }, { timeoutMs: 5_000 });
  const serviceToken = await call.then(
    () => false,
    (error: unknown) => String(error).includes("service token is not valid"),
  );
  transport.close();
  return { accessToken: answer.status === 401 && text.includes("is not valid"), serviceToken };
}

await onStores("rotation", async (stores) => {
  const effects = await startEffectCounter();
  const mesh = await startReplicatedMesh({ ...stores, limit: "5s", allowedHost: effects.host, env: settings(present) });
  const random = seeded(Number(values.seed));
  let approvals = 0;
  try {
    for (const [name, env] of steps) {
      const done = await takeStep(mesh, effects, env, random);
      approvals += done.approvals;
      const refused = done.errors.filter((error) => /\b40[13]\b|_TOKEN|token/.test(error));
      const figure = `${name}: 10 restarts, ${done.unary} calls, ${done.streams} streams, ${done.approvals} approvals: ${done.errors.length} failed (${refused.length} for a credential), ${done.cut} cut`;
      report("R21", done.errors.length === 0, [figure, ...new Set(done.errors)].slice(0, 8).join("\n      "));
    }
    report("R21", effects.bodies.length === approvals, `${approvals} approved calls had ${effects.bodies.length} effects`);
    const old = JSON.stringify(await refusals(mesh, present));
    report("R21", old === '{"accessToken":true,"serviceToken":true}', `refused under the old secrets: ${old}`);
    const current = JSON.stringify(await refusals(mesh, next));
    report("R21", current === '{"accessToken":false,"serviceToken":false}', `refused under the new secrets: ${current}`);
  } finally {
    await mesh.stop();
    await effects.close();
  }
});
