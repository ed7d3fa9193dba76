import type { CallOptions, Client, HandlerContext } from "@connectrpc/connect";
import type { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { internalTokenHeader, requireIdentity } from "@turnwright/platform/identity/identity";
import { forward } from "@turnwright/platform/rpc/forward";
import { isOutageOrTimeout } from "../outage.ts";
import { firstRenewalMs, renewalMs, retryMs } from "./run-credentials.ts";

/** The most credentials whose renewed tokens are kept. */
const maxCredentials = 10_000;

interface Renewed {
  readonly token: Promise<string>;
  readonly renewAt: number;
}

/** A credential that reads, and options for calls with it. */
export interface Reader {
  readonly tokenId: string;
  options(): Promise<CallOptions>;
}

/**
 * Credentials of readers that outlive the internal token they came with. A new token is minted when a reader has
 * something to read, once for all readers of a credential; while nothing happens, nothing is minted.
 */
export class ReaderCredentials {
  readonly #tokens: Client<typeof TokenService>;
  readonly #renewed = new Map<string, Renewed>();

  constructor(deps: { tokens: Client<typeof TokenService> }) {
    this.#tokens = deps.tokens;
  }

  /** The caller as a reader. Its options throw INVALID_TOKEN once its credential has ended. */
  of(ctx: HandlerContext): Reader {
    const { userId, tokenId } = requireIdentity(ctx);
    const { headers } = forward(ctx);
    const ownUntil = Date.now() + firstRenewalMs;
    return {
      tokenId,
      options: async () => {
        if (Date.now() < ownUntil) return { headers };
        const token = await this.#tokenOf(userId, tokenId);
        return { headers: token === undefined ? headers : { ...headers, [internalTokenHeader]: token } };
      },
    };
  }

  /** A token of a credential; undefined during an outage of auth, when the reader's own one may still be valid. */
  async #tokenOf(userId: string, tokenId: string): Promise<string | undefined> {
    const now = Date.now();
    let renewed = this.#renewed.get(tokenId);
    if (renewed === undefined || renewed.renewAt <= now) {
      const before = renewed?.token;
      renewed = { token: this.#mint(userId, tokenId), renewAt: now + renewalMs };
      this.#keep(tokenId, renewed);
      renewed.token.catch((error) => {
        // The token before this one is used until it expires.
        const token = isOutageOrTimeout(error) ? before : undefined;
        if (token === undefined) this.#renewed.delete(tokenId);
        else this.#keep(tokenId, { token, renewAt: Date.now() + retryMs });
      });
    }
    try {
      return await renewed.token;
    } catch (error) {
      if (reasonOf(error) === ErrorReason.RUN_CREDENTIAL_ENDED) {
        throw fail(ErrorReason.INVALID_TOKEN, "The credential has ended.", { cause: error });
      }
      if (!isOutageOrTimeout(error)) throw error;
      return await this.#renewed.get(tokenId)?.token;
    }
  }

  #keep(tokenId: string, renewed: Renewed): void {
    this.#renewed.delete(tokenId);
    this.#renewed.set(tokenId, renewed);
    const [oldest] = this.#renewed.keys();
    if (this.#renewed.size > maxCredentials && oldest !== undefined) this.#renewed.delete(oldest);
  }

  async #mint(userId: string, tokenId: string): Promise<string> {
    const { internalToken } = await this.#tokens.mintInternalToken({ userId, tokenId }, { timeoutMs: 5_000 });
    return internalToken;
  }
}
