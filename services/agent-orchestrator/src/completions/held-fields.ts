import { isSteering, placeOf, refuse } from "./steering-fields.ts";

/** A value that is neither an object nor a list. */
const plain = Symbol("plain");
/** Anything: a JSON Schema, whose names the client chooses. */
const schema = Symbol("schema");
/** An object of the client's own names, with texts or numbers as values. */
const labels = Symbol("labels");

interface Fields {
  readonly [field: string]: Shape;
}
/** A list of this shape, or a single value that is not a list. */
interface List {
  readonly each: Shape;
}
type Shape = typeof plain | typeof schema | typeof labels | List | { readonly fields: Fields };

const list = (each: Shape): List => ({ each });
const object = (fields: Fields): Shape => ({ fields });
const plainFields = (...names: string[]): Fields => Object.fromEntries(names.map((name) => [name, plain]));

const named = object(plainFields("name"));
const callFields = object(plainFields("name", "arguments"));
const cacheBreakpoint = object(plainFields("mode", "ttl"));

const freeParts: Fields = {
  ...plainFields("type", "text", "refusal"),
  image_url: object(plainFields("url", "detail")),
  input_audio: object(plainFields("data", "format")),
  prompt_cache_breakpoint: cacheBreakpoint,
};
const allParts: Fields = { ...freeParts, file: object(plainFields("file_data", "file_id", "filename")) };

/** A message. It may have fields of answers beyond OpenAI's reference, because some endpoints want them sent back. */
const messageOf = (parts: Fields): Shape =>
  object({
    ...plainFields("role", "name", "refusal", "tool_call_id", "reasoning_content", "reasoning"),
    content: list(object(parts)),
    audio: object(plainFields("id")),
    function_call: callFields,
    tool_calls: list(
      object({
        ...plainFields("id", "type", "index"),
        function: callFields,
        custom: object(plainFields("name", "input")),
        extra_content: object({ google: object(plainFields("thought_signature")) }),
      }),
    ),
    reasoning_details: list(object(plainFields("type", "text", "summary", "data", "signature", "id", "format", "index"))),
    annotations: list(
      object({ type: plain, url_citation: object(plainFields("start_index", "end_index", "title", "url", "content")) }),
    ),
  });

const functionFields: Fields = { ...plainFields("name", "description", "strict"), parameters: schema };
const chosenTool: Fields = { type: plain, function: named, custom: named };

/**
 * The fields of OpenAI's chat completion request, as its reference lists them (openai 7.57.0), without `moderation`,
 * which names another model; and `server_tools`, which stays here.
 */
const requestOf = (parts: Fields): Fields => ({
  ...plainFields(
    "model",
    "frequency_penalty",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "safety_identifier",
    "seed",
    "server_tools",
    "service_tier",
    "store",
    "stream",
    "temperature",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
  ),
  messages: list(messageOf(parts)),
  audio: object({ voice: object(plainFields("id")), format: plain }),
  function_call: named,
  functions: list(object(functionFields)),
  logit_bias: labels,
  metadata: labels,
  modalities: list(plain),
  prediction: object({ type: plain, content: list(object(plainFields("type", "text"))) }),
  prompt_cache_options: object(plainFields("mode", "ttl")),
  response_format: object({
    type: plain,
    json_schema: object({ ...plainFields("name", "description", "strict"), schema }),
  }),
  stop: list(plain),
  stream_options: object(plainFields("include_usage", "include_obfuscation")),
  tool_choice: object({
    ...chosenTool,
    allowed_tools: object({ mode: plain, tools: list(object(chosenTool)) }),
  }),
  tools: list(
    object({
      type: plain,
      function: object(functionFields),
      custom: object({
        ...plainFields("name", "description"),
        format: object({ type: plain, grammar: object(plainFields("definition", "syntax")) }),
      }),
    }),
  ),
  web_search_options: object({
    search_context_size: plain,
    user_location: object({ type: plain, approximate: object(plainFields("city", "country", "region", "timezone")) }),
  }),
});

const forModels = requestOf(allParts);
/** Without fields that cost more than the price of their tokens: searches, and files of unknown length. */
const { web_search_options: _, ...forMoney } = requestOf(freeParts);

/** The values allowed at a place, by the last names of the place. Credentials with limits may send no others. */
const values: Readonly<Record<"models" | "money", Readonly<Record<string, ReadonlySet<unknown>>>>> = {
  models: { "tools[].type": new Set(["function", "custom"]) },
  money: {
    "tools[].type": new Set(["function", "custom"]),
    "messages[].content[].type": new Set(["text", "refusal", "image_url", "input_audio"]),
    service_tier: new Set(["auto", "default", "flex", null]),
  },
};

/** URL schemes of images; with other schemes some endpoints open files of their own machine. */
const pictureUrl = /^(?:https?:\/\/|data:)/i;

interface Check {
  readonly bounds: "models" | "money";
  readonly allowed: ReadonlySet<string>;
}

/**
 * Limits the request of a credential that has limits on models or money to OpenAI's documented fields, at every depth,
 * and to values that cost no more than the price says. Throws INVALID_REQUEST with the first other field, unless the
 * operator allows its name.
 */
export function checkHeldFields(json: unknown, bounds: Check["bounds"], allowed: ReadonlySet<string>): void {
  check(json, object(bounds === "money" ? forMoney : forModels), { place: "", kind: "" }, { bounds, allowed });
}

interface Place {
  readonly place: string;
  /** The place without item numbers. */
  readonly kind: string;
}

function check(value: unknown, shape: Shape, at: Place, how: Check): void {
  if (typeof value !== "object" || value === null) {
    // Some endpoints parse a text as the JSON of an object.
    if (shape === labels && value !== null) refuse(at.place, "must be an object");
    checkValue(value, at, how);
    return;
  }
  if (shape === schema) return;
  if (Array.isArray(value)) {
    if (typeof shape === "symbol" || !("each" in shape)) refuse(at.place, "is not a list in OpenAI's requests");
    for (const [i, item] of value.entries()) {
      check(item, shape.each, { place: placeOf(at.place, i), kind: `${at.kind}[]` }, how);
    }
    return;
  }
  if (shape === labels) checkLabels(value, at);
  else if (shape === plain || "each" in shape) refuse(at.place, "is not an object in OpenAI's requests");
  else checkFields(value, shape.fields, at, how);
}

function checkFields(value: object, fields: Fields, at: Place, how: Check): void {
  for (const [name, inner] of Object.entries(value)) {
    if (how.allowed.has(name)) continue;
    const place = placeOf(at.place, name);
    const shape = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (shape === undefined)
      refuse(place, "is not a field that this token may send, because its models or its spend ceiling are limited");
    check(inner, shape, { place, kind: at.kind === "" ? name : `${at.kind}.${name}` }, how);
  }
}

function checkLabels(value: object, at: Place): void {
  for (const [name, label] of Object.entries(value)) {
    if (typeof label === "object" && label !== null) refuse(placeOf(at.place, name), "must be a text or a number");
    if (isSteering(name)) refuse(placeOf(at.place, name), "is not a label that this token may send");
  }
}

function checkValue(value: unknown, { place, kind }: Place, { bounds }: Check): void {
  const possible = values[bounds][kind];
  if (possible !== undefined && !possible.has(value)) {
    refuse(place, `must be one of ${[...possible].filter((one) => one !== null).join(", ")} for this token`);
  }
  if (kind.endsWith(".image_url.url") && typeof value === "string" && !pictureUrl.test(value)) {
    refuse(place, "must be an https:, http: or data: URL");
  }
}
