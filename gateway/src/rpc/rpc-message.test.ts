import { brotliCompressSync, gzipSync } from "node:zlib";
import { create, type MessageInitShape, toBinary, toJsonString } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { aliceKey } from "../../testing/gateway.ts";
import { useLibraryGateway } from "../../testing/library-gateway.ts";
import type { RawAnswer } from "../../testing/raw-connection.ts";
import { bodyOf, codeOf, envelope, headOf, type RpcFormat, rpcFormats } from "../../testing/rpc-requests.ts";
import { maxMessageFields } from "./rpc-message.ts";

const gateway = useLibraryGateway({ RATE_LIMIT_ENABLED: "false" });
const { library } = gateway;
const service = "/fixture.v1.LibraryService";
const authorization = `Bearer ${aliceKey}`;

async function ask(head: string, body: Uint8Array = Buffer.alloc(0)): Promise<RawAnswer> {
  const connection = await gateway.open();
  connection.write(Buffer.concat([Buffer.from(head), body]));
  const answer = await connection.answer();
  if (answer === undefined) throw new Error(`no answer (${connection.error()})`);
  return answer;
}

const putBook = `${service}/PutBook`;
const watchShelf = `${service}/WatchShelf`;

/** Sends a raw body to a method that accepts the format. */
function send(format: RpcFormat, body: Uint8Array, headers: Record<string, string> = {}): Promise<RawAnswer> {
  const path = format.kind === "stream" ? watchShelf : putBook;
  const all = { authorization, "content-type": format.contentType, "content-length": body.byteLength, ...headers };
  return ask(headOf(path, all), body);
}

/** Sends a message, compressed if an encoding is given. */
async function codeFor(format: RpcFormat, message: Uint8Array, encoding?: "gzip" | "br"): Promise<string> {
  if (encoding === undefined) return codeOf(format, await send(format, bodyOf(message, format)));
  const packed = encoding === "gzip" ? gzipSync(message) : brotliCompressSync(message);
  return codeOf(format, await send(format, bodyOf(packed, format, true), { [format.encodingHeader]: encoding }));
}

const binary = rpcFormats.filter(({ isJson }) => !isJson).map((format) => [format.contentType, format] as const);
const json = rpcFormats.filter(({ isJson }) => isJson).map((format) => [format.contentType, format] as const);
const all = [...binary, ...json];

const shelf = "0190a000-0000-7000-8000-00000000000a";
function valid({ isJson, kind }: RpcFormat): Uint8Array {
  const desc = library.message(kind === "stream" ? "WatchShelfRequest" : "PutBookRequest");
  const init = kind === "stream" ? { shelfId: shelf } : { shelfId: shelf, book: { title: "Emma" } };
  const value = create(desc, init as MessageInitShape<never>);
  return isJson ? Buffer.from(toJsonString(desc, value)) : toBinary(desc, value);
}

const repeated = (bytes: readonly number[], times: number) =>
  Buffer.concat(Array.from({ length: times }, () => Buffer.from(bytes)));
/** The tag of a field with a wire type. */
const tag = (field: number, wire: number) => [
  (((field << 3) | wire) & 0x7f) | (field > 15 ? 0x80 : 0),
  ...(field > 15 ? [field >> 4] : []),
];
function lengthOf(size: number): number[] {
  const bytes: number[] = [];
  for (let left = size; ; left = Math.floor(left / 128)) {
    if (left < 128) return [...bytes, left];
    bytes.push((left % 128) | 0x80);
  }
}
/** A field with bytes. */
const holding = (field: number, bytes: Uint8Array) =>
  Buffer.concat([Buffer.from([...tag(field, 2), ...lengthOf(bytes.length)]), bytes]);
/** The book of a PutBookRequest. */
const book = (bytes: Uint8Array) => holding(3, bytes);

describe("a message of ordinary size", () => {
  test.each(all)("is served as %s, plain, in gzip and in brotli", async (_type, format) => {
    for (const encoding of [undefined, "gzip", "br"] as const) {
      expect(await codeFor(format, valid(format), encoding), encoding).toBe("ok");
    }
  });

  test.each(all)("is refused as %s in an unknown encoding, with a list of the known ones", async (_type, format) => {
    for (const encoding of ["zstd", "gzip, gzip", "gzip,gzip,gzip,gzip,gzip,gzip,gzip,gzip,gzip,gzip", "deflate", "GZIP"]) {
      const answer = await send(format, bodyOf(gzipSync(gzipSync(valid(format))), format, true), {
        [format.encodingHeader]: encoding,
      });
      expect(codeOf(format, answer), encoding).toBe("unimplemented");
      expect(answer.headers[format.acceptHeader], format.acceptHeader).toBe("gzip,br");
    }
  });
});

