import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { countStream, failedStreams, noStreams, type StreamCounts } from "./counted-stream.ts";
import { type Client, createClient } from "./load-client.ts";

const [conversationId, runId] = ["conversation-1", "run-1"];
const started = { type: "started", conversation_id: conversationId, run_id: runId, event_id: "0" };
const word = (index: number) => ({ type: "content", delta: index === 0 ? "word0" : ` word${index}`, event_id: `0.${index + 1}` });
const chunk = (index: number) => ({ type: "chunk", choices: [{ delta: { content: word(index).delta } }] });
const finish = { type: "finish", delta: "stop", event_id: "1" };
const errorEvent = (code: string) => ({ error: { message: "An error.", code } });

/** One response: its status, its events, and how it ends. */
interface Script {
  readonly status?: number;
  readonly events?: readonly object[];
  readonly end: "done" | "plain" | "reset" | "silent" | "pings";
}

let client: Client | undefined;
let close: (() => void) | undefined;
afterEach(async () => {
  await client?.close();
  close?.();
});

/** Sends a script; events are written whole, then the connection ends as the script says. */
function play(response: ServerResponse, { status = 200, events = [], end }: Script): void {
  response.writeHead(status, { "content-type": "text/event-stream" });
  response.flushHeaders();
  response.write(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(""));
  if (end === "done") response.end("data: [DONE]\n\n");
  else if (end === "plain") response.end();
  // The half of an event is none.
  else if (end === "reset") response.write('data: {"type":"con', () => response.destroy());
  else if (end === "pings") {
    const timer = setInterval(() => response.write(": ping\n\n"), 20);
    response.once("close", () => clearInterval(timer));
  }
}

/** Counts one stream from a server that answers by scripts. */
async function counted(options: {
  stored?: boolean;
  first: Script;
  /** Responses to attempts to resume, by position; the last one repeats. */
  rest?: (lastEventId: string) => Script;
  /** The conversation's messages. */
  answer?: string;
}): Promise<{ counts: StreamCounts; sum: number }> {
  const { stored = true, first, rest, answer } = options;
  const server = createServer((request: IncomingMessage, response) => {
    if (request.method === "POST") play(response, first);
    else if (request.url === `/v1/runs/${runId}/events` && rest !== undefined) {
      play(response, rest(String(request.headers["last-event-id"])));
    } else if (request.url === `/v1/conversations/${conversationId}` && answer !== undefined) {
      response.end(JSON.stringify({ data: { messages: [{ role: "assistant", content: answer }] } }));
    } else response.writeHead(404).end("{}");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  close = () => {
    server.closeAllConnections();
    server.close();
  };
  client = createClient([`http://127.0.0.1:${(server.address() as AddressInfo).port}`]);
  const counts = noStreams();
  await countStream(client, "token", counts, { stored, length: 3 }, { silenceMs: 150, answerMs: 300 });
  return { counts, sum: counts.ended + failedStreams(counts) };
}

const whole = [started, word(0), word(1), word(2), finish];

test.each([
  ["a stored turn with its whole answer", { first: { events: whole, end: "done" } }],
  ["a completion with its whole answer", { stored: false, first: { events: [0, 1, 2].map(chunk), end: "done" } }],
  [
    "a stored turn whose text was taken back and came again",
    {
      first: {
        events: [started, word(0), { type: "reset", since: "0", event_id: "1" }, ...whole.slice(1)],
        end: "done",
      },
    },
  ],
] as const)("%s has ended", async (_name, script) => {
  const { counts, sum } = await counted(script);
  expect(counts).toMatchObject({ ended: 1 });
  expect(sum).toBe(1);
});

test.each([
  ["with a status", { status: 503, end: "plain" }, "503"],
  ["by a reset before its first event", { end: "reset" }, "stream refused"],
  ["by an end before its first event", { end: "plain" }, "no final event"],
  ["by an error as its first event", { events: [errorEvent("UNAVAILABLE")], end: "plain" }, "UNAVAILABLE"],
  ["by silence before its first event", { end: "silent" }, "no event for 150 ms"],
  ["by comments alone before its first event", { end: "pings" }, "no event for 150 ms"],
] as const)("a stream that is refused %s is a failed call and not lost", async (_name, first, why) => {
  for (const stored of [true, false]) {
    const { counts, sum } = await counted({ stored, first });
    expect(counts).toMatchObject({ broken: [], refused: [expect.stringContaining(why)] });
    expect(sum).toBe(1);
    await client?.close();
    close?.();
  }
});

test("a stream without a gateway that accepts it is a failed call and not lost", async () => {
  client = createClient(["http://127.0.0.1:9"]);
  const counts = noStreams();
  await countStream(client, "token", counts, { stored: true, length: 3 });
  expect(counts).toMatchObject({ broken: [], refused: [expect.stringContaining("127.0.0.1:9")] });
});

test.each([["reset"], ["plain"], ["silent"], ["pings"]] as const)(
  "a stored turn that breaks after an event (%s) is resumed after the last event, and not lost",
  async (end) => {
    const positions: string[] = [];
    const { counts, sum } = await counted({
      first: { events: [started, word(0)], end },
      rest: (lastEventId) => {
        positions.push(lastEventId);
        // The first attempt breaks too, and is resumed where it broke.
        return positions.length === 1 ? { events: [word(1)], end: "reset" } : { events: [word(2), finish], end: "done" };
      },
    });
    expect(positions).toEqual(["0.1", "0.2"]);
    expect(counts).toMatchObject({ broken: [], refused: [], resumed: [expect.any(String)] });
    expect(sum).toBe(1);
  },
);

test.each([
  ["cannot be resumed", { first: { events: [started], end: "reset" } }],
  [
    "resumes without its text",
    { first: { events: [started, word(0)], end: "reset" }, rest: () => ({ events: [word(2), finish], end: "done" }) },
  ],
  ["ends as it should, but without its whole answer", { first: { events: [started, word(0), finish], end: "done" } }],
  ["is a completion that breaks", { stored: false, first: { events: [chunk(0)], end: "reset" } }],
  ["is a completion that falls silent", { stored: false, first: { events: [chunk(0)], end: "silent" } }],
  ["ends with an error and has no answer", { first: { events: [started, errorEvent("RUN_HANDED_OVER")], end: "plain" } }],
  [
    "ends with an error and has another answer",
    { first: { events: [started, errorEvent("INTERNAL")], end: "plain" }, answer: "word0" },
  ],
] as const)("a stream that %s is lost", async (_name, script) => {
  const { counts, sum } = await counted(script as Parameters<typeof counted>[0]);
  expect(counts).toMatchObject({ ended: 0, refused: [], resumed: [], broken: [expect.any(String)] });
  expect(sum).toBe(1);
});

test.each([
  ["handed over", { first: { events: [started, errorEvent("RUN_HANDED_OVER")], end: "plain" } }, { handedOver: 1 }],
  ["outlived by its run", { first: { events: [started, errorEvent("INTERNAL")], end: "plain" } }, { outlived: 1 }],
  ["cut", { stored: false, first: { events: [chunk(0), errorEvent("UNAVAILABLE")], end: "plain" } }, { cut: 1 }],
] as const)("a stream that ends with an error is %s", async (_name, script, count) => {
  const { counts, sum } = await counted({ ...script, answer: "word0 word1 word2" });
  expect(counts).toMatchObject({ ...count, broken: [], refused: [], resumed: [] });
  expect(sum).toBe(1);
});
