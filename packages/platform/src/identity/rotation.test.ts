import { describe, expect, test } from "vitest";
import { createTestMesh } from "../../testing/plane.ts";
import { claims } from "../../testing/tokens.ts";
import { type Secrets, secretsOf, signingSecret } from "../config/secrets.ts";
import { createLogger } from "../logger.ts";
import { createMemoryBus } from "../ports/bus-memory.ts";
import { createSealedBus } from "../ports/bus-sealed.ts";
import { createAccessTokenVerifier, signAccessToken } from "./access-token.ts";
import { signGrant, verifyGrant } from "./grant.ts";
import { createServiceTokenSource, createServiceTokenVerifier } from "./service-token.ts";

const present = "the-present-secret-of-these-tests";
const next = "the-next-secret-of-all-these-tests";
const foreign = "the-secret-of-an-entirely-other-mesh";
/** Settings of a process in the course of a rotation. */
const steps: readonly Secrets[] = [present, [present, next], [next, present], next];
/** Sender and receiver while the processes go from one step to the next, either of which may be ahead. */
const neighbours = steps.slice(1).flatMap((after, index) => {
  const before = steps[index] ?? present;
  return [
    { from: before, to: after },
    { from: after, to: before },
    { from: after, to: after },
  ];
});
const access = { userId: claims.runId, sessionId: claims.runId, role: "user" };
const logger = createLogger({ service: "test", level: "silent" });
const mesh = await createTestMesh();

/** Which of a sender's tokens and messages a receiver accepts. */
async function accepted(from: Secrets, to: Secrets): Promise<Record<string, boolean>> {
  const succeeds = (work: Promise<unknown>) =>
    work.then(
      () => true,
      () => false,
    );
  const grant = await signGrant(from, claims);
  const accessToken = await signAccessToken({ secret: signingSecret(from) }, { ...access, expiresAt: Date.now() + 60_000 });
  const bus = createMemoryBus({ logger });
  const heard: string[] = [];
  await createSealedBus({ bus, secrets: to, logger }).subscribe("topic", (text) => heard.push(text));
  await createSealedBus({ bus, secrets: from, logger }).publish("topic", "message");
  await new Promise(setImmediate);
  return {
    serviceToken: await succeeds(createServiceTokenVerifier(to).verify(await createServiceTokenSource(from, "gateway")())),
    grant: await verifyGrant(to, grant, claims),
    accessToken: await succeeds(createAccessTokenVerifier({ keys: mesh.keySource, secrets: to }).verify(accessToken)),
    message: heard.length === 1,
  };
}

const all = (value: boolean) => ({ serviceToken: value, grant: value, accessToken: value, message: value });

describe("while a secret is being replaced", () => {
  test.each(neighbours)("$to accepts everything of $from", async ({ from, to }) => {
    expect(await accepted(from, to)).toEqual(all(true));
  });

  test.each([
    { from: present, to: next },
    { from: next, to: present },
    { from: [present, next] as Secrets, to: next },
    { from: foreign, to: [present, next] as Secrets },
    { from: [foreign, present] as Secrets, to: [present, next] as Secrets },
  ])("$to refuses everything of $from", async ({ from, to }) => {
    expect(await accepted(from, to)).toEqual(all(false));
  });

  test("an expired token under the accepted secret has expired, and is not merely invalid", async () => {
    const token = await signAccessToken({ secret: present }, { ...access, expiresAt: Date.now() - 600_000 });
    const { verify } = createAccessTokenVerifier({ keys: mesh.keySource, secrets: [next, present] });
    await expect(verify(token)).rejects.toThrow("has expired");
  });

  test("a secret that is given twice counts once", () => {
    expect(secretsOf(present, present)).toBe(present);
    expect(secretsOf(present, next)).toEqual([present, next]);
  });
});
