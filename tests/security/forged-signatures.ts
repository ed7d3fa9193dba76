import { byKey, encode, makeToken, partsOf, unsigned } from "./forge.ts";
import { type Forge, type ForgedClass, inBearer } from "./forged-tokens.ts";

/** The order of Ed25519's group: adding it to a signature's second half makes no difference to a careless verifier. */
const order = 2n ** 252n + 27742317777372353535851937790883648493n;

function littleEndian(bytes: Buffer): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
}

function flip(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
  return copy;
}

/** The signature with the order added to its second half. */
function malleated(signature: Buffer): Buffer {
  const sum = littleEndian(signature.subarray(32)) + order;
  const hex = sum.toString(16).padStart(64, "0");
  return Buffer.concat([signature.subarray(0, 32), Buffer.from(hex, "hex").reverse()]);
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** A letter with the significant bits of `letter` and other insignificant bits. */
function oddLetter(letter: string, odd: number): string {
  return alphabet[(alphabet.indexOf(letter) & 0b110000) | odd] ?? "";
}

/** A genuine token, tampered with. */
export function forgedSignatures({ victim, claims, header, key }: Forge): ForgedClass[] {
  const genuine = partsOf(victim.accessToken);
  const signature = Buffer.from(genuine.signature, "base64url");
  const withSignature = (bytes: Buffer | string) =>
    `${genuine.header}.${genuine.payload}.${typeof bytes === "string" ? bytes : bytes.toString("base64url")}`;
  const withClaims = (changes: object) => `${genuine.header}.${encode({ ...claims, ...changes })}.${genuine.signature}`;
  const payload = Buffer.from(genuine.payload, "base64url");
  const bits = Array.from({ length: 32 }, (_, index) => index * 16 + (index % 16));
  return [
    inBearer("no signature", withSignature(""), `${genuine.header}.${genuine.payload}`),
    inBearer("a shortened signature", ...[1, 2, 31, 32, 33, 63].map((length) => withSignature(signature.subarray(0, length)))),
    inBearer(
      "a lengthened signature",
      withSignature(Buffer.concat([signature, Buffer.from([0])])),
      withSignature(Buffer.concat([signature, signature])),
    ),
    inBearer("a signature with a bit turned", ...bits.map((bit) => withSignature(flip(signature, bit)))),
    inBearer("a signature of zeros or ones", withSignature(Buffer.alloc(64)), withSignature(Buffer.alloc(64, 255))),
    inBearer("the order added to a signature", withSignature(malleated(signature))),
    inBearer(
      "the halves of a signature swapped",
      withSignature(Buffer.concat([signature.subarray(32), signature.subarray(0, 32)])),
    ),
    inBearer(
      "a signature of something else",
      makeToken(header, claims, () => byKey(key.privateKey)("something else")),
    ),
    inBearer(
      "a payload with a flipped bit",
      ...[3, 100, 200, 400].map((bit) => `${genuine.header}.${flip(payload, bit).toString("base64url")}.${genuine.signature}`),
    ),
    inBearer(
      "changed claims under the genuine signature",
      withClaims({ role: "admin" }),
      withClaims({ sub: crypto.randomUUID() }),
      withClaims({ exp: 4_102_444_800 }),
      withClaims({ sid: crypto.randomUUID() }),
    ),
    inBearer(
      "a changed header under the genuine signature",
      `${encode({ ...header, kid: "x" })}.${genuine.payload}.${genuine.signature}`,
    ),
    inBearer(
      "other base64",
      withSignature(`${genuine.signature}==`),
      withSignature(`${genuine.signature}=`),
      // The last letter carries four insignificant bits.
      ...[1, 2, 3].map((odd) => withSignature(genuine.signature.slice(0, -1) + oddLetter(genuine.signature.slice(-1), odd))),
      withSignature(signature.toString("hex")),
      withSignature(`${genuine.signature.slice(0, 40)}*${genuine.signature.slice(40)}`),
      `${genuine.header}=.${genuine.payload}.${genuine.signature}`,
    ),
    inBearer(
      "another number of parts",
      genuine.header,
      `${victim.accessToken}.`,
      `.${victim.accessToken}`,
      `${victim.accessToken}.${genuine.signature}`,
      "..",
      "...",
      ".",
      `${genuine.payload}.${genuine.signature}`,
    ),
    inBearer(
      "the shape of an encrypted token",
      `${encode({ alg: "dir", enc: "A256GCM" })}..${encode("iv")}.${genuine.payload}.${encode("tag")}`,
      `${encode({ alg: "none", enc: "none" })}.${genuine.payload}.a.b.c`,
    ),
    inBearer(
      "JSON serialization",
      JSON.stringify({ payload: genuine.payload, protected: genuine.header, signature: genuine.signature }).replaceAll(" ", ""),
    ),
    inBearer("a token in a token", makeToken({ ...header, cty: "JWT" }, victim.accessToken, unsigned)),
  ];
}
