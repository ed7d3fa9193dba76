import { toJson } from "@bufbuild/protobuf";
import type { CallOptions, Client } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import { ToolDefinitionSchema, type ToolSpec } from "@turnwright/contract/tool/v1/tool";
import { allows } from "@turnwright/platform/identity/identity";
import type { Logger } from "@turnwright/platform/logger";

const freshMs = 10_000;
/** The most allow-lists whose definitions are cached: every key may have a list of its own. */
const maxLists = 1_000;

/** The executors' tools, for runs and completions. */
export interface ToolCatalogue {
  /** All tools by name. */
  specs(options: CallOptions): Promise<ReadonlyMap<string, ToolSpec>>;
  /**
   * JSON text of the definitions that a token may use, for the model's `tools`; undefined when there are none.
   * `unattended` leaves out tools that need approval.
   */
  definitionsJson(identity: Identity, options: CallOptions & { unattended: boolean }): Promise<string | undefined>;
}

interface Snapshot {
  readonly at: number;
  readonly specs: ReadonlyMap<string, ToolSpec>;
  /** JSON text by `unattended` and allow-list. */
  readonly json: Map<string, string | undefined>;
}

/** Reads the executors' tools and caches them for 10 s. The old list is served while a new one is fetched. */
export function createToolCatalogue(deps: { executions: Client<typeof ExecutionService>; logger: Logger }): ToolCatalogue {
  let current: Snapshot | undefined;
  let fetching: Promise<Snapshot> | undefined;

  const fetch = (options: CallOptions): Promise<Snapshot> => {
    fetching ??= deps.executions
      .describeTools({}, { headers: options.headers, timeoutMs: 5_000 })
      .then(({ tools }) => {
        current = {
          at: Date.now(),
          specs: new Map(tools.map((spec) => [spec.definition?.function?.name ?? "", spec])),
          json: new Map(),
        };
        return current;
      })
      .finally(() => {
        fetching = undefined;
      });
    return fetching;
  };
  const snapshot = (options: CallOptions): Snapshot | Promise<Snapshot> => {
    if (current === undefined) return fetch(options);
    if (Date.now() - current.at > freshMs) {
      fetch(options).catch((error) => deps.logger.warn({ err: error }, "the list of tools could not be renewed"));
    }
    return current;
  };

  return {
    async specs(options) {
      return (await snapshot(options)).specs;
    },
    async definitionsJson(identity, options) {
      const found = snapshot(options);
      const { specs, json } = found instanceof Promise ? await found : found;
      const key = JSON.stringify([options.unattended, identity.allowedTools]);
      if (json.has(key)) return json.get(key);
      const definitions = [...specs]
        .filter(([name, spec]) => allows(identity.allowedTools, name) && !(options.unattended && spec.requiresApproval))
        .map(([, spec]) => spec.definition)
        .filter((definition) => definition !== undefined)
        .map((definition) => toJson(ToolDefinitionSchema, definition, { useProtoFieldName: true }));
      const text = definitions.length === 0 ? undefined : JSON.stringify(definitions);
      if (json.size >= maxLists) json.clear();
      json.set(key, text);
      return text;
    },
  };
}