describe("a message of too many fields", () => {
  const million = 1_000_000;
  const bombs: readonly (readonly [string, Buffer])[] = [
    ["fields that nobody knows", repeated([0x7a, 0x00], million)],
    ["numbers that nobody knows", repeated([0x78, 0x01], million)],
    ["empty messages in a repeated field", book(repeated([...tag(16, 2), 0], 600_000))],
    ["empty strings in a repeated field", book(repeated([...tag(14, 2), 0], million - 10))],
    ["packed elements", book(holding(15, Buffer.alloc(million, 1)))],
    ["unpacked elements", book(repeated([...tag(15, 0), 1], million - 10))],
    ["entries of a map", book(repeated([...tag(18, 2), 0], 600_000))],
    ["fields within entries of a map", book(holding(18, repeated([0x0a, 0x00], million - 10)))],
    ["the same field, again and again", book(repeated([0x0a, 0x00], million - 10))],
    ["the same message, again and again", repeated([0x1a, 0x00], million)],
    ["values of a Struct's list", book(holding(12, holding(6, repeated([0x0a, 0x00], million - 20))))],
    ["groups", repeated([0x7b, 0x7c], million)],
    ["fields within a group", Buffer.concat([Buffer.from([0x7b]), repeated([0x08, 0x01], million - 5), Buffer.from([0x7c])])],
  ];

  test.each(binary.flatMap(([type, format]) => bombs.map(([what, bytes]) => [type, what, format, bytes] as const)))(
    "is refused before it is decoded: %s, %s",
    async (_type, _what, format, bytes) => {
      const message = format.kind === "stream" ? repeated([0x7a, 0x00], million) : bytes;
      expect(await codeFor(format, message, "gzip")).toBe("resource_exhausted");
    },
  );

  test.each(binary)("is refused plain as well, and served at the bound: %s", async (_type, format) => {
    const known = valid(format);
    const unknown = (fields: number) => Buffer.concat([known, repeated([0xfa, 0x01, 0x00], fields)]);
    const fieldsOfValid = format.kind === "stream" ? 1 : 3;
    expect(await codeFor(format, unknown(maxMessageFields - fieldsOfValid))).toBe("ok");
    expect(await codeFor(format, unknown(maxMessageFields - fieldsOfValid + 1))).toBe("resource_exhausted");
  });

  test.each(json)("is refused as %s: keys that nobody knows, elements, and nesting", async (_type, format) => {
    const keys = Array.from({ length: 100_000 }, (_, index) => `"k${index}":1`).join(",");
    for (const text of [
      `{${keys}}`,
      `{"x":[${"0,".repeat(900_000)}0]}`,
      `{"x":[${"{},".repeat(600_000)}{}]}`,
      `{"x":${"[".repeat(40)}`,
    ]) {
      for (const encoding of [undefined, "gzip"] as const) {
        expect(await codeFor(format, Buffer.from(text), encoding), text.slice(0, 20)).toBe("invalid_argument");
      }
    }
  });

  test.each([
    ["proto", repeated([0x7a, 0x00], 100_000)],
    ["json", Buffer.from(`{"x":[${"0,".repeat(100_000)}0]}`)],
  ])("is refused in the query of a GET request, unpacked: %s", async (encoding, message) => {
    const query = `encoding=${encoding}&base64=1&compression=gzip&connect=v1&message=${gzipSync(message).toString("base64url")}`;
    const answer = await ask(headOf(`${service}/GetRules?${query}`, {}, "GET"));
    expect([answer.status, (JSON.parse(answer.body) as { code: string }).code]).toEqual([429, "resource_exhausted"]);
  });
});

