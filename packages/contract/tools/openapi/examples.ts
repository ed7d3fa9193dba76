import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { JsonSchema } from "./openapi-types.ts";

const uuid = "01985f3c-6a2e-7c41-9b7d-2f4e8a1c5d60";
const instant = "2026-01-15T09:30:00Z";
/** A position in a list as the servers encode it: microseconds and an id. */
const cursor = Buffer.from(`${Date.parse(instant)}000.${uuid}`).toString("base64url");

const byFormat: Readonly<Record<string, string>> = {
  uuid,
  "date-time": instant,
  email: "you@example.com",
  hostname: "example.com",
  ipv4: "192.0.2.1",
  ipv6: "2001:db8::1",
  uri: "https://example.com/",
  "uri-reference": "/path",
};

/** Example values by field name. Other strings use the field's name. */
const byName: Readonly<Record<string, JsonValue>> = {
  access_token: "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIwMTk4NWYzYyJ9.c2lnbmF0dXJl",
  after: "0.18",
  agent: "general",
  allowed_models: "*",
  allowed_tools: "calculator",
  arguments: '{"expression": "1337 * 42"}',
  call_id: "call_1",
  completion_tokens: 18,
  content: "1337 * 42 = 56154.",
  current_node: "response",
  cursor,
  description: "Continuous integration",
  disabled_reason: "",
  email: "you@example.com",
  end: "2026-01-31",
  error: "",
  events: "run.completed",
  expires_in: 900,
  has_more: false,
  index: 0,
  is_revoked: false,
  key: "sk-7f3a9c1e5b2d",
  key_id: "01985f3c",
  key_ids: "01985f3c",
  latency_ms: 640,
  limit: 20,
  message: "What is 1337 * 42?",
  message_count: 2,
  model: "gpt-4o-mini",
  next_cursor: cursor,
  password: "SecurePass123",
  prefix: "sk-7f3a",
  prompt_tokens: 24,
  rate_limit_per_day: 10_000,
  rate_limit_per_minute: 60,
  reason: "Looks safe",
  refresh_token: "rt-9c1e5b2d7f3a",
  response: "1337 * 42 = 56154.",
  retire_previous: false,
  revoke_created: false,
  start: "2026-01-01",
  tags: "arithmetic",
  title: "What is 1337 * 42?",
  tool_call_id: "call_1",
  tool_name: "calculator",
  tool_version: "1",
  tools: "calculator",
  url: "https://example.com/hooks/turnwright",
  total_cost: 0.0004,
  total_tokens: 42,
};

/** Example from a comment that lists values (`a`, `b` or `c`), fixes one (Always `x`) or mentions a UUID. */
function fromDescription(description: string): string | undefined {
  const listed = /^(?:\w+: )?(?:Always )?`([^`]+)`(?=[,;.]| or |$)/.exec(description)?.[1];
  if (listed !== undefined) return listed.replace("…", "01985f3c");
  return /\bUUID/.test(description) ? uuid : undefined;
}

function stringExample(schema: JsonSchema, name: string): string {
  const { minLength = 0, maxLength = Number.POSITIVE_INFINITY } = schema;
  const format = schema.format ?? schema.anyOf?.[0]?.format;
  if (format !== undefined && byFormat[format] !== undefined) return byFormat[format];
  if (schema.contentEncoding === "base64") return "aGVsbG8=";
  const known = byName[name];
  const text = fromDescription(schema.description ?? "") ?? (typeof known === "string" ? known : name || "text");
  return text.padEnd(minLength, text || "x").slice(0, maxLength);
}

function numberExample(schema: JsonSchema, name: string): number {
  const known = byName[name];
  if (/Unix time in seconds/.test(schema.description ?? "")) return Date.parse(instant) / 1000;
  const step = schema.type === "number" ? 0.5 : 1;
  const low = schema.minimum ?? (schema.exclusiveMinimum === undefined ? undefined : schema.exclusiveMinimum + step);
  const high = schema.maximum ?? (schema.exclusiveMaximum === undefined ? undefined : schema.exclusiveMaximum - step);
  const wish = typeof known === "number" ? known : step;
  return Math.min(Math.max(wish, low ?? wish), high ?? Number.POSITIVE_INFINITY);
}

const componentPrefix = "#/components/schemas/";

/**
 * A plausible value for a schema; deterministic. `name` is the property that holds the value. A component that contains
 * itself ends at its second occurrence, as null, an empty list or an absent property. Deprecated properties are absent.
 */
export function exampleOf(schema: JsonSchema, components: Readonly<Record<string, JsonSchema>>, name = ""): JsonValue {
  const value = build(schema, name, []);
  return value === undefined ? null : value;

  function build(one: JsonSchema, property: string, open: readonly string[]): JsonValue | undefined {
    if (one.$ref !== undefined) {
      if (open.includes(one.$ref)) return undefined;
      const target = components[one.$ref.slice(componentPrefix.length)];
      if (target === undefined) throw new Error(`no schema at ${one.$ref}`);
      return build(target, property, [...open, one.$ref]);
    }
    if (one.const !== undefined) return one.const;
    if (one.examples?.[0] !== undefined) return one.examples[0];
    if (one.enum !== undefined) return enumExample(one.enum);
    const type = Array.isArray(one.type) ? one.type[0] : one.type;
    if (type === undefined && one.anyOf !== undefined) return anyExample(one.anyOf, property, open);
    switch (type) {
      case "object":
        return objectExample(one, open);
      case "array":
        return arrayExample(one, property, open);
      case "boolean":
        return byName[property] !== false;
      case "integer":
      case "number":
        return numberExample({ ...one, type }, property);
      case "null":
        return null;
      case "string":
      case undefined:
        return stringExample(one, property);
      default:
        throw new Error(`no example for type ${type}`);
    }
  }

  function enumExample(values: readonly JsonValue[]): JsonValue {
    const telling = values.find((one) => one !== "" && !(typeof one === "string" && one.endsWith("_UNSPECIFIED")));
    return telling ?? values[0] ?? null;
  }

  function anyExample(choices: readonly JsonSchema[], property: string, open: readonly string[]): JsonValue | undefined {
    for (const choice of choices) {
      const found = build(choice, property, open);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  function objectExample(one: JsonSchema, open: readonly string[]): JsonObject {
    const kept = Object.entries(one.properties ?? {}).filter(([, { deprecated }]) => deprecated !== true);
    const entries = kept.map(([key, child]) => [key, build(child, key, open)] as const);
    return Object.fromEntries(entries.filter((entry): entry is readonly [string, JsonValue] => entry[1] !== undefined));
  }

  function arrayExample(one: JsonSchema, property: string, open: readonly string[]): JsonValue[] {
    const item = build(one.items ?? {}, property, open);
    return item === undefined ? [] : Array.from({ length: Math.max(1, one.minItems ?? 1) }, () => item);
  }
}
