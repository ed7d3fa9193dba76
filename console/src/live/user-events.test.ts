import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { resets } from "../api/connection.ts";
import { logIn, logOut, sessionStatus } from "../api/session.ts";
import { counts, onUserEvent, startUserEvents } from "./user-events.ts";

/** The streams that were asked for, with what the server says on each. */
let streams: { lastEventId: string | null; say: (event: object) => void; end: () => void }[];
const session = "0190a000-0000-7000-8000-00000000000a";
const token = `x.${btoa(JSON.stringify({ sid: session }))}.y`;
const data = (value: unknown) => new Response(JSON.stringify({ success: true, data: value }));

function openStream(headers: Headers): Response {
  const encoder = new TextEncoder();
  return new Response(
    new ReadableStream<Uint8Array>({
      start(controller) {
        streams.push({
          lastEventId: headers.get("last-event-id"),
          say: (event) => controller.enqueue(encoder.encode(`data: ${JSON.stringify(event)}\n\n`)),
          end: () => controller.close(),
        });
      },
    }),
  );
}

beforeEach(() => {
  streams = [];
  vi.stubGlobal("document", { hidden: false, addEventListener: () => {}, removeEventListener: () => {} });
  vi.stubGlobal("fetch", async (path: string, init: RequestInit) => {
    if (path === "/v1/events") return openStream(new Headers(init.headers));
    return data(
      path === "/console/session" && init.method === "POST" ? { access_token: token, expires_in: 900, user: { id: "u1" } } : {},
    );
  });
});
afterEach(async () => {
  await logOut();
  vi.unstubAllGlobals();
});

test("the user's events set the badges, reach the views, and end this session alone", async () => {
  const stopFollowing = startUserEvents();
  await logIn("anna@shop.test", "correct");
  await vi.waitFor(() => expect(streams).toHaveLength(1));
  const heard: string[] = [];
  const stop = onUserEvent(({ type, run_id: run }) => heard.push(`${type} ${run ?? ""}`.trim()));
  const before = resets.value;
  streams[0]?.say({ type: "counts", event_id: "7", counts: { pending: 3 } });
  streams[0]?.say({ type: "run.changed", event_id: "8", run_id: "r1", status: "waiting" });
  streams[0]?.say({ type: "session.ended", event_id: "9", session_id: "another" });
  await vi.waitFor(() => expect(heard).toEqual(["counts", "run.changed r1", "session.ended"]));
  expect(counts.value).toEqual({ pending: 3, needs_review: 0, running: 0 });
  expect([sessionStatus.value, resets.value]).toEqual(["in", before]);
  streams[0]?.say({ type: "counts", event_id: "10", counts: {}, reset: true });
  await vi.waitFor(() => expect(resets.value).toBe(before + 1));
  streams[0]?.say({ type: "session.ended", event_id: "11", session_id: session });
  await vi.waitFor(() => expect(sessionStatus.value).toBe("ended"));
  expect(counts.value).toBe(undefined);
  stop();
  stopFollowing();
});
