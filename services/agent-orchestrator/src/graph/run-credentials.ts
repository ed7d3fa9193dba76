import type { CallOptions, Client } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { internalTokenHeader } from "@turnwright/platform/identity/identity";

// The gateway hands on tokens that hold for a minute at least; a run may take longer.
const firstRenewalMs = 30_000;
const renewalMs = 240_000;
const againMs = 10_000;
const passing: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.UNAVAILABLE,
  ErrorReason.DATABASE_UNAVAILABLE,
  ErrorReason.DEADLINE_EXCEEDED,
]);

/**
 * Options for the calls of a run: the headers of the call that began it, with the internal token renewed under way,
 * always for the credential that started the run. One that has ended cannot be renewed, which ends the run.
 */
export function runCredentials(
  /** Headers of the call that began the run, or of a token that was minted for it. */
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
      // Not bound to the run's signal: a run that was told to stop must still be able to say so.
      const { internalToken } = await run.tokens.mintInternalToken(
        { userId: identity.userId, tokenId: identity.tokenId },
        { timeoutMs: 5_000 },
      );
      options.headers = { ...options.headers, [internalTokenHeader]: internalToken };
      renewAt = Date.now() + renewalMs;
    } catch (error) {
      renewAt = Date.now() + againMs;
      // While auth does not answer, the old token serves as long as it holds.
      if (!passing.has(reasonOf(error))) throw error;
    }
    return options;
  };
}
