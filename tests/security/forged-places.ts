import { generateKeyPairSync } from "node:crypto";
import { byKey, encode, makeToken } from "./forge.ts";
import { type Forge, type ForgedClass, inBearer } from "./forged-tokens.ts";

const inHeader = (name: string, ...values: string[]): ForgedClass => ({
  name,
  samples: values.map((value) => ({ headers: ["authorization", value] })),
});

/** A genuine token, or another kind of token of the system, in a place or form where it does not belong. */
export function misplaced({ victim, others, claims, header, key }: Forge): ForgedClass[] {
  const token = victim.accessToken;
  const forged = makeToken(header, claims, byKey(generateKeyPairSync("ed25519").privateKey));
  const headers = (name: string, ...pairs: (readonly string[])[]): ForgedClass => ({
    name,
    samples: pairs.map((pair) => ({ headers: pair })),
  });
  const queries = ["access_token", "token", "authorization", "api_key", "jwt", "bearer_token"];
  return [
    inBearer("a refresh token", others.refresh),
    inBearer("an internal token", others.internal),
    inBearer("a service token", others.service),
    inBearer("a grant", others.grant),
    inBearer(
      "an unknown API key",
      `sk-${"a".repeat(49)}`,
      "sk-",
      "sk-short",
      `sk-${"A".repeat(300)}`,
      `SK-${"a".repeat(49)}`,
      `sk-${"ä".repeat(10)}`,
    ),
    inHeader(
      "another scheme",
      ...["Basic", "Digest", "Token", "JWT", "DPoP", "ApiKey", "Negotiate", "Bearer2", "XBearer"].map(
        (scheme) => `${scheme} ${token}`,
      ),
    ),
    inHeader("no scheme", token, ` ${token}`, `:${token}`, `Bearer:${token}`, `Bearer=${token}`, `Bearer${token}`),
    inHeader("a scheme in small letters, for a forged token", `bearer ${forged}`, `BEARER ${forged}`, `bEaReR ${forged}`),
    inHeader("nothing after the scheme", "Bearer", "Bearer ", "Bearer null", "Bearer undefined", "Bearer []", "Bearer 0"),
    inHeader(
      "odd white space",
      `Bearer  ${token}`,
      `Bearer\t${token}`,
      `Bearer \t${token}`,
      `Bearer\u00a0${token}`,
      `Bearer ${token.replace(".", ". ")}`,
      `Bearer\u0085${token}`,
    ),
    inHeader(
      "look-alike letters",
      `\u00c2earer ${token}`,
      `B\u00a0earer ${token}`,
      `Bearer ${token}\u00ad`,
      `Bearer \u00ad${token}`,
      `Bearer ${Buffer.from(`\u200b${token}`).toString("latin1")}`,
    ),
    inHeader(
      "two tokens",
      `Bearer ${forged} ${token}`,
      `Bearer ${forged}, Bearer ${token}`,
      `Bearer ${token}, Bearer ${forged}`,
      `Bearer ${token},${forged}`,
      `Bearer ${token};${forged}`,
    ),
    headers(
      "two headers, the forged one first",
      ["authorization", `Bearer ${forged}`, "authorization", `Bearer ${token}`],
      ["authorization", "", "authorization", `Bearer ${token}`],
    ),
    headers("in quotes or brackets", ...['"', "'", "<", "("].map((mark) => ["authorization", `Bearer ${mark}${token}${mark}`])),
    headers(
      "percent-encoded or as base64",
      ["authorization", `Bearer ${token.replaceAll(".", "%2E")}`],
      ["authorization", `Bearer ${encode(token)}`],
    ),
    headers(
      "in a cookie",
      ...["access_token", "token", "authorization", "Authorization", "session", "jwt"].map((name) => [
        "cookie",
        `${name}=${token}`,
      ]),
      ["cookie", `authorization=Bearer ${token}`],
    ),
    {
      name: "in the query",
      samples: queries.flatMap((name) => [
        { headers: [], query: `${name}=${token}` },
        { headers: [], query: `${name}=Bearer%20${token}` },
      ]),
    },
    headers(
      "in another header",
      ...[
        "x-authorization",
        "proxy-authorization",
        "x-api-key",
        "api-key",
        "x-access-token",
        "x-auth-token",
        "x-forwarded-authorization",
        "x-original-authorization",
        "authentication",
        "www-authenticate",
      ].map((name) => [name, `Bearer ${token}`]),
    ),
    headers(
      "as a user vouched for by a proxy",
      ...["x-user-id", "x-forwarded-user", "x-remote-user", "x-authenticated-userid", "remote-user", "x-consumer-id"].map(
        (name) => [name, victim.userId],
      ),
    ),
    headers(
      "in the mesh's own headers",
      ["x-turnwright-identity", others.internal],
      ["x-turnwright-service", others.service],
      ["x-turnwright-identity", others.internal, "x-turnwright-service", others.service],
      ["x-turnwright-identity", token],
    ),
    headers(
      "a huge token",
      ["authorization", `Bearer ${makeToken(header, { ...claims, more: "x".repeat(9_000) }, byKey(key.privateKey))}`],
      ["authorization", `Bearer ${"a".repeat(15_000)}`],
      ["authorization", `Bearer ${".".repeat(8_000)}`],
      ["authorization", `Bearer ${"a.".repeat(4_000)}`],
    ),
  ];
}
