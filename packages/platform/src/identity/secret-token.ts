import { errors, type JWTPayload, jwtVerify, SignJWT } from "jose";
import { acceptedSecrets, type Secrets, signingSecret } from "../config/secrets.ts";
import { issuer } from "./issuer.ts";

const textEncoder = new TextEncoder();

/** Signs a token (HS256) with a secret shared by signer and verifier; it expires after `seconds`. */
export async function signWithSecret(
  secrets: Secrets,
  token: { claims: JWTPayload; subject: string; audience: string; typ: string; seconds: number },
): Promise<string> {
  return new SignJWT(token.claims)
    .setProtectedHeader({ alg: "HS256", typ: token.typ })
    .setIssuer(issuer)
    .setAudience(token.audience)
    .setSubject(token.subject)
    .setIssuedAt()
    .setExpirationTime(Math.floor(Date.now() / 1000) + token.seconds)
    .sign(textEncoder.encode(signingSecret(secrets)));
}

/**
 * The payload of a token signed with one of the secrets, for this audience and type, which has not been expired for
 * longer than `clockTolerance` seconds. Throws jose's errors.
 */
export async function verifyWithSecret(
  secrets: Secrets,
  token: string,
  options: { audience: string; typ: string; clockTolerance: number },
): Promise<JWTPayload> {
  const [signing = "", ...others] = acceptedSecrets(secrets);
  const verify = async (secret: string) =>
    (await jwtVerify(token, textEncoder.encode(secret), { ...options, issuer, algorithms: ["HS256"] })).payload;
  let verifying = verify(signing);
  for (const other of others) {
    verifying = verifying.catch((error: unknown) => {
      if (error instanceof errors.JWSSignatureVerificationFailed) return verify(other);
      throw error;
    });
  }
  return verifying;
}
