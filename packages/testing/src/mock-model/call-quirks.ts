import { callsIn, deltaChunk, fieldsOf, type Quirks, rewriteCalls } from "./quirk.ts";
import { choicesOf, type Fields } from "./reply.ts";

const halves = (text: string) => [text.slice(0, Math.ceil(text.length / 2)), text.slice(Math.ceil(text.length / 2))];
const parsed = (text: unknown): unknown => {
  try {
    return JSON.parse(String(text));
  } catch {
    return {};
  }
};

/** Habits in how calls are sent. */
export const callQuirks: Quirks = {
  "same-index": {
    about: "each call of a round comes whole with index 0 and an id of its own",
    alter: (reply) =>
      rewriteCalls(reply, ({ id, name, arguments: args }) => [
        { index: 0, id, type: "function", function: { name, arguments: args } },
      ]),
  },
  "no-index": {
    about: "fragments of a call have no index; the id is on each",
    alter: (reply) =>
      rewriteCalls(reply, ({ id, name, arguments: args }) => [
        { id, type: "function", function: { name, arguments: "" } },
        ...halves(args).map((part) => ({ id, type: "function", function: { arguments: part } })),
      ]),
  },
  "no-index-no-id": {
    about: "a whole call has neither index nor id",
    alter: (reply) =>
      rewriteCalls(
        reply,
        ({ name, arguments: args }) => [{ function: { name, arguments: args } }],
        (call) => ({ function: call.function }),
      ),
  },
  "id-null": {
    about: "the id of a call is null",
    alter: (reply) => {
      for (const call of fieldsOf(reply).flatMap(callsIn)) if ("id" in call) call.id = null;
    },
  },
  "id-number": {
    about: "the id of a call is a number",
    alter: (reply) => {
      for (const call of fieldsOf(reply).flatMap(callsIn)) if ("id" in call) call.id = Number(call.index ?? 0) + 1;
    },
  },
  "same-id": {
    about: "all calls of a round have one id",
    alter: (reply) => {
      for (const call of fieldsOf(reply).flatMap(callsIn)) if ("id" in call) call.id = "call_0";
    },
  },
  "no-type": {
    about: "calls have no type",
    alter: (reply) => {
      for (const call of fieldsOf(reply).flatMap(callsIn)) delete call.type;
    },
  },
  "name-each-delta": {
    about: "id and name come whole with each fragment of a call",
    alter: (reply) =>
      rewriteCalls(reply, ({ id, name, arguments: args }, index) =>
        ["", ...halves(args)].map((part) => ({ index, id, type: "function", function: { name, arguments: part } })),
      ),
  },
  "name-split": {
    about: "the name of a tool comes in two fragments",
    alter: (reply) =>
      rewriteCalls(reply, ({ id, name, arguments: args }, index) => {
        const [first, rest] = halves(name);
        return [
          { index, id, type: "function", function: { name: first, arguments: "" } },
          { index, function: { name: rest, arguments: "" } },
          { index, function: { arguments: args } },
        ];
      }),
  },
  "arguments-object": {
    about: "the arguments are a JSON object instead of text",
    alter: (reply) => {
      const asObject = (call: Fields): Fields => {
        const given = call.function as Fields;
        return { ...call, function: { ...given, arguments: parsed(given.arguments) } };
      };
      rewriteCalls(
        reply,
        ({ id, name, arguments: args }, index) => [
          asObject({ index, id, type: "function", function: { name, arguments: args } }),
        ],
        asObject,
      );
    },
  },
  "arguments-null": {
    about: "the arguments are null",
    alter: (reply) =>
      rewriteCalls(
        reply,
        ({ id, name }, index) => [{ index, id, type: "function", function: { name, arguments: null } }],
        (call) => ({ ...call, function: { ...(call.function as Fields), arguments: null } }),
      ),
  },
  "empty-name": {
    about: "a call has an empty name",
    alter: (reply) => {
      for (const call of fieldsOf(reply).flatMap(callsIn)) {
        const given = call.function as Fields | undefined;
        if (given !== undefined && "name" in given) given.name = "";
      }
    },
  },
  "long-name": {
    about: "a call has a name of 300 characters",
    alter: (reply) => {
      for (const call of fieldsOf(reply).flatMap(callsIn)) {
        const given = call.function as Fields | undefined;
        if (given !== undefined && "name" in given) given.name = "x".repeat(300);
      }
    },
  },
  "nul-name": {
    about: "a call's name has NUL and half a surrogate pair in it",
    alter: (reply) => {
      for (const call of fieldsOf(reply).flatMap(callsIn)) {
        const given = call.function as Fields | undefined;
        if (given !== undefined && "name" in given) given.name = "calc\0ulator\ud800";
      }
    },
  },
  "null-call": {
    about: "a list of calls has null in it",
    alter: (reply) => {
      reply.events.splice(1, 0, deltaChunk(reply, { tool_calls: [null] }));
      for (const { message } of choicesOf(reply)) if (message != null) message.tool_calls = [null, ...callsIn(message)];
    },
  },
  "calls-null": {
    about: "`tool_calls`, `function_call` and `refusal` are null in each delta and message",
    alter: (reply) => {
      for (const fields of fieldsOf(reply))
        Object.assign(fields, { tool_calls: fields.tool_calls ?? null, function_call: null, refusal: null });
    },
  },
  "calls-in-message": {
    about: "the calls of a stream come whole in a `message` in place of a delta",
    alter: (reply) => {
      const tool_calls = reply.draft.calls.map(({ id, name, arguments: args }) => ({
        id,
        type: "function",
        function: { name, arguments: args },
      }));
      if (tool_calls.length === 0) return;
      const { events } = reply;
      const message = { role: "assistant", content: null, tool_calls };
      const first = events.find((event) => typeof event === "object");
      reply.events = [
        { ...first, choices: [{ index: 0, message, finish_reason: "tool_calls" }] },
        ...events.filter((event) => typeof event === "object" && event.choices?.length === 0),
      ];
    },
  },
  "stop-with-calls": {
    about: 'an answer with calls ends with finish_reason "stop"',
    alter: (reply) => {
      for (const choice of choicesOf(reply)) if (choice.finish_reason === "tool_calls") choice.finish_reason = "stop";
    },
  },
  "length-with-calls": {
    about: 'an answer with calls ends with finish_reason "length"',
    alter: (reply) => {
      for (const choice of choicesOf(reply)) if (choice.finish_reason === "tool_calls") choice.finish_reason = "length";
    },
  },
  "many-calls": {
    about: "an answer has 300 calls",
    alter: (reply) => {
      const [call] = reply.draft.calls;
      if (call === undefined) return;
      const calls = Array.from({ length: 300 }, (_, index) => ({
        index,
        id: `call_${index}`,
        type: "function",
        function: { name: call.name, arguments: call.arguments },
      }));
      rewriteCalls(reply, (_call, index) => (index === 0 ? calls : []));
      for (const { message } of choicesOf(reply)) if (message != null) message.tool_calls = calls;
    },
  },
};
