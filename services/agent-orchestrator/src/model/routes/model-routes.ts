import type { Logger } from "@turnwright/platform/logger";
import type { ModelClient } from "../model-client.ts";
import type { PriceTable } from "../price.ts";
import { Breakers } from "./breakers.ts";
import { createFileRoutes, type FileRoutes } from "./file-routes.ts";
import type { Models, ReadModels } from "./models-file.ts";
import type { ModelRoutes, Target } from "./route.ts";

/** A provider whose client several versions of a models file may share. */
interface OpenProvider {
  readonly client: ModelClient;
  /** The versions that use it. */
  users: number;
}

/** One version of a models file, in use as long as calls are in flight on it. */
interface Version {
  readonly models: Models;
  readonly routes: FileRoutes;
  /** Keys of its providers in the table of open ones. */
  readonly providers: readonly string[];
  /** Its calls in flight, and one for being the newest. */
  holds: number;
}

/** The provider of all models when there is no models file. */
export interface OnlyProvider {
  readonly name: string;
  readonly client: ModelClient;
  /** The most calls at a time. */
  readonly connections: number;
  readonly defaultModel: string;
}

/** Makes a client for a provider of a models file. */
export type MakeClient = (name: string, models: Models) => ModelClient;

/** Routes without a models file: every name is passed on to the only provider. */
export function createPlainRoutes(only: OnlyProvider, prices: PriceTable): ModelRoutes {
  const { name: provider, client, connections, defaultModel } = only;
  const breakers = new Breakers();
  const resolve = (name: string): Target[] => [
    {
      provider,
      model: name,
      upstream: name,
      price: prices.get(name),
      client,
      breaker: breakers.of(provider, name),
      rewrite: undefined,
    },
  ];
  return {
    defaultModel,
    resolve,
    open: (name) => ({ targets: resolve(name), release: () => {} }),
    windowOf: () => undefined,
    capabilitiesOf: () => undefined,
    familyOf: (target) => target.provider,
    connectionsOf: () => connections,
    list: () => undefined,
    breakers: () => breakers.snapshot(),
    close: () => client.close(),
  };
}

/** Routes by a models file that may be replaced while calls are in flight. */
export interface ReloadableRoutes extends ModelRoutes {
  /** Takes a new version of the file. Calls in flight keep theirs; a version with faults changes nothing. */
  take(read: ReadModels): void;
}

/** Makes routes by a models file. `defaultModel` counts when the file has it and names no other. */
export function createReloadableRoutes(
  first: Models,
  deps: {
    readonly defaultModel: string;
    /** The most calls at a time of a provider that states no number. */
    readonly connections: number;
    readonly prices: PriceTable;
    readonly makeClient: MakeClient;
    readonly logger: Logger;
    /** From 0 to 1; Math.random unless given. */
    readonly random?: () => number;
  },
): ReloadableRoutes {
  const { defaultModel, prices, logger, random = Math.random } = deps;
  const breakers = new Breakers();
  const open = new Map<string, OpenProvider>();

  const load = (models: Models): Version => {
    const keys = new Map<string, string>();
    for (const [name, entry] of Object.entries(models.providers)) {
      const key = JSON.stringify([name, entry, models.keys.get(name) ?? null, models.headers.get(name) ?? {}]);
      const provider = open.get(key) ?? { client: deps.makeClient(name, models), users: 0 };
      provider.users += 1;
      open.set(key, provider);
      keys.set(name, key);
    }
    const clientOf = (name: string) => (open.get(keys.get(name) ?? "") as OpenProvider).client;
    const routes = createFileRoutes(models, defaultModel, { prices, breakers, clientOf, random });
    return { models, routes, providers: [...keys.values()], holds: 1 };
  };
  const release = (version: Version): void => {
    version.holds -= 1;
    if (version.holds > 0) return;
    for (const key of version.providers) {
      const provider = open.get(key);
      if (provider === undefined) continue;
      provider.users -= 1;
      if (provider.users > 0) continue;
      open.delete(key);
      provider.client.close().catch((error: unknown) => logger.warn({ err: error }, "a provider's connections were not closed"));
    }
  };

  let version = load(first);
  return {
    get defaultModel() {
      return version.routes.defaultModel;
    },
    resolve: (name) => version.routes.resolve(name),
    open(name) {
      const held = version;
      const targets = held.routes.resolve(name);
      held.holds += 1;
      return { targets, release: () => release(held) };
    },
    windowOf: (name) => version.routes.windowOf(name),
    capabilitiesOf: (name) => version.routes.capabilitiesOf(name),
    familyOf: (target) => target.provider,
    connectionsOf: (provider) => version.models.providers[provider]?.connections ?? deps.connections,
    list: () => version.routes.list(),
    breakers: () => breakers.snapshot(),
    take(read) {
      if (read.faults !== undefined) {
        logger.error({ faults: read.faults }, "the new models file has faults; the earlier one stays in use");
        return;
      }
      const before = version;
      version = load(read.models);
      release(before);
      breakers.keep(new Set(Object.keys(read.models.providers)));
      logger.info({ models: version.routes.list().length }, "the new models file is in use");
    },
    async close() {
      await Promise.all([...open.values()].map(({ client }) => client.close()));
    },
  };
}

/** Adds the default model to dependencies; it is read anew each time, because the models file may name another one. */
export function withDefaultModel<T extends object>(routes: ModelRoutes, deps: T): T & { readonly defaultModel: string } {
  const get = () => routes.defaultModel;
  return Object.defineProperty(deps, "defaultModel", { get, enumerable: true }) as T & { readonly defaultModel: string };
}
