import { create, type DescField, type DescMessage, hasOption, type Message } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { createValidator } from "@bufbuild/protovalidate";
import { predefined, file_buf_validate_validate as rulesFile } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { CompletionService } from "@turnwright/contract/agent/v1/completion_service";
import { RunService } from "@turnwright/contract/agent/v1/run_service";
import { ApiKeyService } from "@turnwright/contract/auth/v1/api_key_service";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import { WebhookService } from "@turnwright/contract/conversation/v1/webhook_service";
import { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import { expect, test } from "vitest";
import { createRequestValidator } from "./request-validator.ts";

const services = [
  ...[AuthService, ApiKeyService, ConversationService, WebhookService],
  ...[JournalService, RunService, CompletionService, ExecutionService],
];
const requests = [...new Set(services.flatMap(({ methods }) => methods.map(({ input }) => input)))];

/** Values of a field that its rules may refuse. */
function valuesOf(field: DescField): unknown[] {
  const texts = ["", "x", "no name", "a@example.com", "https://example.com/", "x".repeat(70_000)];
  if (field.fieldKind === "enum") return [0, 1, 999];
  if (field.fieldKind === "scalar") {
    const value = field.scalar === 9 ? "text" : typeof field.getDefaultValue();
    if (value === "text") return texts;
    return { number: [-1, 1, 2_000_000_000], bigint: [-1n, 1n, 2n ** 62n], boolean: [true] }[value as string] ?? [];
  }
  if (field.fieldKind === "list" && field.listKind === "scalar" && field.scalar === 9) return [["x", "x"], texts];
  return [];
}

/** Messages of a type: an empty one, and for each field some whose other fields are empty. */
function* messagesOf(desc: DescMessage): Generator<Message> {
  yield create(desc);
  for (const field of desc.fields) {
    for (const value of valuesOf(field)) {
      const message = reflect(desc);
      if (field.fieldKind === "list") for (const item of value as string[]) message.get(field).add(item);
      else message.set(field, value as never);
      yield message.message;
    }
    if (field.fieldKind === "message") for (const inner of messagesOf(field.message)) yield holding(desc, field, inner);
  }
}

function holding(desc: DescMessage, field: DescField, inner: Message): Message {
  const message = reflect(desc);
  if (field.fieldKind === "message") message.set(field, reflect(field.message, inner));
  return message.message;
}

const expressed = () => rulesFile.messages.flatMap(({ fields }) => fields).filter((rule) => hasOption(rule, predefined)).length;

test("finds in requests the faults that protovalidate finds, whatever the order of their types", () => {
  const before = expressed();
  const plain = createValidator();
  const lean = createRequestValidator();
  let invalid = 0;
  for (const desc of requests) {
    for (const message of messagesOf(desc)) {
      const [found, expected] = [lean, plain].map((validator) => validator.validate(desc, message));
      expect(found?.kind).toBe(expected?.kind);
      expect(found?.error?.message).toBe(expected?.error?.message);
      if (found?.kind === "invalid") invalid += 1;
    }
  }
  expect(invalid).toBeGreaterThan(200);
  // Others, such as reflection, see the rules as they are.
  expect(expressed()).toBe(before);
});
