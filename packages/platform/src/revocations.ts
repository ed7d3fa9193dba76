import type { Bus, Unsubscribe } from "./ports/bus.ts";

const topic = "auth.revoked";

/** Tells every gateway that a credential ended; `tokenId` is the identity's `token_id`. */
export async function publishRevocation(bus: Bus, tokenId: string): Promise<void> {
  await bus.publish(topic, JSON.stringify({ token_id: tokenId }));
}

/**
 * Calls `onRevoked` with the `token_id` of each credential that ends from now on, and `onGap` after a stretch in which messages may have
 * been lost.
 */
export function subscribeRevocations(bus: Bus, onRevoked: (tokenId: string) => void, onGap: () => void): Promise<Unsubscribe> {
  return bus.subscribe(
    topic,
    (payload) => {
      const { token_id } = JSON.parse(payload) as { token_id?: unknown };
      if (typeof token_id === "string") onRevoked(token_id);
    },
    onGap,
  );
}
