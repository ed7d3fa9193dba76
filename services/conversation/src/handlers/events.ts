import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { TokenType } from "@turnwright/contract/auth/v1/identity";
import { type EventService, StreamEventsResponseSchema } from "@turnwright/contract/conversation/v1/event_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import type { Counts, UserEvent } from "../store/user-events.ts";
import type { EventFeed } from "../user-events/event-feed.ts";

function countsEvent(counts: Counts, atUs: number, reset: boolean) {
  return create(StreamEventsResponseSchema, { type: "counts", eventId: String(atUs), counts, reset });
}

function subjectOf({ type, subject, status, runId, conversationId, callId, toolName }: UserEvent) {
  const change: MessageInitShape<typeof StreamEventsResponseSchema> = { status, runId, conversationId };
  if (type === "key.revoked") return { apiKeyId: subject };
  if (type === "session.ended") return { sessionId: subject };
  return type === "run.changed" ? change : { ...change, approvalId: subject, callId, toolName };
}

function changeEvent(event: UserEvent) {
  return create(StreamEventsResponseSchema, { type: event.type, eventId: String(event.atUs), ...subjectOf(event) });
}

/** A position given by a client: microseconds. Throws INVALID_REQUEST. */
function positionOf(after: string): number | undefined {
  if (after === "") return undefined;
  const position = Number(after);
  if (/^\d+$/.test(after) && Number.isSafeInteger(position)) return position;
  throw fail(ErrorReason.INVALID_REQUEST, "after: is no event_id", { param: "after" });
}

/** Handlers of EventService: what changes for a user. */
export function eventHandlers(feed: EventFeed): ServiceImpl<typeof EventService> {
  return {
    async *streamEvents({ after }, ctx) {
      const { userId, tokenType } = requireIdentity(ctx);
      const afterUs = positionOf(after);
      const opened = await feed.join({ userId, isLogin: tokenType === TokenType.ACCESS, afterUs });
      const { stream } = opened;
      const end = () => stream.queue.close();
      ctx.signal.addEventListener("abort", end, { once: true });
      if (ctx.signal.aborted) end();
      try {
        yield countsEvent(opened.counts, opened.atUs, opened.isReset);
        for (const event of opened.missed) yield changeEvent(event);
        for (let told = await stream.queue.next(); told !== undefined; told = await stream.queue.next()) {
          yield told.kind === "counts" ? countsEvent(told.counts, told.atUs, told.isReset) : changeEvent(told.event);
        }
      } finally {
        ctx.signal.removeEventListener("abort", end);
        feed.leave(stream);
      }
      if (feed.isClosing) throw fail(ErrorReason.UNAVAILABLE, "This server is shutting down; go on from the last event_id.");
    },
  };
}

/** Handlers that tell of each call that may have changed something, after it. */
export function telling<H extends object>(handlers: H, names: readonly (keyof H)[], feed: Pick<EventFeed, "changed">): H {
  const told = { ...handlers };
  for (const name of names) {
    const handler = handlers[name];
    if (typeof handler !== "function") continue;
    told[name] = (async (...args: unknown[]) => {
      try {
        return await handler.apply(told, args);
      } finally {
        feed.changed();
      }
    }) as never;
  }
  return told;
}
