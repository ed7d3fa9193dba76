import { tokensOfOtherKinds } from "./bad-credentials.ts";
import { type Claims, partsOf } from "./forge.ts";
import { wrongClaims } from "./forged-claims.ts";
import { foreignKeys, unsignedAndConfused } from "./forged-keys.ts";
import { misplaced } from "./forged-places.ts";
import { forgedSignatures } from "./forged-signatures.ts";
import type { Account, SigningKey, Stage } from "./stage.ts";

/** What forgers know and have: a victim's token, the public key, and here the private one, so that one thing alone is wrong. */
export interface Forge {
  readonly victim: Account;
  readonly claims: Claims;
  readonly header: Readonly<Record<string, unknown>>;
  readonly key: SigningKey;
  /** Where an attacker's own keys are served. */
  readonly attackerUrl: string;
  readonly others: Awaited<ReturnType<typeof tokensOfOtherKinds>>;
}

/** A class of forgeries; each sample is a set of request headers, in turn names and values, and perhaps another path. */
export interface ForgedClass {
  readonly name: string;
  readonly samples: readonly { readonly headers: readonly string[]; readonly query?: string }[];
}

/** A class of tokens in the place where a token belongs. */
export const inBearer = (name: string, ...tokens: string[]): ForgedClass => ({
  name,
  samples: tokens.map((token) => ({ headers: ["authorization", `Bearer ${token}`] })),
});

/** Everything needed to forge, with a victim of its own. */
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
