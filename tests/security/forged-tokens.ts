import { createHmac, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";

/** What a forger has: a genuine access token of somebody, and the public keys. */
export interface ForgerKit {
  /** A genuine access token, signed by auth. */
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly internalToken: string;
  readonly serviceToken: string;
  readonly grant: string;
  /** An API key that was revoked. */
  readonly revokedKey: string;
  /** Auth's public JSON Web Keys. */
  readonly jwks: { keys: { kid?: string; x?: string }[] };
}

const encode = (value: unknown) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

function decode(token: string): { header: Record<string, unknown>; payload: Record<string, unknown>; signature: string } {
  const [header = "", payload = "", signature = ""] = token.split(".");
  const json = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString("utf8")) as Record<string, unknown>;
  return { header: json(header), payload: json(payload), signature };
}

/** Values of the Authorization header, one for each class of forgery. None of them may be let in. */
export function forgedAuthorizations(kit: ForgerKit): Record<string, string> {
  const { header, payload, signature } = decode(kit.accessToken);
  const own = generateKeyPairSync("ed25519");
  const otherCurve = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const published = JSON.stringify(kit.jwks.keys[0]);
  const now = Math.floor(Date.now() / 1000);

  const signed = (head: object, body: object, key: KeyObject = own.privateKey, digest: string | null = null) => {
    const text = `${encode(head)}.${encode(body)}`;
    return `${text}.${sign(digest, Buffer.from(text), key).toString("base64url")}`;
  };
  const hmac = (head: object, body: object, secret: string | Buffer, digest = "sha256") => {
    const text = `${encode(head)}.${encode(body)}`;
    return `${text}.${createHmac(digest, secret).update(text).digest("base64url")}`;
  };
  const withSignature = (head: object, body: object, tail = signature) => `${encode(head)}.${encode(body)}.${tail}`;
  const ownJwk = own.publicKey.export({ format: "jwk" });
  const flipped = Buffer.from(signature, "base64url");
  flipped[0] = (flipped[0] ?? 0) ^ 1;
  const longer = { ...payload, exp: now + 86_400 };
  const admin = { ...payload, role: "admin" };
  const b = (token: string) => `Bearer ${token}`;

  return {
    "alg none": b(withSignature({ ...header, alg: "none" }, admin, "")),
    "alg None": b(withSignature({ ...header, alg: "None" }, admin, "")),
    "alg none with the signature": b(withSignature({ ...header, alg: "none" }, payload)),
    "alg missing": b(withSignature({ typ: header.typ, kid: header.kid }, payload)),
    "alg of another kind of value": b(withSignature({ ...header, alg: ["EdDSA"] }, payload)),
    "HS256 with the public key": b(hmac({ ...header, alg: "HS256" }, longer, published)),
    "HS256 with the public key's bytes": b(
      hmac({ ...header, alg: "HS256" }, longer, Buffer.from(kit.jwks.keys[0]?.x ?? "", "base64url")),
    ),
    "HS256 with an empty secret": b(hmac({ ...header, alg: "HS256" }, longer, "")),
    "HS256 with a guessable secret": b(
      hmac({ ...header, alg: "HS256" }, longer, "your-super-secret-jwt-key-change-in-production"),
    ),
    "HS512 with the public key": b(hmac({ ...header, alg: "HS512" }, longer, published, "sha512")),
    "signed by a key of one's own": b(signed(header, admin)),
    "signed by a key of one's own under another kid": b(signed({ ...header, kid: "mine" }, admin)),
    "no kid": b(signed({ alg: "EdDSA", typ: header.typ }, admin)),
    "kid that is a path": b(signed({ ...header, kid: "../../../../dev/null" }, admin)),
    "kid that is SQL": b(signed({ ...header, kid: "x' union select '{}' --" }, admin)),
    "kid that is a URL": b(signed({ ...header, kid: "http://127.0.0.1/jwks.json" }, admin)),
    "jwk in the header": b(signed({ ...header, jwk: ownJwk }, admin)),
    "jku in the header": b(signed({ ...header, jku: "http://127.0.0.1:1/jwks.json" }, admin)),
    "x5u in the header": b(signed({ ...header, x5u: "http://127.0.0.1:1/cert.pem" }, admin)),
    "ES256 with a key of one's own": b(signed({ ...header, alg: "ES256" }, admin, otherCurve.privateKey, "sha256")),
    "RS256 with a key of one's own": b(signed({ ...header, alg: "RS256" }, admin, rsa.privateKey, "sha256")),
    "crit that nobody knows": b(withSignature({ ...header, crit: ["exp"] }, payload)),
    "b64 false": b(withSignature({ ...header, b64: false, crit: ["b64"] }, payload)),
    "changed role": b(withSignature(header, admin)),
    "changed user": b(withSignature(header, { ...payload, sub: crypto.randomUUID() })),
    "changed session": b(withSignature(header, { ...payload, sid: crypto.randomUUID() })),
    "longer life": b(withSignature(header, longer)),
    "no end": b(withSignature(header, { ...payload, exp: undefined })),
    "a bit of the signature flipped": b(withSignature(header, payload, flipped.toString("base64url"))),
    "signature cut": b(withSignature(header, payload, signature.slice(0, -4))),
    "signature empty": b(withSignature(header, payload, "")),
    "signature of zeros": b(withSignature(header, payload, Buffer.alloc(64).toString("base64url"))),
    "signature of random bytes": b(withSignature(header, payload, randomBytes(64).toString("base64url"))),
    "four parts": b(`${kit.accessToken}.${signature}`),
    "two parts": b(kit.accessToken.split(".").slice(0, 2).join(".")),
    "payload that is no JSON": b(`${encode(header)}.${encode("nothing")}.${signature}`),
    "encrypted form of five parts": b(
      `${encode({ alg: "dir", enc: "A256GCM" })}..${encode("iv")}.${encode("text")}.${encode("tag")}`,
    ),
    "refresh token": b(kit.refreshToken),
    "internal token": b(kit.internalToken),
    "service token": b(kit.serviceToken),
    "grant of an approval": b(kit.grant),
    "revoked API key": b(kit.revokedKey),
    "API key with another checksum": b(`${kit.revokedKey.slice(0, -1)}${kit.revokedKey.endsWith("0") ? "1" : "0"}`),
    "API key cut": b(kit.revokedKey.slice(0, 20)),
    "API key of wildcards": b(`sk-${"%".repeat(49)}`),
    "API key that is SQL": b(`sk-' or '1'='1`),
    "two tokens": `Bearer ${kit.accessToken} ${kit.accessToken}`,
    "two schemes": `Bearer Bearer ${kit.accessToken}`,
    "Basic scheme": `Basic ${encode(`token:${kit.accessToken}`)}`,
    "no scheme": kit.accessToken,
    "token in quotes": `Bearer "${kit.accessToken}"`,
    "token with a comma": `Bearer ${kit.accessToken},`,
    "token of 100 KB": b("a".repeat(7_000)),
    "empty token": "Bearer ",
  };
}
