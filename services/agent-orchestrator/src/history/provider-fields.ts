type Fields = Readonly<Record<string, unknown>>;

/** Fields of an assistant's message that its endpoint wants back, as stored with it. */
export interface StoredFields {
  /** Name of the provider that gave them; no other gets them. */
  readonly provider: string;
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

/** The text to store for an answer's fields and the provider that gave them. */
export function storedFields(provider: string, fieldsJson: string): string {
  return JSON.stringify({ ...parsed(fieldsJson), provider });
}

/** Reads stored fields. Undefined for messages of earlier releases, and for text that is none of ours. */
export function readFields(json: string): StoredFields | undefined {
  const { provider, message, calls } = parsed(json);
  if (typeof provider !== "string") return undefined;
  return { provider, message: foreign(message) ?? {}, calls: Array.isArray(calls) ? calls.map(foreign) : [] };
}
