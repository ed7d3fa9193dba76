import fc from "fast-check";

export const head = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m" };
/** A chunk with one choice. */
export const chunk = (delta: object, finish: string | null = null, rest: object = {}) => ({
  ...head,
  choices: [{ index: 0, delta, finish_reason: finish }],
  ...rest,
});
export const frame = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;
export const opening = frame(chunk({ role: "assistant", content: "" }));
export const finished = frame(chunk({}, "stop"));

/** Text that looks like parts of a stream. */
const nasty = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom(
    '"content":"',
    '"delta":{',
    '\\"',
    "\\",
    "\\\\",
    '"finish_reason":"stop"',
    "\n\n",
    "\r\n\r\n",
    "data: [DONE]",
    "usage",
    "error",
    "tool_calls",
    "finish_reason",
    '"},{"',
    "日本語 🦜",
    "\u2028",
  ),
);

/** One event of a stream, in any form that endpoints use. */
const event = fc.oneof(
  { weight: 6, arbitrary: nasty.map((content) => chunk({ content })) },
  nasty.map((content) => chunk({ role: "assistant", content })),
  fc.constant(chunk({ role: "assistant", content: null })),
  nasty.map((content) => chunk({ content }, null, { usage: null })),
  nasty.map((content) => ({ ...head, choices: [{ finish_reason: null, delta: { content }, index: 0 }] })),
  nasty.map((content) => ({ ...head, choices: [{ index: 0, delta: { content } }] })),
  nasty.map((content) => ({
    ...head,
    choices: [
      {
        index: 0,
        delta: { content },
        logprobs: { content: [{ token: content, logprob: -1, bytes: null }] },
        finish_reason: null,
      },
    ],
  })),
  nasty.map((content) => chunk({ reasoning: { content: "thought" }, content })),
  nasty.map((name) => chunk({ tool_calls: [{ index: 0, id: "c", function: { name, arguments: name } }] })),
);

/** An event, and how it is written. */
const written = fc.record({
  value: event,
  space: fc.boolean(),
  crlf: fc.boolean(),
  wide: fc.boolean(),
  gap: fc.nat({ max: 2 }),
  before: fc.constantFrom("", ": ping", "event: message"),
});

/** A stream that begins, ends and is written in any form that endpoints use. */
export const stream = fc.array(written, { maxLength: 12 }).map((events) => {
  const frames = events.map(({ value, space, crlf, wide, gap, before }) => {
    const end = crlf ? "\r\n" : "\n";
    const json = wide ? JSON.stringify(value).replaceAll('":', '": ') : JSON.stringify(value);
    // Added spaces must not reach into strings.
    const text = wide && JSON.stringify(JSON.parse(json)) !== JSON.stringify(value) ? JSON.stringify(value) : json;
    const comment = before === ": ping" ? `: ping${end}${end}` : before === "" ? "" : `${before}${end}`;
    return `${comment}data:${space ? " " : ""}${text}${end}${end}${end.repeat(gap)}`;
  });
  return { events, text: `${opening}${frames.join("")}${finished}data: [DONE]\n\n` };
});
