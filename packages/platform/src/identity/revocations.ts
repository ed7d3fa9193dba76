import type { Client } from "@connectrpc/connect";
import type { Revocation, TokenService } from "@turnwright/contract/auth/v1/token_service";
import type { Logger } from "../logger.ts";
import type { Bus } from "../ports/bus.ts";

const topic = "auth.revoked";
const pollMs = 500;
/** How far back each poll looks, in seconds: longer than the longest pause that does not count as a gap. */
const lookBackSeconds = 30;
const gapMs = 20_000;

/** Broadcasts that a credential ended; `tokenId` is the identity's `token_id`. */
export async function publishRevocation(bus: Bus, tokenId: string): Promise<void> {
  await bus.publish(topic, JSON.stringify({ token_id: tokenId }));
}

/** Receives revocations. */
export interface RevocationListener {
  /**
   * Called with the `token_id` of a credential that ended or changed, and with what auth tells of it; a broadcast tells
   * only the id.
   */
  onRevoked(tokenId: string, told?: Revocation): void;
  /** Called when revocations may have been missed or auth's keys have changed: cached data may be stale. */
  onGap(): void;
}

/** Remembers broadcast revocations, so that the poll does not report them a second time. */
class Told {
  readonly #broadcast = new Map<string, { count: number; until: number }>();
  readonly #seen = new Map<bigint, number>();

  broadcast(tokenId: string): void {
    const count = (this.#broadcast.get(tokenId)?.count ?? 0) + 1;
    this.#broadcast.set(tokenId, { count, until: Date.now() + lookBackSeconds * 1000 });
  }

  /** Whether a polled revocation has not been reported yet. */
  isNews(id: bigint, tokenId: string): boolean {
    if (this.#seen.has(id)) return false;
    this.#seen.set(id, Date.now() + 2 * lookBackSeconds * 1000);
    const told = this.#broadcast.get(tokenId);
    if (told === undefined || told.count === 0) return true;
    told.count -= 1;
    return false;
  }

  prune(): void {
    const now = Date.now();
    for (const [id, until] of this.#seen) if (until < now) this.#seen.delete(id);
    for (const [tokenId, { until }] of this.#broadcast) if (until < now) this.#broadcast.delete(tokenId);
  }
}

/**
 * Starts to follow revocations: by broadcast where there is a bus, and by polling auth twice a second, because the
 * database is the authority and a broadcast can be lost. Nothing is reported while auth does not answer; if that lasts
 * too long to catch up, `onGap` is called. Resolves to the function that stops it.
 */
export async function watchRevocations(
  deps: { tokens: Client<typeof TokenService>; bus?: Bus; logger: Logger },
  listener: RevocationListener,
): Promise<() => Promise<void>> {
  const told = new Told();
  const ended = new AbortController();
  const unsubscribe = await deps.bus?.subscribe(
    topic,
    (payload) => {
      const { token_id: tokenId } = JSON.parse(payload) as { token_id?: unknown };
      if (typeof tokenId !== "string") return;
      told.broadcast(tokenId);
      listener.onRevoked(tokenId);
    },
    () => listener.onGap(),
  );

  let caughtUpAt = Date.now();
  let keyIds: string | undefined;
  const poll = async () => {
    const startedAt = Date.now();
    const answer = await deps.tokens.listRevocations({ seconds: lookBackSeconds }, { timeoutMs: 2_000, signal: ended.signal });
    if (startedAt - caughtUpAt > gapMs) listener.onGap();
    caughtUpAt = startedAt;
    for (const revocation of answer.revocations) {
      const { id, tokenId } = revocation;
      if (told.isNews(id, tokenId)) listener.onRevoked(tokenId, revocation);
    }
    const ids = answer.keyIds.join();
    const isAnother =
      keyIds !== undefined && answer.keyIds.length > 0 && !keyIds.split(",").every((id) => answer.keyIds.includes(id));
    keyIds = ids;
    if (isAnother) listener.onGap();
    told.prune();
  };

  let timer: NodeJS.Timeout;
  let isDown = false;
  const tick = () => {
    poll()
      .then(
        () => {
          isDown = false;
        },
        (error: unknown) => {
          if (!isDown && !ended.signal.aborted) deps.logger.warn({ err: error }, "revocations cannot be fetched from auth");
          isDown = true;
        },
      )
      .finally(() => {
        if (!ended.signal.aborted) timer = setTimeout(tick, pollMs).unref();
      });
  };
  timer = setTimeout(tick, pollMs).unref();

  return async () => {
    ended.abort();
    clearTimeout(timer);
    await unsubscribe?.();
  };
}
