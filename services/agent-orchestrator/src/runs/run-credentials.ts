import type { CallOptions, Client } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { internalTokenHeader } from "@turnwright/platform/identity/identity";
import { isOutageOrTimeout } from "../outage.ts";

/** The gateway forwards tokens that are valid for at least a minute; a run may take longer. */
export const firstRenewalMs = 30_000;
/** Age at which a minted token is replaced, and the pause after a failed renewal, in milliseconds. */
export const [renewalMs, retryMs] = [240_000, 10_000];

/**
 * Options for the calls of a run. They carry the headers of the call that began it and an internal token that is
 * renewed while the run goes on, always for the credential that started the run. When that credential has ended, the
 * renewal fails, which ends the run.
 */
export function runCredentials(
  /** Headers of the call that began the run, or the header of a token that was minted for it. */
  headers: Readonly<Record<string, string>>,
  identity: Identity,
  run: { tokens: Client<typeof TokenService>; signal: AbortSignal; timeoutMs: number },
): () => Promise<CallOptions> {
  const options: CallOptions & { headers: Record<string, string> } = {
    headers: { ...headers },
    signal: run.signal,
    timeoutMs: run.timeoutMs,
  };
  let renewAt = Date.now() + firstRenewalMs;
  return async () => {
    if (Date.now() < renewAt) return options;
    try {
      // Without the run's signal: a run that was told to stop must still be able to commit.
      const { internalToken } = await run.tokens.mintInternalToken(
        { userId: identity.userId, tokenId: identity.tokenId },
        { timeoutMs: 5_000 },
      );
      options.headers = { ...options.headers, [internalTokenHeader]: internalToken };
      renewAt = Date.now() + renewalMs;
    } catch (error) {
      renewAt = Date.now() + retryMs;
      // During an outage of auth the old token is used until it expires.
      if (!isOutageOrTimeout(error)) throw error;
    }
    return options;
  };
}
