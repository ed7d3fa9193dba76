import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { FileDescriptorProtoSchema, StructSchema, type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, test, vi } from "vitest";
import { ErrorReason, reasonOf } from "../errors.ts";
import { checkWire } from "./wire-check.ts";

/** Pseudo-random numbers, the same in every run. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state % below;
  };
}

function someValue(random: (below: number) => number, depth: number): Value {
  switch (random(depth > 6 ? 4 : 6)) {
    case 0:
      return create(ValueSchema, { kind: { case: "nullValue", value: 0 } });
    case 1:
      return create(ValueSchema, { kind: { case: "numberValue", value: random(1_000) } });
    case 2:
      return create(ValueSchema, { kind: { case: "stringValue", value: "é".repeat(random(200)) } });
    case 3:
      return create(ValueSchema, { kind: { case: "boolValue", value: random(2) === 0 } });
    case 4: {
      const values = Array.from({ length: random(5) }, () => someValue(random, depth + 1));
      return create(ValueSchema, { kind: { case: "listValue", value: { values } } });
    }
    default: {
      const fields = Object.fromEntries(
        Array.from({ length: random(5) }, (_, index) => [`k${index}`, someValue(random, depth + 1)]),
      );
      return create(ValueSchema, { kind: { case: "structValue", value: { fields: structJson(fields) } } });
    }
  }
}

const structJson = (fields: Record<string, Value>) => create(StructSchema, { fields }).fields;

/** Number of records that protobuf-es itself reads of a message; packed elements count as one. */
function recordsRead(bytes: Uint8Array): number {
  const tag = vi.spyOn(BinaryReader.prototype, "tag");
  try {
    fromBinary(ValueSchema, bytes);
    return tag.mock.calls.length;
  } finally {
    tag.mockRestore();
  }
}

function accepts(bytes: Uint8Array, maxFields: number): boolean {
  try {
    checkWire(ValueSchema, bytes, maxFields);
    return true;
  } catch (error) {
    expect([ErrorReason.INVALID_REQUEST, ErrorReason.TOO_LARGE]).toContain(reasonOf(error));
    return false;
  }
}

describe("checkWire", () => {
  test("takes what is well-formed, and counts as many fields as the decoder reads", () => {
    const random = numbers(1);
    for (let round = 0; round < 300; round++) {
      const bytes = toBinary(ValueSchema, someValue(random, 0));
      const records = recordsRead(bytes);
      expect(accepts(bytes, records)).toBe(true);
      if (records > 0) expect(accepts(bytes, records - 1)).toBe(false);
    }
  });

  test("lets nothing through, of 20,000 damaged messages, of which the decoder reads more fields than were counted, or which it takes for malformed", () => {
    const random = numbers(7);
    let passed = 0;
    for (let round = 0; round < 20_000; round++) {
      const bytes = toBinary(ValueSchema, someValue(random, 2));
      for (let damage = 0; damage <= random(3); damage++) {
        if (bytes.length > 0) bytes[random(bytes.length)] = random(256);
      }
      const part = random(4) === 0 ? bytes.subarray(0, random(bytes.length + 1)) : bytes;
      if (!accepts(part, 1_000)) continue;
      passed += 1;
      try {
        const records = recordsRead(part);
        expect(accepts(part, records)).toBe(true);
        // The end of a group is a record to the decoder, but part of a field here.
        if (records > 0) expect(accepts(part, Math.ceil(records / 2) - 1)).toBe(false);
      } catch (error) {
        // Text is the only thing that is not checked.
        expect(String(error)).toMatch(/UTF-8|encoded data was not valid/i);
      }
    }
    expect(passed).toBeGreaterThan(1_000);
  }, 60_000);

  test("counts packed elements one by one, and holds fields to the wire types that they are declared with", () => {
    const message = create(FileDescriptorProtoSchema, {
      name: "a.proto",
      publicDependency: Array.from({ length: 50 }, (_, index) => index * 1_000),
      messageType: [{ name: "M", field: [{ name: "f", number: 1, label: 1, type: 9 }] }],
    });
    const bytes = toBinary(FileDescriptorProtoSchema, message);
    const fields = 1 + 50 + 1 + 1 + 1 + 4;
    expect(() => checkWire(FileDescriptorProtoSchema, bytes, fields)).not.toThrow();
    expect(() => checkWire(FileDescriptorProtoSchema, bytes, fields - 1)).toThrow(`more than ${fields - 1} fields`);
    const packed = Buffer.from([0x52, 0x02, 0x01, 0x02]);
    expect(() => checkWire(FileDescriptorProtoSchema, packed, 3)).not.toThrow();
    expect(() => checkWire(FileDescriptorProtoSchema, packed, 2)).toThrow("more than 2 fields");
    // A string marked as a number: the decoder would read on in bytes that the check takes for its value.
    expect(() => checkWire(FileDescriptorProtoSchema, Buffer.from([0x08, 0x01]), 10)).toThrow("wire type 0");
  });

  test("reads each byte at most once", () => {
    let read = 0;
    const bytes = new Proxy(Buffer.alloc(2_000_000).fill(Buffer.from([0x7a, 0x00])), {
      get(target, key) {
        if (typeof key === "string" && /^\d+$/.test(key)) read += 1;
        return Reflect.get(target, key, target);
      },
    });
    expect(() => checkWire(ValueSchema, bytes, 10_000)).toThrow("more than 10000 fields");
    expect(read).toBeLessThanOrEqual(20_002);
  });
});
