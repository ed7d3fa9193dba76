import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type DescField, type DescMessage, type DescMethod, type DescService, getOption } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { Access, access } from "../gen/turnwright/auth/v1/access_pb.ts";
import { workspaceRoot } from "./buf.ts";

const generated = join(workspaceRoot, "packages/contract/gen/turnwright");

/** The name of a thing, and the names that it must not have beside it. */
const names: readonly (readonly [name: string, others: RegExp])[] = [
  ["agent_type", /^(agent|agent_name|agent_id|agent_kind)$/],
  ["cost_usd", /^(.*_)?(cost|price)(_(micros|cents|dollars|total))?$|^usd$/],
  ["cursor", /^(after|before|offset|page|page_token|starting_after|ending_before|continuation\w*|from)$/],
  ["next_cursor", /^(has_more|has_next|more|next|next_page\w*|next_token|last_cursor|prev\w*_cursor)$/],
  ["limit", /^(page_size|per_page|max_results|top|first|last|count)$/],
  ["created_at", /^(created|created_on|create_time|creation_\w+|created_time)$/],
  ["updated_at", /^(updated|updated_on|update_time|modified\w*|last_modified)$/],
  ["expires_at", /^(expires|expiry|expire_time|expiration\w*|valid_until)$/],
  ["prompt_tokens", /^(input_tokens|tokens_in|in_tokens)$/],
  ["completion_tokens", /^(output_tokens|tokens_out|out_tokens)$/],
  ["conversation_id", /^(conversation|conv_id|chat_id|thread_id|session)$/],
  ["user_id", /^(user_uuid|owner_id|account_id|uid)$/],
  ["idempotency_key", /^(idem_key|request_key|dedup\w*)$/],
];

/** Names of others: of the API that Turnwright is compatible with, and of OpenAI's wire format. */
const kept = new Set([
  "turnwright.conversation.v1.Conversation.total_cost",
  "turnwright.agent.v1.ChatCompletion.created",
  "turnwright.agent.v1.Model.created",
  // The id of an event, as in the header Last-Event-ID, which sets it; no page of a list.
  "turnwright.agent.v1.StreamRunEventsRequest.after",
  "turnwright.conversation.v1.StreamEventsRequest.after",
  "turnwright.agent.v1.ChatCompletionChunk.created",
]);

async function publicMethods(): Promise<DescMethod[]> {
  const files = readdirSync(generated, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith("_pb.ts"));
  const modules = await Promise.all(files.map((name) => import(join(generated, name)) as Promise<Record<string, unknown>>));
  const services = modules
    .flatMap((module) => Object.values(module))
    .filter((value): value is DescService => (value as { kind?: string } | null)?.kind === "service");
  const isPublic = (method: DescMethod) => ![Access.SERVICE as Access, Access.UNSPECIFIED].includes(getOption(method, access));
  return services.flatMap(({ methods }) => methods.filter(isPublic));
}

const messages = new Set<DescMessage>();
function walk(message: DescMessage): void {
  if (messages.has(message) || !message.typeName.startsWith("turnwright.")) return;
  messages.add(message);
  for (const field of message.fields) if (field.message !== undefined) walk(field.message);
}
for (const { input, output } of await publicMethods()) for (const message of [input, output]) walk(message);

/** A field that holds a resource may have the resource's name. */
const fields = [...messages].flatMap((message) => message.fields.filter((field) => field.message === undefined));
const nameOf = (field: DescField) => `${field.parent.typeName}.${field.name}`;
const isDeprecated = (field: DescField) => field.proto.options?.deprecated === true;

/** The faults of fields: another name of a thing that has one. */
function secondNames(all: readonly DescField[]): string[] {
  return all.flatMap((field) => {
    if (isDeprecated(field) || kept.has(nameOf(field))) return [];
    const [name] = names.find(([, others]) => others.test(field.name)) ?? [];
    return name === undefined ? [] : [`${nameOf(field)}: name it ${name}`];
  });
}

describe("in the messages of public methods", () => {
  test("each thing has one name", () => {
    expect(messages.size).toBeGreaterThan(80);
    expect(secondNames(fields)).toEqual([]);
  });

  test("the names that clients have used before are deprecated, beside the one name", () => {
    const deprecated = fields.filter(isDeprecated);
    expect(deprecated.length).toBeGreaterThan(5);
    for (const field of deprecated) {
      const [name] = names.find(([, others]) => others.test(field.name)) ?? [];
      const siblings = field.parent.fields.filter((one) => !isDeprecated(one)).map((one) => one.name);
      expect(siblings, nameOf(field)).toContain(name);
    }
  });

  test("a second name that is not deprecated would be found", () => {
    const old = fields
      .filter(isDeprecated)
      .map((field) => ({ ...field, proto: { ...field.proto, options: undefined } }) as DescField);
    expect(secondNames(old)).toHaveLength(old.length);
  });
});