describe("a Connect GET request", () => {
  test.each([
    ["encoding=json&message=%7B%7D", 200],
    ["encoding=proto&message=", 200],
    [`encoding=proto&base64=1&compression=gzip&message=${gzipSync("").toString("base64url")}`, 200],
    [`encoding=json&base64=1&compression=br&message=${brotliCompressSync("{}").toString("base64url")}`, 200],
    ["encoding=json", 400],
    ["encoding=json&message=%7B", 400],
    ["encoding=proto&message=%ff%ff", 400],
    ["encoding=proto&base64=1&message=%21%21", 400],
    ["encoding=proto&base64=1&compression=gzip&message=AAAA", 400],
    ["encoding=proto&compression=zstd&message=", 501],
    ["encoding=other&message=", 415],
    ["message=", 415],
    ["", 415],
  ])("is answered according to its query: %s, %i", async (query, status) => {
    const answer = await ask(headOf(`${service}/GetRules?${query}`, {}, "GET"));
    expect([answer.status, answer.body.slice(0, 200)]).toEqual([status, expect.anything()]);
  });
});

describe("a message that decompresses to too many bytes", () => {
  test.each(all)("is refused as %s, in gzip and in brotli", async (_type, format) => {
    const large = format.isJson ? Buffer.from(`{"text":"${"x".repeat(3_000_000)}"}`) : holding(31, Buffer.alloc(3_000_000));
    for (const encoding of ["gzip", "br"] as const) expect(await codeFor(format, large, encoding)).toBe("resource_exhausted");
  });

  test("is refused at 16 KiB where no credential is asked for", async () => {
    const body = gzipSync(`{"text":"${"x".repeat(16_384)}"}`);
    const headers = { "content-type": "application/json", "content-encoding": "gzip", "content-length": body.length };
    expect((await ask(headOf(`${service}/Read`, headers), body)).status).toBe(429);
  });
});

describe("a malformed message", () => {
  const broken: readonly (readonly [string, Buffer])[] = [
    ["a number that does not end", Buffer.from([0x08, 0xff])],
    ["a number that is too long", Buffer.from([0x08, ...Array(11).fill(0xff), 0x01])],
    ["a string that does not end", Buffer.from([0x0a, 0x05, 0x61])],
    ["a length beyond all bounds", Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f])],
    ["a length of ten bytes", Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01])],
    ["a field of the number 0", Buffer.from([0x02, 0x00])],
    ["an unknown wire type", Buffer.from([0x0e])],
    ["a wire type that is another field's", Buffer.from([0x08, 0x01])],
    ["a message where a number is declared", Buffer.from([0x12, 0x02, 0x7a, 0x00])],
    ["text that is no UTF-8", Buffer.from([0x0a, 0x02, 0xff, 0xfe])],
    ["a group that does not end", Buffer.from([0x7b])],
    ["a group that did not begin", Buffer.from([0x7c])],
    ["a group that ends as another", Buffer.from([0x7b, 0x74])],
    ["groups that nest too deep", Buffer.concat([Buffer.alloc(5_000, 0x7b), Buffer.alloc(5_000, 0x7c)])],
    ["messages that nest too deep", Array.from({ length: 300 }).reduce<Buffer>((inner) => holding(19, inner), Buffer.alloc(0))],
    ["fixed numbers that are cut", Buffer.from([0x79, 0x00])],
    ["packed numbers that are cut", Buffer.from([0x1a, 0x04, ...tag(15, 2), 1, 0x80])],
  ];

  test.each(binary.flatMap(([type, format]) => broken.map(([what, bytes]) => [type, what, format, bytes] as const)))(
    "is the client's fault: %s, %s",
    async (_type, what, format, bytes) => {
      // WatchShelfRequest has only strings: a book's fields are unknown to it.
      if (format.kind === "stream" && /nest too deep|packed|number is declared/.test(what)) return;
      const message = what === "messages that nest too deep" ? book(bytes) : bytes;
      expect(await codeFor(format, message)).toBe("invalid_argument");
    },
  );

  test.each(json)("is the client's fault: %s", async (_type, format) => {
    for (const text of [
      "{",
      "nonsense",
      '{"shelf_id":1}',
      '"text"',
      "[]",
      "null",
      '{"shelf_id":"\ud800"',
      "\u0000",
      "{}{}",
      `{"shelf_id":${"[".repeat(31)}`,
    ]) {
      expect(await codeFor(format, Buffer.from(text, "latin1")), text).toBe("invalid_argument");
    }
  });

  test.each(json)("is refused when it has a name that nobody knows, with the name: %s", async (_type, format) => {
    const known = JSON.parse(Buffer.from(valid(format)).toString()) as object;
    const bytes = Buffer.from(JSON.stringify({ ...known, boook: {} }));
    const answer = await send(format, bodyOf(bytes, format));
    expect(codeOf(format, answer)).toBe("invalid_argument");
    expect(JSON.stringify([answer.headers, answer.trailers, answer.body])).toContain("boook: unknown field");
  });

  test.each(all)("is the client's fault when it is not in its declared encoding: %s", async (_type, format) => {
    const packed = gzipSync(valid(format));
    for (const bytes of [
      Buffer.from("plain"),
      packed.subarray(0, packed.length - 6),
      Buffer.concat([packed, Buffer.from([1, 2, 3])]),
      Buffer.alloc(64, 0x1f),
    ]) {
      const code = codeOf(format, await send(format, bodyOf(bytes, format, true), { [format.encodingHeader]: "gzip" }));
      expect(["invalid_argument", "ok"], code).toContain(code);
      if (bytes.length < packed.length) expect(code).toBe("invalid_argument");
      expect(codeOf(format, await send(format, bodyOf(bytes, format, true), { [format.encodingHeader]: "br" }))).toBe(
        "invalid_argument",
      );
    }
  });

  test.each(all.filter(([, { isEnveloped }]) => isEnveloped))(
    "gets the code of its fault when its frames are incomplete: %s",
    async (_type, format) => {
      const whole = valid(format);
      const frames: readonly (readonly [string, Uint8Array, string])[] = [
        ["no frame", Buffer.alloc(0), "unimplemented"],
        ["a part of a prefix", Buffer.from([0, 0]), "invalid_argument"],
        ["a prefix alone", Buffer.from([0, 0, 0, 0, 9]), "invalid_argument"],
        ["a length of 4 GiB", Buffer.from([0, 0xff, 0xff, 0xff, 0xff]), "resource_exhausted"],
        ["flags that nobody knows", envelope(whole, 0x80), "invalid_argument"],
        ["an end of stream", envelope(whole, 2), "invalid_argument"],
        ["compressed without an encoding", envelope(gzipSync(whole), 1), "internal"],
        ["two messages", Buffer.concat([envelope(whole), envelope(whole)]), "unimplemented"],
        ["200,000 empty messages", repeated([0, 0, 0, 0, 0], 200_000), "unimplemented"],
      ];
      for (const [what, body, code] of frames) expect(codeOf(format, await send(format, body)), what).toBe(code);
    },
  );
});

