/** An error as an endpoint told it, in whichever form. */
export interface ToldError {
  /** Text for people, not yet cleaned; empty when there is none. */
  readonly words: string;
  /** The endpoint's own names of the error; empty when it has none, and for numbers. */
  readonly code: string;
  readonly type: string;
  /** The field that it blames. */
  readonly param: string;
  /** HTTP status inside the body. */
  readonly status?: number;
  /** Tokens of the model's window. */
  readonly window?: number;
  /** Seconds to wait. */
  readonly retryAfterSeconds?: number;
}

type Fields = Readonly<Record<string, unknown>>;

const none: ToldError = { words: "", code: "", type: "", param: "" };
/** Errors inside errors are followed so far. */
const maxDepth = 4;
const maxFaults = 5;
const maxEventChars = 65_536;
const nameForm = /^(?=.*[A-Za-z])[\w.:/-]{1,64}$/;
const paramForm = /^[\w.:[\]-]{1,128}$/;
/** Fields with words, the better ones first. */
const wordFields = ["message", "msg", "error_message", "error_msg", "status_msg", "description", "reason", "title"];
const windowFields = ["n_ctx", "context_length", "max_context_length", "max_model_len"];

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function nameOf(...values: unknown[]): string {
  return values.find((value): value is string => typeof value === "string" && nameForm.test(value)) ?? "";
}

function statusOf(...values: unknown[]): number | undefined {
  return values.map(Number).find((status) => Number.isInteger(status) && status >= 300 && status <= 599);
}

/** FastAPI's list of faults: `[{loc, msg, type}]`. */
function faultsOf(list: readonly unknown[]): ToldError {
  const faults = list.slice(0, maxFaults).filter(isFields);
  const place = ({ loc }: Fields) => {
    const names = Array.isArray(loc) ? loc.filter((part) => typeof part === "string" || typeof part === "number") : [];
    return (names[0] === "body" ? names.slice(1) : names).join(".");
  };
  const words = faults.map((fault) => [place(fault), fault.msg ?? fault.message].filter(Boolean).join(": "));
  const [first] = faults;
  if (first === undefined) return { ...none, words: list.filter((item) => typeof item === "string").join("; ") };
  const param = place(first);
  return { ...none, words: words.join("; "), code: nameOf(first.type, first.code), param: paramForm.test(param) ? param : "" };
}

/** Google's list of details holds the time to wait: `{"@type": "…RetryInfo", "retryDelay": "34s"}`. */
function retryDelay(details: unknown): number | undefined {
  if (!Array.isArray(details)) return undefined;
  for (const detail of details.slice(0, 20)) {
    const delay = isFields(detail) ? /^(\d{1,6}(?:\.\d{1,9})?)s$/.exec(String(detail.retryDelay)) : null;
    if (delay?.[1] !== undefined) return Number(delay[1]);
  }
  return undefined;
}

/** The error of an upstream endpoint, as OpenRouter passes it on in `metadata.raw`. */
function upstreamWords(metadata: unknown, depth: number): string {
  const raw = isFields(metadata) ? metadata.raw : undefined;
  if (typeof raw !== "string") return isFields(raw) ? readTold(raw, depth + 1).words : "";
  try {
    return readTold(JSON.parse(raw.slice(0, 16_384)), depth + 1).words || raw;
  } catch {
    return raw;
  }
}

function merged(outer: ToldError, inner: ToldError): ToldError {
  return {
    words: inner.words || outer.words,
    code: inner.code || outer.code,
    type: inner.type || outer.type,
    param: inner.param || outer.param,
    status: inner.status ?? outer.status,
    window: inner.window ?? outer.window,
    retryAfterSeconds: inner.retryAfterSeconds ?? outer.retryAfterSeconds,
  };
}

/** Seconds to wait: Google's details, or the time in which a model of Hugging Face is loaded. */
function delayOf({ details, estimated_time: loading }: Fields): number | undefined {
  const isTime = typeof loading === "number" && loading > 0 && loading < 86_400;
  return retryDelay(details) ?? (isTime ? loading : undefined);
}

