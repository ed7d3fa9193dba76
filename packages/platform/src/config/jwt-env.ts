import { secret } from "./env.ts";
import { type Secrets, secretsOf } from "./secrets.ts";

/** Environment variables of the parts that sign or verify access tokens, to spread into their schemas. */
export const jwtEnv = {
  /** The secret of access tokens (HS256), the same for all of these parts; unset: EdDSA with generated keys. */
  JWT_SECRET: secret(),
  /** A second secret under which access tokens are accepted, while JWT_SECRET is being replaced. */
  JWT_SECRET_ACCEPTED: secret(),
};

/** The secret of access tokens, with the one accepted beside it; undefined when they are signed by keys. */
export function jwtSecrets(config: {
  JWT_SECRET?: string | undefined;
  JWT_SECRET_ACCEPTED?: string | undefined;
}): Secrets | undefined {
  return config.JWT_SECRET === undefined ? undefined : secretsOf(config.JWT_SECRET, config.JWT_SECRET_ACCEPTED);
}
