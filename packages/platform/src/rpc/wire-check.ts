import { type DescField, type DescMessage, fromBinary, type Message, ScalarType } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { ErrorReason, fail } from "../errors.ts";

/** Maximum nesting of messages and groups that protobuf-es decodes. */
const maxDepth = 100;

/** The expected encoding of a field. */
interface FieldPlan {
  readonly wire: WireType;
  /** Whether elements may be packed in one record. */
  readonly isPackable: boolean;
  /** Plan of the field's message type. */
  readonly child: MessagePlan | undefined;
}

type MessagePlan = ReadonlyMap<number, FieldPlan>;

function wireOf(scalar: ScalarType): WireType {
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return WireType.LengthDelimited;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return WireType.Bit64;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return WireType.Bit32;
    default:
      return WireType.Varint;
  }
}

function scalarPlan(scalar: ScalarType, isList: boolean): FieldPlan {
  const wire = wireOf(scalar);
  return { wire, isPackable: isList && wire !== WireType.LengthDelimited, child: undefined };
}

function messagePlan(message: DescMessage, isDelimited = false): FieldPlan {
  return { wire: isDelimited ? WireType.StartGroup : WireType.LengthDelimited, isPackable: false, child: planOf(message) };
}

function fieldPlan(field: DescField): FieldPlan {
  switch (field.fieldKind) {
    case "scalar":
      return scalarPlan(field.scalar, false);
    case "enum":
      return scalarPlan(ScalarType.INT32, false);
    case "message":
      return messagePlan(field.message, field.delimitedEncoding);
    case "list":
      if (field.listKind === "message") return messagePlan(field.message, field.delimitedEncoding);
      return scalarPlan(field.listKind === "enum" ? ScalarType.INT32 : field.scalar, true);
    case "map": {
      const value = field.mapKind === "message" ? messagePlan(field.message) : undefined;
      const entry = new Map<number, FieldPlan>([
        [1, scalarPlan(field.mapKey, false)],
        [2, value ?? scalarPlan(field.mapKind === "scalar" ? field.scalar : ScalarType.INT32, false)],
      ]);
      return { wire: WireType.LengthDelimited, isPackable: false, child: entry };
    }
  }
}

const plans = new WeakMap<DescMessage, MessagePlan>();

function planOf(message: DescMessage): MessagePlan {
  const known = plans.get(message);
  if (known !== undefined) return known;
  const plan = new Map<number, FieldPlan>();
  // Registered before its fields: a message type may contain itself.
  plans.set(message, plan);
  for (const field of message.fields) plan.set(field.number, fieldPlan(field));
  return plan;
}

const noPlan: MessagePlan = new Map();

function malformed(why: string, cause?: unknown): Error {
  return fail(ErrorReason.INVALID_REQUEST, `body: not a valid protobuf message (${why})`, { param: "body", cause });
}

/** Walks the records of a message without allocating objects for them. */
class WireWalk {
  readonly #bytes: Uint8Array;
  readonly #maxFields: number;
  #pos = 0;
  #fields = 0;

  constructor(bytes: Uint8Array, maxFields: number) {
    this.#bytes = bytes;
    this.#maxFields = maxFields;
  }

  /** Walks to `end`, or to the end of the given group. */
  message(plan: MessagePlan, end: number, depth: number, group = 0): void {
    if (depth > maxDepth) throw malformed(`nests deeper than ${maxDepth} levels`);
    while (this.#pos < end) {
      const tag = this.#varint(end, 5);
      const fieldNo = tag >>> 3;
      const wire: WireType = tag & 7;
      if (fieldNo === 0) throw malformed("a field has the number 0");
      if (wire === WireType.EndGroup) {
        if (fieldNo !== group) throw malformed("a group ends that did not begin");
        return;
      }
      this.#count(1);
      const field = plan.get(fieldNo);
      // protobuf-es decodes by the declared type regardless of the wire type, and would find different fields.
      if (field !== undefined && field.wire !== wire && !(field.isPackable && wire === WireType.LengthDelimited)) {
        throw malformed(`field ${fieldNo} has the wire type ${wire}`);
      }
      this.#value(field, fieldNo, wire, end, depth);
    }
    if (group !== 0) throw malformed("a group does not end");
  }

  #value(field: FieldPlan | undefined, fieldNo: number, wire: WireType, end: number, depth: number): void {
    switch (wire) {
      case WireType.Varint:
        this.#varint(end, 10);
        return;
      case WireType.Bit64:
        this.#skip(8, end);
        return;
      case WireType.Bit32:
        this.#skip(4, end);
        return;
      case WireType.LengthDelimited: {
        const length = this.#varint(end, 5);
        if (length > end - this.#pos) throw malformed("it ends within a field");
        const last = this.#pos + length;
        if (field?.child !== undefined) this.message(field.child, last, depth + 1);
        else if (field?.isPackable) this.#packed(field.wire, last);
        this.#pos = last;
        return;
      }
      case WireType.StartGroup:
        this.message(field?.child ?? noPlan, end, depth + 1, fieldNo);
        return;
      default:
        throw malformed(`unknown wire type ${wire}`);
    }
  }

  #packed(wire: WireType, end: number): void {
    if (wire !== WireType.Varint) {
      const size = wire === WireType.Bit64 ? 8 : 4;
      if ((end - this.#pos) % size !== 0) throw malformed("packed elements end within one");
      this.#count((end - this.#pos) / size);
      return;
    }
    while (this.#pos < end) {
      this.#varint(end, 10);
      this.#count(1);
    }
  }

  #count(fields: number): void {
    this.#fields += fields;
    if (this.#fields > this.#maxFields) {
      throw fail(ErrorReason.TOO_LARGE, `The message has more than ${this.#maxFields} fields.`);
    }
  }

  #skip(size: number, end: number): void {
    this.#pos += size;
    if (this.#pos > end) throw malformed("it ends within a field");
  }

  /** A varint of at most `maxBytes`; the low 32 bits of a longer one. */
  #varint(end: number, maxBytes: number): number {
    let value = 0;
    for (let read = 0; read < maxBytes; read++) {
      if (this.#pos >= end) throw malformed("it ends within a number");
      const byte = this.#bytes[this.#pos++] as number;
      if (read < 5) value |= (byte & 0x7f) << (7 * read);
      if (byte < 0x80) {
        if (maxBytes === 5 && read === 4 && byte > 0x0f) break;
        return value >>> 0;
      }
    }
    throw malformed("a number is too long");
  }
}

/**
 * Checks that bytes are a well-formed message of this type with at most `maxFields` fields. Fields of nested messages,
 * elements and unknown fields count too, because decoding costs per field, not per byte. Throws INVALID_REQUEST or
 * TOO_LARGE; allocates no message.
 */
export function checkWire(message: DescMessage, bytes: Uint8Array, maxFields: number): void {
  new WireWalk(bytes, maxFields).message(planOf(message), bytes.byteLength, 1);
}

/** Decodes a message sent by a peer. Throws INVALID_REQUEST when it is malformed. */
export function decodeMessage(message: DescMessage, bytes: Uint8Array): Message {
  try {
    return fromBinary(message, bytes);
  } catch (error) {
    throw malformed((error as Error).message, error);
  }
}
