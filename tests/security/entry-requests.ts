import { randomUUID } from "node:crypto";
import { getOption } from "@bufbuild/protobuf";
import { surface } from "@turnwright/contract/errors/v1/surface";
import { type Entry, idFieldsOf } from "./contract-routes.ts";
import { type Answer, type Ask, send } from "./requests.ts";

/** A request to which callers may add headers. */
export type EntryRequest = Ask & { readonly headers: Readonly<Record<string, string>> };

/**
 * A valid request of an entry, from the contract's example; fields that name a resource get the given ids, else the id
 * of no resource.
 */
export function requestOf(entry: Entry, ids: Readonly<Record<string, string>> = {}): EntryRequest {
  const values = Object.fromEntries(idFieldsOf(entry).map((field) => [field, ids[field] ?? randomUUID()]));
  const rest = Object.fromEntries(Object.entries(values).filter(([field]) => !entry.pathFields.includes(field)));
  const inPath = (field: string) => values[field] ?? String((entry.example as Record<string, unknown>)[field] ?? "");
  const path = entry.pathFields.reduce((text, field) => text.replace(`{${field}}`, inPath(field)), entry.template);
  if (entry.surface === "connect") return connectRequest(entry, path, values);
  const headers: Record<string, string> = entry.isStream ? { accept: "text/event-stream" } : {};
  if (entry.body === "") {
    const query = new URLSearchParams(rest).toString();
    return { method: entry.verb, path: query === "" ? path : `${path}?${query}`, headers };
  }
  const body = JSON.stringify(entry.body === "*" ? { ...entry.example, ...rest } : entry.example);
  return { method: entry.verb, path, headers, body };
}

function connectRequest(entry: Entry, path: string, ids: Readonly<Record<string, string>>): EntryRequest {
  const bodyField = bodyFieldOf(entry);
  // OpenAI bodies are forwarded as bytes.
  const fields = getOption(entry.method, surface).openai
    ? { body: Buffer.from(JSON.stringify(entry.example)).toString("base64") }
    : bodyField === undefined
      ? { ...entry.example, ...ids }
      : { [bodyField]: entry.example };
  const json = Buffer.from(JSON.stringify(fields));
  if (!entry.isStream) return { method: "POST", path, headers: { "connect-protocol-version": "1" }, body: json };
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(json.length, 1);
  return { method: "POST", path, headers: { "content-type": "application/connect+json" }, body: Buffer.concat([prefix, json]) };
}

/** The only field in the REST body, if the example has its form. */
function bodyFieldOf({ method, example }: Entry): string | undefined {
  const names = method.input.fields.map(({ name }) => name);
  const isWhole = !Array.isArray(example) && Object.keys(example).every((key) => names.includes(key));
  return isWhole ? undefined : names[0];
}

const statusOfCode: Readonly<Record<string, number>> = {
  unauthenticated: 401,
  permission_denied: 403,
  not_found: 404,
  unimplemented: 404,
  invalid_argument: 400,
  already_exists: 409,
  out_of_range: 400,
  failed_precondition: 409,
  aborted: 409,
  resource_exhausted: 429,
};

/** Sends a request to an entry. Connect codes are mapped to their REST statuses, also in the last frame of a stream. */
export async function ask(baseUrl: string, entry: Entry, request: Ask): Promise<Answer> {
  const answer = await send(baseUrl, request);
  if (entry.surface !== "connect") return answer;
  const isRefused = answer.status >= 400 || (entry.isStream && /\{"error":\{/.test(answer.body));
  const code = isRefused ? /"code":"([a-z_]+)"/.exec(answer.body)?.[1] : undefined;
  return code === undefined ? answer : { ...answer, status: statusOfCode[code] ?? 500 };
}