function ownFields(fields: Fields, depth: number): ToldError {
  const text = wordFields.map((field) => fields[field]).find((value) => typeof value === "string" && value !== "");
  const upstream = upstreamWords(fields.metadata, depth);
  const words = [text, upstream].filter(Boolean).join(": ");
  const { code, param } = fields;
  const window = windowFields.map((field) => fields[field]).find((value) => Number.isSafeInteger(value) && Number(value) > 0);
  return {
    words,
    code: nameOf(code),
    type: nameOf(fields.type, fields.status, fields.__type),
    param: typeof param === "string" && paramForm.test(param) ? param : "",
    status: statusOf(code, fields.status, fields.status_code, fields.statusCode, fields.http_code),
    window: window as number | undefined,
    retryAfterSeconds: delayOf(fields),
  };
}

function errorInChoice(fields: Fields): unknown {
  if (!Array.isArray(fields.choices)) return undefined;
  return fields.choices.find((choice) => isFields(choice) && isFields(choice.error))?.error;
}

function readTold(value: unknown, depth: number): ToldError {
  if (typeof value === "string") return { ...none, words: value };
  if (depth > maxDepth) return none;
  if (Array.isArray(value)) {
    const held = value
      .slice(0, maxFaults)
      .find((item) => isFields(item) && (item.error !== undefined || item.message !== undefined));
    return held === undefined ? faultsOf(value) : readTold(held, depth + 1);
  }
  if (!isFields(value)) return none;
  const inside = [value.error, errorInChoice(value), value.errors, value.detail, value.message, value.base_resp];
  const inner = inside.find(
    (item) => (typeof item === "object" && item !== null) || (item === value.error && typeof item === "string"),
  );
  const outer = ownFields(value, depth);
  if (inner !== undefined) return merged(outer, readTold(inner, depth + 1));
  return typeof value.detail === "string" ? merged(outer, { ...none, words: value.detail }) : outer;
}

/**
 * Reads the error in an endpoint's JSON: OpenAI's `{error: {message, type, param, code}}`, Gemini's array of these,
 * vLLM's and Mistral's `{object: "error", message, …}`, Anthropic's `{type: "error", error}`, FastAPI's
 * `{detail: text | [{loc, msg}]}`, Ollama's `{error: text}`, OpenRouter's `metadata.raw`, an error inside a choice, or
 * text. Nothing is thrown, whatever the JSON is.
 */
export function toldError(json: unknown): ToldError {
  return readTold(json, 0);
}

/** A text in JSON that was cut off, so that it cannot be parsed. */
const cutMessage = /"(?:message|msg|detail|error)"\s*:\s*"((?:[^"\\]|\\.){1,4000})/;

/** JSON in an error's body; also inside a server-sent event. Undefined when there is none. */
function jsonIn(text: string): unknown {
  const data = /^(?:event:[^\n]*\n)?data:(.*)$/m.exec(text.slice(0, maxEventChars))?.[1];
  for (const candidate of [text, data]) {
    try {
      if (candidate !== undefined) return JSON.parse(candidate);
    } catch {
      // The next form is tried.
    }
  }
  return undefined;
}

/** Reads the error in a body: JSON in the forms of `toldError`, also as an event or cut off, or text. */
export function toldErrorIn(body: string): ToldError {
  const text = body.replace(/^\ufeff/, "").trim();
  const json = jsonIn(text);
  if (json !== undefined) return toldError(json);
  const cut = /^[[{]/.test(text) ? cutMessage.exec(text.slice(0, maxEventChars))?.[1] : undefined;
  return { ...none, words: cut === undefined ? text : cut.replace(/\\(?:u[0-9a-fA-F]{4}|.)/g, " ") };
}

/** Whether JSON in the place of an answer, or of a chunk of one, is an error. */
export function holdsError(json: unknown): boolean {
  if (Array.isArray(json)) return isFields(json[0]) && holdsError(json[0]);
  if (!isFields(json)) return false;
  const { error, choices } = json;
  if (error !== undefined && error !== null && error !== false && error !== "") return true;
  if (json.object === "error" || json.type === "error") return true;
  if (Array.isArray(choices)) return choices.some((choice) => isFields(choice) && isFields(choice.error));
  if (choices !== undefined && choices !== null) return false;
  if (json.detail !== undefined || Array.isArray(json.errors)) return true;
  return typeof json.message === "string" && (json.code !== undefined || json.status !== undefined || json.object === undefined);
}
