import { setTimeout as delay } from "node:timers/promises";
import { send } from "./requests.ts";
import type { Stage } from "./stage.ts";

/** Webhooks that a key asks for while it is being revoked. */
const atOnce = 6;

/**
 * Revokes keys that are making webhooks, at another moment in each round. Gives how many webhooks were made, and how many were still enabled
 * `boundMs` after the last of these requests.
 */
export async function raceWebhooks(
  stage: Stage,
  { rounds, url, boundMs }: { rounds: number; url: string; boundMs: number },
): Promise<{ made: number; left: number }> {
  const owner = await stage.account();
  let [made, left] = [0, 0];
  for (let round = 0; round < rounds; round++) {
    const { api_key: apiKey, key } = await stage.call<{ api_key: { id: string }; key: string }>(
      "POST",
      "/v1/api-keys",
      owner.accessToken,
      { name: "racer" },
    );
    const creation = {
      method: "POST",
      path: "/v1/webhooks",
      headers: { authorization: `Bearer ${key}` },
      body: JSON.stringify({ url }),
    };
    // The first one makes the gateway know the key, so that the others come by at once.
    await send(stage.baseUrl, creation);
    const revocation = delay(Math.random() * 20).then(() => stage.call("DELETE", `/v1/api-keys/${apiKey.id}`, owner.accessToken));
    await Promise.all([...Array.from({ length: atOnce }, () => send(stage.baseUrl, creation)), revocation]);
    left += await stillEnabled(stage, owner.userId, boundMs);
    const { rowCount } = await stage.database.query("delete from conversation.webhooks where user_id = $1", [owner.userId]);
    made += rowCount ?? 0;
  }
  return { made, left };
}

/** How many of a user's webhooks are enabled; asked again until none is, or the time is over. */
async function stillEnabled(stage: Stage, userId: string, boundMs: number): Promise<number> {
  const until = performance.now() + boundMs;
  for (;;) {
    const { rows } = await stage.database.query<{ count: number }>(
      "select count(*)::integer as count from conversation.webhooks where user_id = $1 and enabled",
      [userId],
    );
    const [{ count } = { count: 0 }] = rows;
    if (count === 0 || performance.now() > until) return count;
    await delay(25);
  }
}
