/**
 * A secret that parts share, or two while one of them is being replaced: the first signs and encrypts, and each is
 * accepted.
 */
export type Secrets = string | readonly [string, ...string[]];

/** The secret that signs, and the one that is accepted beside it. */
export function secretsOf(signing: string, accepted: string | undefined): Secrets {
  return accepted === undefined || accepted === signing ? signing : [signing, accepted];
}

/** The secret that signs. */
export function signingSecret(secrets: Secrets): string {
  return typeof secrets === "string" ? secrets : secrets[0];
}

/** Every secret that is accepted, the signing one first. */
export function acceptedSecrets(secrets: Secrets): readonly string[] {
  return typeof secrets === "string" ? [secrets] : secrets;
}