describe("a body that comes in crumbs", () => {
  const crumbs = (bytes: Uint8Array) =>
    Buffer.concat([...bytes].map((byte) => Buffer.from(`1\r\n${String.fromCharCode(byte)}\r\n`, "latin1")));
  const end = Buffer.from("0\r\n\r\n");

  test.each(all)("is refused as %s when it is long, and served when it is short", async (_type, format) => {
    const headers = { "content-type": format.contentType, authorization, "transfer-encoding": "chunked" };
    const path = format.kind === "stream" ? watchShelf : putBook;
    const short = Buffer.concat([crumbs(bodyOf(valid(format), format)), end]);
    expect(codeOf(format, await ask(headOf(path, headers), short))).toBe("ok");
    const long = crumbs(bodyOf(Buffer.alloc(20_000, 0x20), format));
    expect(codeOf(format, await ask(headOf(path, headers), long))).toBe("invalid_argument");
  });

  test("is refused by REST", async () => {
    const headers = { "content-type": "application/json", authorization, "transfer-encoding": "chunked" };
    const answer = await ask(headOf("/v1/chat/completions", headers), crumbs(Buffer.alloc(20_000, 0x20)));
    expect([answer.status, answer.body]).toEqual([400, expect.stringContaining("too many small pieces")]);
  });
});

describe("a compressed body", () => {
  test.each(["gzip", "br", "gzip, gzip", "deflate"])(
    "in %s is refused by REST and OpenAI with an Accept-Encoding of identity",
    async (encoding) => {
      const body = gzipSync("{}");
      for (const path of ["/v1/readings", "/v1/chat/completions"]) {
        const headers = {
          authorization,
          "content-type": "application/json",
          "content-encoding": encoding,
          "content-length": body.length,
        };
        const answer = await ask(headOf(path, headers), body);
        expect([answer.status, answer.headers["accept-encoding"]]).toEqual([415, "identity"]);
      }
    },
  );
});
