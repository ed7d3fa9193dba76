import type { ModelClient } from "../model-client.ts";
import type { ModelPrice } from "../price.ts";
import type { Breaker, BreakerState } from "./breaker.ts";
import type { BodyRewrite } from "./rewrite-body.ts";

/** Abilities that a models file may state for a model. */
export const capabilities = ["tools", "parallel_tools", "json_schema", "vision", "audio", "reasoning"] as const;

/** An ability of a model. */
export type Capability = (typeof capabilities)[number];

/** A model at a provider: one place to which a call may be sent. */
export interface Target {
  /** Name of the provider. */
  readonly provider: string;
  /** Public name of the model: allow-lists and records of usage name it. */
  readonly model: string;
  /** The provider's name of the model. */
  readonly upstream: string;
  /** Undefined: without a price. */
  readonly price: ModelPrice | undefined;
  /** Tokens that its context window holds; undefined: unknown. */
  readonly window?: number;
  /** The most tokens of an answer; undefined: unknown. */
  readonly maxOutput?: number;
  readonly client: ModelClient;
  readonly breaker: Breaker;
  /** The changes to each body; undefined: bodies are sent as they are. */
  readonly rewrite: BodyRewrite | undefined;
}

/** The targets of a call. Their connections stay open until `release` is called, also after a reload. */
export interface OpenRoute {
  /** In the order in which they are tried: those of the named model first, then those of its fallbacks. */
  readonly targets: readonly Target[];
  /** Must be called once, when the call has ended. */
  release(): void;
}

/** A model as clients may list it. */
export interface RoutedModel {
  readonly id: string;
  /** Name of its first provider. */
  readonly provider: string;
}

/** The state of a breaker that is not closed, or that has counted failures. */
export interface BreakerSnapshot {
  readonly provider: string;
  /** The provider's name of the model. */
  readonly model: string;
  readonly state: BreakerState;
  /** Consecutive failures. */
  readonly failures: number;
  /** Milliseconds until the next probe; 0 unless open. */
  readonly retryInMs: number;
}

/** Knows to which providers the calls of a model go. */
export interface ModelRoutes {
  /** The model of calls that name none. */
  readonly defaultModel: string;
  /**
   * The targets of a model, or of an alias, in the order in which they are tried; a weighted choice is made each time.
   * Without a models file every name is one target. Throws MODEL_NOT_FOUND for a name that the models file lacks.
   */
  resolve(publicName: string): readonly Target[];
  /** As `resolve`, for a call that is about to be made. */
  open(publicName: string): OpenRoute;
  /** Tokens that every target of the model itself can take; undefined: unknown. Never throws. */
  windowOf(publicName: string): number | undefined;
  /** Abilities that the models file states; undefined: nothing. Never throws. */
  capabilitiesOf(publicName: string): ReadonlySet<Capability> | undefined;
  /** Name of the provider whose own fields of a message may be sent to this target, and to no other. */
  familyOf(target: Pick<Target, "provider">): string;
  /** The most calls of a provider at a time; Infinity: unlimited. */
  connectionsOf(provider: string): number;
  /** The models and aliases of the models file; undefined without one. */
  list(): readonly RoutedModel[] | undefined;
  /** The breakers that are open or have counted failures. */
  breakers(): BreakerSnapshot[];
  /** Closes all connections. */
  close(): Promise<void>;
}
