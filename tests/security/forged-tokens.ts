import { tokensOfOtherKinds } from "./bad-credentials.ts";
import { type Claims, partsOf } from "./forge.ts";
import { wrongClaims } from "./forged-claims.ts";
import { foreignKeys, unsignedAndConfused } from "./forged-keys.ts";
import { misplaced } from "./forged-places.ts";
import { forgedSignatures } from "./forged-signatures.ts";
import type { Account, SigningKey, Stage } from "./stage.ts";

/** The forger's material: a victim's token, the public key, and, for tokens with a single fault, the private key. */
export interface Forge {
  readonly victim: Account;
  readonly claims: Claims;
  readonly header: Readonly<Record<string, unknown>>;
  readonly key: SigningKey;
  /** The address of the attacker's own key set. */
  readonly attackerUrl: string;
  readonly others: Awaited<ReturnType<typeof tokensOfOtherKinds>>;
}

/** A class of forgeries; each sample is a list of header names and values in turn, with an optional path. */
export interface ForgedClass {
  readonly name: string;
  readonly samples: readonly { readonly headers: readonly string[]; readonly query?: string }[];
}

/** A class of tokens sent as Bearer tokens. */
export const inBearer = (name: string, ...tokens: string[]): ForgedClass => ({
  name,
  samples: tokens.map((token) => ({ headers: ["authorization", `Bearer ${token}`] })),
});

/** Prepares the forger's material with a new victim. */
export async function prepareForge(stage: Stage, attackerUrl: string): Promise<Forge> {
  const key = await stage.signingKey();
  const victim = await stage.account();
  const { header, payload } = partsOf(victim.accessToken);
  const parse = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
  const others = await tokensOfOtherKinds(stage, victim);
  return { victim, key, attackerUrl, others, claims: parse(payload), header: parse(header) };
}

/** Every class of forgery. */
export function forgedClasses(forge: Forge): ForgedClass[] {
  return [
    ...unsignedAndConfused(forge),
    ...foreignKeys(forge),
    ...forgedSignatures(forge),
    ...wrongClaims(forge),
    ...misplaced(forge),
  ];
}
