/** A message of a request, as far as the mock model reads it. */
export interface AskedMessage {
  readonly role: string;
  readonly content?: unknown;
  readonly tool_calls?: readonly ({ readonly id?: unknown; readonly [field: string]: unknown } | null)[] | null;
  readonly tool_call_id?: unknown;
  readonly [field: string]: unknown;
}

/** The body of a request for a completion, as far as the mock model reads it. */
export interface AskedBody {
  readonly model: string;
  readonly messages: readonly AskedMessage[];
  readonly stream?: boolean | null;
  readonly stream_options?: { readonly include_usage?: boolean } | null;
  readonly tools?: readonly { readonly function?: { readonly name?: string; readonly parameters?: object } }[] | null;
  readonly tool_choice?: unknown;
  readonly response_format?: { readonly type?: string; readonly json_schema?: { readonly schema?: object } } | null;
  readonly [field: string]: unknown;
}

/** A request for a completion that the mock model has read. */
export interface AskedRequest {
  readonly body: AskedBody;
  /** The body as received. */
  readonly bytes: Buffer;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Milliseconds of a monotonic clock. */
  readonly at: number;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Reads a body; undefined when it is no JSON object with messages, each an object with a role. */
export function readAsked(bytes: Buffer): AskedBody | undefined {
  try {
    const body: unknown = JSON.parse(bytes.toString("utf8"));
    if (!isRecord(body) || !Array.isArray(body.messages)) return undefined;
    if (!body.messages.every((message) => isRecord(message) && typeof message.role === "string")) return undefined;
    return { ...body, model: typeof body.model === "string" ? body.model : "", messages: body.messages };
  } catch {
    return undefined;
  }
}
