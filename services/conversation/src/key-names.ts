import type { Client } from "@connectrpc/connect";
import type { TokenService } from "@turnwright/contract/auth/v1/token_service";
import type { RunInfo } from "@turnwright/contract/conversation/v1/run";
import { createFailureLog } from "@turnwright/platform/failure-log";
import type { Logger } from "@turnwright/platform/logger";

/** A response waits no longer for names: it goes without them. */
const timeoutMs = 1_000;
/** How long a name is kept, and how long auth is left alone after a failure. */
const keptMs = 30_000;
const restMs = 2_000;
/** The most credentials whose names are kept. */
const mostKept = 10_000;
/** The most names of one question. */
const mostAsked = 100;

/** Sets the names of the keys that started some runs. */
export type NameKeys = (runs: readonly (RunInfo | undefined)[]) => Promise<void>;

/**
 * Makes the function that names keys, one question to auth for a page at most. Names are kept for half a minute, the
 * lack of one too: sessions have none. While auth is away, runs go without names.
 */
export function createKeyNames({ tokens, logger }: { tokens: Client<typeof TokenService>; logger: Logger }): NameKeys {
  const failures = createFailureLog(logger);
  let kept = new Map<string, { name: string; until: number }>();
  let restUntil = 0;

  const ask = async (tokenIds: string[]) => {
    const { apiKeys } = await tokens.nameCredentials({ tokenIds }, { timeoutMs });
    const names = new Map(apiKeys.map(({ id, name }) => [id, name]));
    const until = Date.now() + keptMs;
    if (kept.size + tokenIds.length > mostKept) kept = new Map();
    for (const id of tokenIds) kept.set(id, { name: names.get(id) ?? "", until });
  };

  return async (runs) => {
    const now = Date.now();
    const isKnown = (id: string) => (kept.get(id)?.until ?? 0) > now;
    const ids = new Set(runs.flatMap((run) => (run === undefined || run.tokenId === "" ? [] : [run.tokenId])));
    const unknown = [...ids].filter((id) => !isKnown(id));
    if (unknown.length > 0 && now >= restUntil) {
      try {
        await ask(unknown.slice(0, mostAsked));
      } catch (error) {
        restUntil = Date.now() + restMs;
        failures.warn({ message: "runs are shown without the names of their keys", subject: [], error, fields: () => ({}) });
      }
    }
    for (const run of runs) if (run !== undefined) run.keyName = kept.get(run.tokenId)?.name ?? "";
  };
}
