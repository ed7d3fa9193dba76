import { setTimeout as delay } from "node:timers/promises";
import { reasonName, reasonOf } from "@turnwright/platform/errors";
import type { Creation, Product } from "./creations.ts";
import type { Revocation } from "./revocations.ts";
import { type RaceStage, replicas, type Subject } from "./stage.ts";

/** The results of many rounds of a pair. */
export interface PairResult {
  readonly revocation: string;
  readonly creation: string;
  rounds: number;
  /** Credentials created in races, before or after the revocation. */
  made: number;
  /** Credentials that outlived the revocation's response but must not. */
  survivors: number;
  /** Calls that began after the response with an ended credential and still created a credential. */
  late: number;
  /** Unexpected refusals, and refusals in an unexpected form. */
  readonly faults: string[];
}

interface Live {
  readonly id: string;
  readonly type: "refresh" | "api_key";
  readonly family: string;
  readonly hash: string;
  readonly name: string;
}

async function liveOf({ sql }: RaceStage, userId: string): Promise<Live[]> {
  const { rows } = await sql.query<Live>({
    name: "live-credentials",
    text: `select t.id, t.token_type as type, t.family_id as family, encode(t.token_hash, 'hex') as hash, t.name
           from user_tokens t join users u on u.id = t.user_id
           where t.user_id = $1 and not t.is_revoked and u.is_active`,
    values: [userId],
  });
  return rows;
}

/** Whether a credential that is still alive should have ended. */
function isSurvivor(
  one: Live,
  { ends, allSessions, allKeys, logins, keyStays, created }: Revocation,
  race: { subject: Subject; products: ReadonlyMap<string, Product>; atAnswer: ReadonlySet<string> },
): boolean {
  const { session, key } = race.subject;
  const through = race.products.get(one.hash)?.through;
  if (one.type === "refresh") {
    if (through === "password") return logins === true;
    return allSessions === true || (ends.includes("session") && one.family === session.tokenId);
  }
  if (allKeys) return true;
  const isYounger = through !== undefined && !race.atAnswer.has(one.hash);
  if (isYounger && ends.some((ended) => ended === through)) return true;
  if (one.id === key.tokenId) return ends.includes("key") && !keyStays;
  return ends.includes("key") && (!keyStays || created === true) && one.name.startsWith("through key");
}

const expectedLate = new Set(["INVALID_TOKEN", "PERMISSION_DENIED"]);

/** Tries to create keys with ended credentials; returns the number created, and refusals in an unexpected form. */
async function tryLate(subject: Subject, { ends }: Revocation, replica: number) {
  let got = 0;
  const odd: string[] = [];
  const note = (error: unknown) => {
    const reason = reasonName(reasonOf(error)).replace("ERROR_REASON_", "");
    if (!expectedLate.has(reason)) odd.push(`late: ${reason}`);
  };
  for (const ended of ends) {
    const caller = subject[ended].at(replica);
    await Promise.all([
      caller.keys.createApiKey({ name: `through ${ended}, late` }).then(() => {
        got += 1;
      }, note),
      caller.keys.rotateApiKey({ apiKeyId: subject.key.tokenId }).then(() => {
        got += 1;
      }, note),
    ]);
  }
  return { got, odd };
}

async function playRound(
  stage: RaceStage,
  pair: { revocation: Revocation; creation: Creation },
  result: PairResult,
  round: number,
) {
  const { revocation, creation } = pair;
  const subject = await stage.subject();
  const replica = round % replicas;
  // Either response may be the first, and each step of one meets each step of the other.
  const attempts = delay(Math.random() * (revocation.takesMs ?? 10)).then(() => creation.attempt(stage, subject));
  await delay(Math.random() * creation.spreadMs);
  await revocation.act(stage, subject, replica).catch((error: unknown) => {
    result.faults.push(`${revocation.name}: ${reasonName(reasonOf(error))} ${String(error)}`);
  });
  const atAnswer = new Set((await liveOf(stage, subject.userId)).map(({ hash }) => hash));
  const made = await attempts;
  const products = new Map(made.map((product) => [product.hash.toString("hex"), product]));
  const live = await liveOf(stage, subject.userId);
  const late = await tryLate(subject, revocation, 1 - replica);
  const race = { subject, products, atAnswer };
  result.rounds += 1;
  result.made += made.length;
  result.survivors += live.filter((one) => isSurvivor(one, revocation, race)).length;
  result.late += late.got;
  result.faults.push(...late.odd);
}

/**
 * Plays a pair: in each round a revocation begins while credentials are created from what it ends. `atOnce` rounds run
 * in parallel.
 */
export async function playPair(
  stage: RaceStage,
  pair: { revocation: Revocation; creation: Creation },
  { rounds, atOnce = 8 }: { rounds: number; atOnce?: number },
): Promise<PairResult> {
  const names = { revocation: pair.revocation.name, creation: pair.creation.name };
  const result: PairResult = { ...names, rounds: 0, made: 0, survivors: 0, late: 0, faults: [] };
  let next = 0;
  const lane = async () => {
    for (let round = next++; round < rounds; round = next++) await playRound(stage, pair, result, round);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, rounds) }, lane));
  return result;
}
