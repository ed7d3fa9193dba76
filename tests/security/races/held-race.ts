import { setTimeout as delay } from "node:timers/promises";
import { reasonName, reasonOf } from "@turnwright/platform/errors";
import type { Held, Holders } from "./holders.ts";
import type { PairResult } from "./race.ts";
import type { Revocation } from "./revocations.ts";
import { type RaceStage, replicas, type Subject } from "./stage.ts";

/**
 * Everything must end within a second after the response; whatever outlives this longer time counts as alive, on a
 * machine of any speed.
 */
const patienceMs = 5_000;

/** The two ways in which a credential is handed to a holder. */
export const handings = ["exchange", "mint of a run's token"] as const;

const hand = (holders: Holders, handing: (typeof handings)[number], subject: Subject, of: "session" | "key") =>
  handing === "exchange"
    ? holders.admit(subject[of].bearer)
    : holders.run({ userId: subject.userId, tokenId: subject[of].tokenId });

/** Whether a held identity is of the credential as it was, not as it has become. */
const isOf = (then: Held["identity"], now: Held["identity"] | undefined) =>
  now === undefined || then.secretVersion !== now.secretVersion || then.role !== now.role;

async function ends({ signal }: Held, within: number): Promise<boolean> {
  if (signal.aborted) return true;
  const over = Promise.withResolvers<true>();
  signal.addEventListener("abort", () => over.resolve(true), { once: true });
  return Promise.race([over.promise, delay(within, false, { ref: false })]);
}

async function playRound(
  stage: RaceStage,
  holders: Holders,
  race: { revocation: Revocation; handing: (typeof handings)[number]; round: number },
  result: PairResult & { slowestMs: number },
): Promise<void> {
  const { revocation, handing, round } = race;
  const subject = await stage.subject();
  const begun: Held[] = [];
  const attempts = revocation.ends.flatMap((of) =>
    Array.from({ length: 3 }, async (_one, i) => {
      await delay(Math.random() * (revocation.takesMs ?? 10));
      // The first one is handed out before the revocation begins, and is in the gateway's cache.
      await delay(i === 0 ? 0 : Math.random() * 8);
      const held = await hand(holders, handing, subject, of).catch(() => undefined);
      if (held !== undefined) begun.push(held);
    }),
  );
  await delay(Math.random() * 12);
  await revocation.act(stage, subject, round % replicas).catch((error: unknown) => {
    result.faults.push(`${revocation.name}: ${reasonName(reasonOf(error))}`);
  });
  const answeredAt = performance.now();
  await Promise.all(attempts);
  // The credentials' current identities, if any.
  const now = new Map<string, Held["identity"] | undefined>();
  for (const of of revocation.ends) {
    const { tokenId } = subject[of];
    const identity = await stage
      .tokens(0, "agent-orchestrator")
      .mintInternalToken({ userId: subject.userId, tokenId })
      .then((minted) => minted.identity)
      .catch(() => undefined);
    now.set(tokenId, identity);
  }
  const stale = begun.filter(({ identity }) => isOf(identity, now.get(identity.tokenId)));
  const over = await Promise.all(
    stale.map(async (held) => {
      const ended = await ends(held, patienceMs - (performance.now() - answeredAt));
      if (ended) result.slowestMs = Math.max(result.slowestMs, performance.now() - answeredAt);
      return ended;
    }),
  );
  result.rounds += 1;
  result.made += begun.length;
  result.survivors += over.filter((ended) => !ended).length;
  // Every holder has learned of it by now: no credential is handed out any more.
  if (over.length > 0 || handing === "mint of a run's token") {
    for (const of of revocation.ends) {
      const held = await hand(holders, handing, subject, of).catch(() => undefined);
      if (held !== undefined && isOf(held.identity, now.get(held.identity.tokenId))) result.late += 1;
    }
  }
}

/** As `playPair`, with holders of what was handed out: calls admitted by the gateway, and runs of the orchestrator. */
export async function playHeldPair(
  stage: RaceStage,
  holders: Holders,
  pair: { revocation: Revocation; handing: (typeof handings)[number] },
  { rounds, atOnce = 20 }: { rounds: number; atOnce?: number },
): Promise<PairResult & { slowestMs: number }> {
  const names = { revocation: pair.revocation.name, creation: pair.handing };
  const result = { ...names, rounds: 0, made: 0, survivors: 0, late: 0, faults: [], slowestMs: 0 };
  let next = 0;
  const lane = async () => {
    for (let round = next++; round < rounds; round = next++) await playRound(stage, holders, { ...pair, round }, result);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, rounds) }, lane));
  return result;
}
