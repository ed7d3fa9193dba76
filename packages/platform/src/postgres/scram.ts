import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";

/**
 * A password in the form in which PostgreSQL stores it (SCRAM-SHA-256, RFC 5803), so that the password itself appears
 * in no statement and no log. For ASCII passwords only; others would have to be normalised first.
 */
export function scramVerifier(password: string): string {
  const iterations = 4_096;
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password, salt, iterations, 32, "sha256");
  const keyOf = (name: string) => createHmac("sha256", salted).update(name).digest();
  const stored = createHash("sha256").update(keyOf("Client Key")).digest("base64");
  return `SCRAM-SHA-256$${iterations}:${salt.toString("base64")}$${stored}:${keyOf("Server Key").toString("base64")}`;
}
