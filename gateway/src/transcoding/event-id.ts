import { type DescField, type Message, ScalarType } from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import type { Binding } from "./routes.ts";

/** The header by which a client says which event it saw last. */
export const lastEventIdHeader = "Last-Event-ID";

const unfit: ReadonlySet<ScalarType> = new Set([ScalarType.BOOL, ScalarType.BYTES, ScalarType.DOUBLE, ScalarType.FLOAT]);

/** A field that can carry the id of an event: a text or a whole number, in no oneof. Throws where the contract names another. */
function idField(binding: Binding, fields: readonly DescField[], name: string): DescField {
  const field = fields.find((candidate) => candidate.name === name);
  const { name: method, methodKind } = binding.method;
  if (methodKind !== "server_streaming") throw new Error(`${method} streams no events, whose ids its surface names.`);
  if (field?.fieldKind !== "scalar" || field.oneof !== undefined || unfit.has(field.scalar)) {
    throw new Error(
      `${method} has no field ${name} that is a text or a whole number, which its surface names for ids of events.`,
    );
  }
  return field;
}

/** The request field that the Last-Event-ID header fills; undefined when the surface names none. */
export function lastEventIdField(binding: Binding): DescField | undefined {
  const { lastEventIdField: name } = binding.surface;
  if (name === "") return undefined;
  const field = idField(binding, binding.method.input.fields, name);
  if (binding.path.fields.includes(name)) throw new Error(`${binding.method.name} takes ${name} from its path.`);
  return field;
}

/** Gives the `id:` line of an event, or nothing where it has no id. An id that would break its line makes none either. */
export function eventIdWriter(binding: Binding): (message: Message) => string {
  const { eventIdField: name } = binding.surface;
  if (name === "") return () => "";
  const { localName, presence } = idField(binding, binding.method.output.fields, name);
  const zeroIsNone = presence === FeatureSet_FieldPresence.IMPLICIT;
  return (message) => {
    const value = (message as unknown as Record<string, string | number | bigint | undefined>)[localName];
    if (value === undefined || value === "" || (zeroIsNone && (value === 0 || value === 0n))) return "";
    const id = String(value);
    return /[\r\n\0]/.test(id) ? "" : `id: ${id}\n`;
  };
}
