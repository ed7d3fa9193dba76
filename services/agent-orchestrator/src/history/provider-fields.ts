type Fields = Readonly<Record<string, unknown>>;

/** The side that gave fields. No other gets them back. */
export interface Giver {
  /** Name of the provider. */
  readonly provider: string;
  /** Family of the model: a provider may pass calls on to models of several makers. */
  readonly family: string;
}

/** The family of a model: the first word of its name, as `deepseek` of `deepseek/deepseek-r1`. */
export function familyOf(model: string): string {
  const name = model.toLowerCase().slice(model.lastIndexOf("/") + 1);
  return /^[a-z]+/.exec(name)?.[0] ?? name;
}

/** Fields of an assistant's message that its endpoint wants back, as stored with it. */
export interface StoredFields extends Giver {
  /** Fields of the message. */
  readonly message: Fields;
  /** Fields of its calls, by position. */
  readonly calls: readonly (Fields | undefined)[];
}

/** Fields that our own text fills; a provider's fields never replace them. */
const ownFields: ReadonlySet<string> = new Set([
  "role",
  "content",
  "tool_calls",
  "tool_call_id",
  "id",
  "type",
  "function",
  "__proto__",
]);

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function foreign(value: unknown): Fields | undefined {
  if (!isFields(value)) return undefined;
  const fields = Object.entries(value).filter(([name]) => !ownFields.has(name));
  return fields.length === 0 ? undefined : Object.fromEntries(fields);
}

function parsed(json: string): Fields {
  try {
    const value: unknown = json === "" ? undefined : JSON.parse(json);
    return isFields(value) ? value : {};
  } catch {
    return {};
  }
}

/** The text to store for an answer's fields and the side that gave them. */
export function storedFields({ provider, family }: Giver, fieldsJson: string): string {
  return JSON.stringify({ ...parsed(fieldsJson), provider, family });
}

/** Whether stored fields may be sent to a side. */
export function isFrom(stored: Giver | undefined, { provider, family }: Giver): stored is StoredFields {
  return stored?.provider === provider && stored.family === family;
}

/** Reads stored fields. Undefined for messages of earlier releases, and for text that is none of ours. */
export function readFields(json: string): StoredFields | undefined {
  const { provider, family, message, calls } = parsed(json);
  if (typeof provider !== "string" || typeof family !== "string") return undefined;
  return { provider, family, message: foreign(message) ?? {}, calls: Array.isArray(calls) ? calls.map(foreign) : [] };
}
