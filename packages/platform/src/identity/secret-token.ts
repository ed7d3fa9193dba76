import { type JWTPayload, jwtVerify, SignJWT } from "jose";
import { issuer } from "./issuer.ts";

const textEncoder = new TextEncoder();

/** Signs a token (HS256) with a secret shared by signer and verifier; it expires after `seconds`. */
export async function signWithSecret(
  secret: string,
  token: { claims: JWTPayload; subject: string; audience: string; typ: string; seconds: number },
): Promise<string> {
  return new SignJWT(token.claims)
    .setProtectedHeader({ alg: "HS256", typ: token.typ })
    .setIssuer(issuer)
    .setAudience(token.audience)
    .setSubject(token.subject)
    .setIssuedAt()
    .setExpirationTime(Math.floor(Date.now() / 1000) + token.seconds)
    .sign(textEncoder.encode(secret));
}

/**
 * The payload of a token signed with the secret, for this audience and type, which has not been expired for longer than
 * `clockTolerance` seconds. Throws jose's errors.
 */
export async function verifyWithSecret(
  secret: string,
  token: string,
  options: { audience: string; typ: string; clockTolerance: number },
): Promise<JWTPayload> {
  const { payload } = await jwtVerify(token, textEncoder.encode(secret), {
    ...options,
    issuer,
    algorithms: ["HS256"],
  });
  return payload;
}
