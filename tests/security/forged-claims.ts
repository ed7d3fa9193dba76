import { randomUUID } from "node:crypto";
import { byKey, bySecret, type Claims, makeToken, partsOf, unsigned } from "./forge.ts";
import { type Forge, type ForgedClass, inBearer } from "./forged-tokens.ts";

/** Signed by the genuine key, so that only the claims are wrong. */
export function wrongClaims({ claims, header, key, victim }: Forge): ForgedClass[] {
  const now = Math.floor(Date.now() / 1000);
  const signed = (changes: Claims, headerChanges: Record<string, unknown> = {}) =>
    makeToken({ ...header, ...headerChanges }, { ...claims, ...changes }, byKey(key.privateKey));
  const raw = (payload: unknown) => makeToken(header, payload, byKey(key.privateKey));
  const each = (name: string, claim: string, values: readonly unknown[]) =>
    inBearer(name, ...values.map((value) => signed({ [claim]: value })));
  return [
    each("another issuer", "iss", ["evil", "turnwright ", "TURNWRIGHT", "", null, 1, ["turnwright"], undefined]),
    each("another audience", "aud", [
      "evil",
      "turnwright.internal",
      "turnwright.mesh",
      "turnwright.grant",
      "",
      null,
      [],
      {},
      undefined,
    ]),
    inBearer(
      "another type",
      ...["JWT", "", "turnwright-internal+jwt", "turnwright-service+jwt", "turnwright-grant+jwt", "jwt", null, 1, undefined].map(
        (typ) => signed({}, { typ }),
      ),
    ),
    each("expired", "exp", [now - 60, now - 86_400, 0, 1, -1, Number.MIN_SAFE_INTEGER]),
    each("no expiry, or none that is a number", "exp", [undefined, null, "never", String(now + 600), [], true, {}]),
    inBearer("an end beyond numbers", raw(JSON.stringify({ ...claims, exp: 0 }).replace(/"exp":0/, '"exp":1e999'))),
    each("not yet valid", "nbf", [now + 600, now + 86_400, "soon", {}]),
    each("unknown or invalid subject", "sub", [undefined, null, "", "me", 1, [victim.userId], randomUUID()]),
    each("unknown or invalid session", "sid", [undefined, null, "", "mine", 1, [victim.sessionId], randomUUID()]),
    each("no role", "role", [undefined, null, 1, ["admin"]]),
    inBearer("a payload that is no object", raw("[]"), raw('"text"'), raw("1"), raw("null"), raw("{}")),
    inBearer(
      "a payload that is not JSON",
      raw("{"),
      raw("\ufeff{}"),
      raw(Buffer.from([0xff, 0xfe, 0x7b])),
      raw(""),
      raw(`${JSON.stringify(claims)}x`),
    ),
    inBearer(
      "a header that must be understood (crit)",
      signed({}, { crit: ["urn:evil"], "urn:evil": true }),
      signed({}, { crit: [] }),
      signed({}, { crit: ["exp"] }),
      signed({}, { crit: "b64" }),
    ),
    inBearer("an unencoded payload (b64)", signed({}, { b64: false, crit: ["b64"] })),
    inBearer(
      "alg twice, the last one `none`",
      ...['{"alg":"EdDSA","alg":"none"', '{"alg":"none","alg":"EdDSA"'].flatMap((start) => {
        const doubled = `${start},"typ":"at+jwt","kid":"${key.kid}"}`;
        return [makeToken(doubled, claims, unsigned), makeToken(doubled, claims, bySecret(""))];
      }),
    ),
    inBearer(
      "a claim twice, unsigned",
      makeToken(header, JSON.stringify(claims).replace("{", '{"role":"admin",'), () => partsOf(victim.accessToken).signature),
    ),
  ];
}
