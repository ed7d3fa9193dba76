import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { ModelClient } from "../model-client.ts";
import type { PriceTable } from "../price.ts";
import type { Breakers } from "./breakers.ts";
import type { Models } from "./models-file.ts";
import type { Capability, RoutedModel, Target } from "./route.ts";

/** A target with its share of the calls. */
interface Weighted {
  readonly target: Target;
  readonly weight: number;
}

/** The routes of one version of a models file. */
export interface FileRoutes {
  readonly defaultModel: string;
  resolve(publicName: string): readonly Target[];
  windowOf(publicName: string): number | undefined;
  capabilitiesOf(publicName: string): ReadonlySet<Capability> | undefined;
  list(): readonly RoutedModel[];
}

/**
 * Targets in a random order in which each comes first as often as its weight says; those of weight 0 come last, in
 * their own order. `random`: from 0 to 1.
 */
export function byWeight(targets: readonly Weighted[], random: () => number): Target[] {
  const left = targets.filter(({ weight }) => weight > 0);
  const ordered: Target[] = [];
  while (left.length > 0) {
    let at = random() * left.reduce((sum, { weight }) => sum + weight, 0);
    let index = 0;
    while (index < left.length - 1 && at >= (left[index] as Weighted).weight) at -= (left[index++] as Weighted).weight;
    const [chosen] = left.splice(index, 1);
    if (chosen !== undefined) ordered.push(chosen.target);
  }
  for (const { target, weight } of targets) if (weight === 0) ordered.push(target);
  return ordered;
}

/** The targets of a public name of a model, as `called` by a client: the model's name or an alias of it. */
function targetsOf(models: Models, deps: RouteDeps, name: string, called: string): Weighted[] {
  const { providers } = models;
  const entry = models.models[name];
  if (entry === undefined) return [];
  const { provider = "", upstream, targets = [{ provider, upstream, weight: 1 }] } = entry;
  return targets.map((one) => {
    const wire = one.upstream ?? name;
    const { params, stream_options: hasStreamOptions = true } = providers[one.provider] ?? {};
    const deny = new Set([...(params?.deny ?? []), ...(hasStreamOptions ? [] : ["stream_options"])]);
    const rename = new Map(Object.entries(params?.rename ?? {}));
    const isPlain = wire === called && deny.size === 0 && rename.size === 0;
    const target: Target = {
      provider: one.provider,
      model: name,
      upstream: wire,
      price: ("price" in one ? one.price : undefined) ?? entry.price ?? deps.prices.get(name),
      window: ("window" in one ? one.window : undefined) ?? entry.window,
      maxOutput: entry.max_output,
      client: deps.clientOf(one.provider),
      breaker: deps.breakers.of(one.provider, wire),
      rewrite: isPlain ? undefined : { model: wire, deny, rename },
    };
    return { target, weight: one.weight };
  });
}

/** Dependencies of routes. */
interface RouteDeps {
  readonly prices: PriceTable;
  readonly breakers: Breakers;
  clientOf(provider: string): ModelClient;
  readonly random: () => number;
}

/** The ways of one name's calls. */
interface Route {
  readonly own: readonly Weighted[];
  readonly fallbacks: readonly (readonly Weighted[])[];
}

/**
 * Routes by a models file. `asked`: the default model that the environment names; it counts unless the file names
 * another one or lacks it.
 */
export function createFileRoutes(models: Models, asked: string, deps: RouteDeps): FileRoutes {
  const nameOf = (called: string) => models.aliases[called] ?? called;
  const called = [...Object.keys(models.models), ...Object.keys(models.aliases)];
  const routes = new Map<string, Route>(
    called.map((name) => {
      const entry = models.models[nameOf(name)];
      const own = targetsOf(models, deps, nameOf(name), name);
      // The body names the called model: a fallback's body is always rewritten, unless the names agree.
      const fallbacks = (entry?.fallbacks ?? []).map((fallback) => targetsOf(models, deps, nameOf(fallback), name));
      return [name, { own, fallbacks }];
    }),
  );
  const listed = called.map((id) => ({ id, provider: routes.get(id)?.own[0]?.target.provider ?? "" }));
  const smallest = (windows: readonly (number | undefined)[]) => {
    const known = windows.filter((window) => window !== undefined);
    return known.length === 0 ? undefined : Math.min(...known);
  };
  return {
    defaultModel: models.default_model ?? (routes.has(asked) ? asked : (called[0] ?? asked)),
    resolve(publicName) {
      const route = routes.get(publicName);
      if (route === undefined) {
        throw fail(ErrorReason.MODEL_NOT_FOUND, `There is no model ${JSON.stringify(publicName)} here.`, { param: "model" });
      }
      const { own, fallbacks } = route;
      const [only] = own;
      if (own.length === 1 && fallbacks.length === 0 && only !== undefined) return [only.target];
      const targets = [own, ...fallbacks].flatMap((list) => byWeight(list, deps.random));
      const isFirst = (target: Target, index: number) =>
        targets.findIndex(({ provider, upstream }) => provider === target.provider && upstream === target.upstream) === index;
      return targets.filter(isFirst);
    },
    windowOf: (publicName) => smallest((routes.get(publicName)?.own ?? []).map(({ target }) => target.window)),
    capabilitiesOf(publicName) {
      const stated = models.models[nameOf(publicName)]?.capabilities;
      return stated && new Set(stated);
    },
    list: () => listed,
  };
}
