import { encode, makeToken, unsigned } from "./forge.ts";

/** The genuine credentials that the made-up values resemble. */
export interface Genuine {
  readonly accessToken: string;
  readonly apiKey: string;
}

/** A number generator, deterministic by seed (mulberry32); values in [0, 1). */
export function numbersFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const schemes = [
  "Bearer",
  "bearer",
  "BEARER",
  "Bearer ",
  "Bearer\t",
  "Basic",
  "Digest",
  "Token",
  "",
  "Bearer,",
  "\u00c2earer",
  "Bearer:",
];
const algorithms = ["none", "HS256", "HS512", "EdDSA", "ES256", "RS256", "", "eddsa", "A256GCM", "dir"];
const words = [
  "null",
  "undefined",
  "{}",
  "[]",
  "true",
  "-1",
  "__proto__",
  "' or 1=1 --",
  "../../etc/passwd",
  "%00",
  "sk-",
  "rt-",
  "..",
  "*",
];

/**
 * Endless values of an Authorization header, as bytes: noise, near misses of genuine credentials, tokens with malformed
 * parts. None is one of the genuine credentials.
 */
export function* authorizationValues(genuine: Genuine, seed: number): Generator<Buffer> {
  const next = numbersFrom(seed);
  const upTo = (limit: number) => Math.floor(next() * limit);
  const pick = <T>(list: readonly T[]): T => list[upTo(list.length)] as T;
  const bytes = (length: number, from = 0, to = 256) => Buffer.from(Array.from({ length }, () => from + upTo(to - from)));
  const token = () => pick([genuine.accessToken, genuine.apiKey]);

  const mutate = (value: Buffer): Buffer => {
    let changed = value;
    for (let left = 1 + upTo(4); left > 0; left -= 1) {
      const at = upTo(changed.length + 1);
      const cut = changed.subarray(0, at);
      const rest = changed.subarray(at);
      const kinds = [
        () => Buffer.concat([cut, bytes(1 + upTo(3)), rest]),
        () => Buffer.concat([cut, rest.subarray(1 + upTo(8))]),
        () => Buffer.concat([cut, bytes(1), rest.subarray(1)]),
        () => Buffer.concat([cut, cut.subarray(-upTo(64) || -1), rest]),
        () => Buffer.concat([rest, cut]),
        () => Buffer.concat([cut, Buffer.from(pick(words)), rest]),
        () => Buffer.from(changed.toString("latin1").toUpperCase(), "latin1"),
      ];
      changed = pick(kinds)();
    }
    return changed;
  };
  const oddValue = (): unknown =>
    pick<unknown>([null, 0, -1, 1e308, "", "x", [], {}, [[]], true, pick(words), "a".repeat(upTo(300))]);
  const oddObject = (names: readonly string[]) =>
    Object.fromEntries(names.filter(() => next() < 0.6).map((name) => [name, oddValue()]));
  const oddToken = () => {
    const header = {
      alg: pick(algorithms),
      typ: pick(["at+jwt", "JWT", ""]),
      ...oddObject(["kid", "jwk", "jku", "crit", "zip", "typ"]),
    };
    const claims = oddObject(["sub", "sid", "iss", "aud", "exp", "nbf", "role", "jti"]);
    return makeToken(
      pick<unknown>([header, "{", "null", header]),
      pick<unknown>([claims, "", "[1]", claims]),
      pick([unsigned, () => bytes(64), () => bytes(upTo(80))]),
    );
  };
  const makers: readonly (() => Buffer)[] = [
    () => bytes(upTo(80)),
    () => bytes(upTo(200), 0x20, 0x7f),
    () => Buffer.concat([Buffer.from(`${pick(schemes)} `, "latin1"), bytes(upTo(120))]),
    () => Buffer.concat([Buffer.from("Bearer "), bytes(upTo(200), 0x21, 0x7f)]),
    () => mutate(Buffer.from(`Bearer ${token()}`)),
    () => mutate(Buffer.from(`Bearer ${token()}`)),
    () => Buffer.from(`${pick(schemes)} ${pick(words)}${pick(words)}`, "latin1"),
    () => Buffer.from(`Bearer ${oddToken()}`),
    () => Buffer.from(`Bearer ${token()}${pick([" ", ",", ";", ".", "\t"])}${token()}`),
    () => Buffer.from(`Bearer ${encode(bytes(upTo(60)))}.${encode(bytes(upTo(60)))}.${encode(bytes(upTo(80)))}`),
    () => Buffer.from(`Bearer ${pick(["a", ".", "=", "é", "sk-"]).repeat(upTo(6_000))}`),
    () => Buffer.from(`Bearer sk-${bytes(49, 0x30, 0x7b).toString("latin1")}`),
  ];
  for (;;) {
    const value = pick(makers)();
    if (!isGenuine(value, genuine)) yield value;
  }
}

/**
 * Whether HTTP takes these bytes as a genuine credential: surrounding white space and the scheme's case do not count.
 */
function isGenuine(value: Buffer, { accessToken, apiKey }: Genuine): boolean {
  return value
    .toString("latin1")
    .split(/[\r\n]/)
    .some((line) => [accessToken, apiKey].includes(/^(?:authorization:)?[ \t]*bearer (\S+?)[ \t]*$/i.exec(line)?.[1] ?? ""));
}
