import { chunkLike, deltaChunk, type Quirks } from "./quirk.ts";
import { type Answer, choicesOf, type Reply } from "./reply.ts";

const upstream = { message: "Rate limit exceeded upstream", code: 429 };

/** Ends a stream with an event in place of its last part, after half of its text; a completion is replaced. */
function failWith(reply: Reply, events: (Answer | string)[], whole: Reply["whole"], isTextSent = true): void {
  const half = isTextSent ? Math.ceil(reply.events.length / 2) : 0;
  reply.events = [...reply.events.slice(0, half), ...events];
  reply.whole = whole;
}

/** Habits in the form of a stream or a body. */
export const streamQuirks: Quirks = {
  "done-open": {
    about: "the connection of a stream stays open after `[DONE]`",
    alter: (reply) => {
      reply.isLeftOpen = reply.isStreamed;
    },
  },
  "no-done": {
    about: "a stream ends without `[DONE]`",
    alter: (reply) => {
      reply.isDoneSent = false;
    },
  },
  "after-done": {
    about: "a chunk comes after `[DONE]`",
    alter: (reply) => {
      reply.isDoneSent = false;
      reply.events.push("data: [DONE]\n\n", deltaChunk(reply, { content: " too late" }));
    },
  },
  bom: {
    about: "a byte order mark comes first",
    alter: (reply) => {
      reply.prefix = `\ufeff${reply.prefix}`;
    },
  },
  crlf: {
    about: "CR LF ends lines",
    alter: (reply) => {
      reply.frame = (event) => `data: ${event}\r\n\r\n`;
    },
  },
  cr: {
    about: "CR ends lines",
    alter: (reply) => {
      reply.frame = (event) => `data: ${event}\r\r`;
    },
  },
  "no-space": {
    about: "no space after `data:`",
    alter: (reply) => {
      reply.frame = (event) => `data:${event}\n\n`;
    },
  },
  "event-names": {
    about: "events have names and ids",
    alter: (reply) => {
      reply.frame = (event) => `event: message\nid: 1\ndata: ${event}\n\n`;
    },
  },
  "data-lines": {
    about: "an event is spread over several `data:` lines",
    alter: (reply) => {
      reply.frame = (event) => `data: ${event.replaceAll(',"', ',\ndata: "')}\n\n`;
    },
  },
  comments: {
    about: "comments between events (`: PROCESSING`)",
    alter: (reply) => {
      reply.events = reply.events.flatMap((event) => [": PROCESSING\n\n", event]);
    },
  },
  pings: {
    about: "`data: ping`, `data: null` and `data: []` between events",
    alter: (reply) => void reply.events.splice(1, 0, "data: ping\n\n", "data: null\n\n", "data: []\n\n"),
  },
  "choices-null": {
    about: "a chunk has `choices: null`, another has none",
    alter: (reply) => void reply.events.splice(1, 0, chunkLike(reply, null), 'data: {"id":"x"}\n\n'),
  },
  "delta-null": {
    about: "chunks without text have `delta: null`",
    alter: (reply) => {
      for (const choice of choicesOf(reply))
        if (choice.delta != null && Object.keys(choice.delta).length === 0) choice.delta = null;
    },
  },
  "filter-chunk": {
    about: "the first chunk has no choices but `prompt_filter_results` (Azure)",
    alter: (reply) => void reply.events.unshift({ ...chunkLike(reply, []), prompt_filter_results: [{ prompt_index: 0 }] }),
  },
  "other-form": {
    about: "a completion for a stream, a stream for a completion",
    alter: (reply) => {
      reply.isStreamed = !reply.isStreamed;
      reply.headers["content-type"] = reply.isStreamed ? "text/event-stream" : "application/json";
    },
  },
  "type-upper": {
    about: "the content type is written in capitals",
    alter: (reply) => {
      reply.headers["content-type"] = reply.headers["content-type"]?.toUpperCase() ?? "";
    },
  },
  "type-text": {
    about: "the content type is text/plain",
    alter: (reply) => {
      reply.headers["content-type"] = "text/plain; charset=utf-8";
    },
  },
  "type-html": {
    about: "the content type is text/html",
    alter: (reply) => {
      reply.headers["content-type"] = "text/html";
    },
  },
  "type-none": { about: "there is no content type", alter: (reply) => void delete reply.headers["content-type"] },
  gzip: {
    about: "the body is compressed with gzip",
    alter: (reply) => {
      reply.encoding = "gzip";
    },
  },
  br: {
    about: "the body is compressed with brotli",
    alter: (reply) => {
      reply.encoding = "br";
    },
  },
  deflate: {
    about: "the body is compressed with deflate",
    alter: (reply) => {
      reply.encoding = "deflate";
    },
  },
  "json-done": {
    about: "`data: [DONE]` follows a completion",
    alter: (reply) => {
      if (!reply.isStreamed) reply.whole = `${JSON.stringify(reply.whole)}\n\ndata: [DONE]\n\n`;
    },
  },
  "error-in-200": {
    about: "status 200 with `{error: {message, code}}` as the whole body (OpenRouter)",
    alter: (reply) => {
      failWith(reply, [], { error: upstream, user_id: "u" }, false);
      reply.isStreamed = false;
      reply.headers["content-type"] = "application/json";
    },
  },
  "error-in-stream": {
    about: "a chunk with `error` after half of the text",
    alter: (reply) =>
      failWith(reply, [`data: ${JSON.stringify({ error: upstream, choices: [] })}\n\n`], { error: upstream, choices: null }),
  },
  "error-in-choice": {
    about: "an error inside of the choice, with finish_reason error, after half of the text",
    alter: (reply) => {
      const choice = { index: 0, finish_reason: "error", native_finish_reason: "error", error: upstream };
      failWith(reply, [chunkLike(reply, [{ ...choice, delta: { content: "" } }])], {
        ...chunkLike(reply, []),
        choices: [{ ...choice, message: { role: "assistant", content: "" } }],
      });
    },
  },
  "error-event": {
    about: "`event: error` after half of the text",
    alter: (reply) => {
      failWith(reply, ['event: error\ndata: {"code":"503","message":"overloaded"}\n\n'], { code: "503", message: "overloaded" });
      reply.isDoneSent = false;
    },
  },
  "finish-error": {
    about: "finish_reason is error and no error is told, after half of the text",
    alter: (reply) =>
      failWith(reply, [deltaChunk(reply, { content: "" }, "error")], {
        ...chunkLike(reply, []),
        choices: [{ index: 0, message: { role: "assistant", content: "" }, finish_reason: "error" }],
      }),
  },
  "null-answer": {
    about: "`{choices: null, id: null}` as the whole body",
    alter: (reply) => {
      reply.whole = { choices: null, id: null };
      reply.isStreamed = false;
      reply.headers["content-type"] = "application/json";
    },
  },
};
