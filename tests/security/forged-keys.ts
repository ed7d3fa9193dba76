import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { byKey, bySecret, makeToken, partsOf, unsigned } from "./forge.ts";
import { type Forge, type ForgedClass, inBearer } from "./forged-tokens.ts";

/** Tokens without a signature, or signed with public data under another algorithm. */
export function unsignedAndConfused({ claims, header, key, victim }: Forge): ForgedClass[] {
  const { signature } = partsOf(victim.accessToken);
  const hs = (secret: string | Buffer, alg = "HS256", digest = "sha256") =>
    makeToken({ ...header, alg }, claims, bySecret(secret, digest));
  const spki = key.publicKey.export({ type: "spki", format: "der" });
  const pem = key.publicKey.export({ type: "spki", format: "pem" }) as string;
  const x = String(key.publicJwk.x);
  const none = ["none", "None", "NONE", "nOnE", "", " none"];
  return [
    inBearer("alg none without a signature", ...none.map((alg) => makeToken({ ...header, alg }, claims, unsigned))),
    inBearer("alg none with the genuine signature", ...none.map((alg) => makeToken({ ...header, alg }, claims, () => signature))),
    inBearer(
      "a missing alg, and one that is not text",
      ...[undefined, null, 0, ["EdDSA"], {}, true].map((alg) => makeToken({ ...header, alg }, claims, byKey(key.privateKey))),
    ),
    inBearer(
      "HS256 with the public key as secret",
      hs(pem),
      hs(pem.trim()),
      hs(spki),
      hs(JSON.stringify(key.publicJwk)),
      hs(x),
      hs(Buffer.from(x, "base64url")),
    ),
    inBearer("HS384 and HS512 by the public key", hs(pem, "HS384", "sha384"), hs(pem, "HS512", "sha512")),
    inBearer(
      "HS256 with a well-known secret",
      hs(""),
      hs("\0"),
      hs("secret"),
      hs(key.kid),
      hs("turnwright"),
      hs("undefined"),
      hs("null"),
    ),
  ];
}

/** Tokens signed by the forger's own key, and ways to pass it off as the system's. */
export function foreignKeys({ claims, header, attackerUrl, key }: Forge): ForgedClass[] {
  const own = generateKeyPairSync("ed25519");
  const jwk = { ...own.publicKey.export({ format: "jwk" }), kid: "own", alg: "EdDSA", use: "sig" };
  const mine = (changes: Record<string, unknown>) => makeToken({ ...header, ...changes }, claims, byKey(own.privateKey));
  const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const ed448 = generateKeyPairSync("ed448");
  const der = own.publicKey.export({ type: "spki", format: "der" }).toString("base64");
  const ids = (values: readonly unknown[]) => values.map((kid) => mine({ kid }));
  return [
    inBearer("another Ed25519 key under the genuine kid", mine({})),
    inBearer("another key under a kid of its own", mine({ kid: "own" }), mine({ kid: randomUUID() })),
    inBearer("another key without a kid", mine({ kid: undefined })),
    inBearer("its own key in the header (jwk)", mine({ jwk }), mine({ jwk, kid: "own" }), mine({ jwk, kid: undefined })),
    inBearer(
      "its own key set by URL (jku)",
      mine({ jku: `${attackerUrl}/jwks.json`, kid: "own" }),
      mine({ jku: `${attackerUrl}/jwks.json` }),
    ),
    inBearer("its own certificate by address (x5u)", mine({ x5u: `${attackerUrl}/cert.pem`, kid: "own" })),
    inBearer("its own certificate in the header (x5c)", mine({ x5c: [der] }), mine({ x5c: [der], kid: "own" })),
    inBearer(
      "a kid that is a path",
      ...ids(["../../../../dev/null", "/dev/null", "file:///dev/null", "..\\..\\nul", "/proc/self/environ"]),
    ),
    inBearer(
      "a kid that is SQL",
      ...ids(["' or '1'='1", `' union select '${JSON.stringify(jwk)}' --`, "1; drop table auth.signing_keys"]),
    ),
    inBearer("a kid that is an address", ...ids([`${attackerUrl}/jwks.json`, attackerUrl])),
    inBearer("a kid that is a command", ...ids(["|/bin/true", "$(id)", "`id`"])),
    inBearer("a kid that is no text", ...ids([0, null, [key.kid], { toString: key.kid }, true])),
    inBearer(
      "a kid of another shape",
      ...ids(["", " ", `${key.kid}\0`, key.kid.toUpperCase(), "__proto__", "constructor", "x".repeat(2000)]),
    ),
    inBearer("ES256", makeToken({ ...header, alg: "ES256" }, claims, byKey(ec.privateKey, "sha256"))),
    inBearer("a P-256 signature that says EdDSA", makeToken(header, claims, byKey(ec.privateKey, "sha256"))),
    inBearer(
      "RS256 and PS256",
      ...["RS256", "PS256"].map((alg) =>
        makeToken({ ...header, alg }, claims, (data) => sign("sha256", Buffer.from(data), rsa.privateKey)),
      ),
    ),
    inBearer(
      "Ed448",
      makeToken(header, claims, byKey(ed448.privateKey)),
      makeToken({ ...header, alg: "Ed448" }, claims, byKey(ed448.privateKey)),
    ),
    inBearer(
      "a zero signature for ES256",
      makeToken({ ...header, alg: "ES256" }, claims, () => Buffer.alloc(64)),
    ),
    inBearer(
      "the key's digest as the key",
      makeToken({ ...header, alg: "HS256" }, claims, bySecret(createHash("sha256").update(String(key.publicJwk.x)).digest())),
    ),
  ];
}
