import { type DescMethod, type DescService, getOption, hasOption } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { Access } from "@turnwright/contract/auth/v1/access";
import { surface } from "@turnwright/contract/errors/v1/surface";
import { http } from "@turnwright/contract/google/api/annotations";
import type { InfoService } from "@turnwright/contract/system/v1/info_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { release } from "@turnwright/platform/process/release";
import { accessOf } from "@turnwright/platform/rpc/interceptors";
import { firstFact, type Parts } from "./parts.ts";

/** Currency of all costs. */
const currency = "USD";
/** Milliseconds for which facts of the parts are reused, and that a part may take to tell them. */
const [freshMs, limitMs] = [5_000, 2_000];

/** Facts that other parts know. */
interface MeshFacts {
  readonly registration: string;
  readonly demoModel: boolean;
}

function changesSomething(method: DescMethod): boolean {
  const { pattern } = getOption(method, http);
  return pattern.case !== "get" && !getOption(method, surface).openai;
}

/** The features of the served methods: their tags, and `<tag>.write` for a tag with methods that change something. */
export function featuresOf(services: readonly DescService[]): string[] {
  const features = new Set<string>();
  for (const method of services.flatMap((service) => service.methods)) {
    const { tag } = getOption(method, surface);
    if (!hasOption(method, http) || accessOf(method) === Access.SERVICE || tag === "") continue;
    features.add(tag);
    if (changesSomething(method)) features.add(`${tag}.write`);
  }
  return [...features].sort();
}

/**
 * Reads the facts of other parts, once in five seconds at most, for all who ask. While a part is silent, its last facts
 * count. Rejects with UNAVAILABLE as long as it has told none.
 */
function meshFacts(parts: Parts): () => Promise<MeshFacts> {
  let known: MeshFacts | undefined;
  let askedAt = Number.NEGATIVE_INFINITY;
  let asking: Promise<MeshFacts> | undefined;
  const ask = async (): Promise<MeshFacts> => {
    const reportsOf = async (part: string) => (await parts[part]?.(limitMs)) ?? [];
    const [auth, agent] = await Promise.all([reportsOf("auth"), reportsOf("agent-orchestrator")]);
    const registration = firstFact(auth, "registration") ?? known?.registration;
    const demoModel = firstFact(agent, "demo_model") ?? known?.demoModel;
    if (typeof registration !== "string" || typeof demoModel !== "boolean")
      throw fail(ErrorReason.UNAVAILABLE, "The facts of this installation are not known yet; try again.");
    askedAt = performance.now();
    known = { registration, demoModel };
    return known;
  };
  return () => {
    if (known !== undefined && performance.now() - askedAt < freshMs) return Promise.resolve(known);
    asking ??= ask().finally(() => {
      asking = undefined;
    });
    return asking;
  };
}

/** Handlers of InfoService. */
export function infoHandlers(deps: {
  readonly parts: Parts;
  readonly services: readonly DescService[];
  readonly heartbeatMs: number;
  readonly bodyLimit: number;
}): ServiceImpl<typeof InfoService> {
  const facts = meshFacts(deps.parts);
  const fixed = {
    version: release,
    currency,
    heartbeatSeconds: deps.heartbeatMs / 1_000,
    bodyLimitBytes: BigInt(deps.bodyLimit),
    features: featuresOf(deps.services),
  };
  return {
    async getInfo() {
      return { ...fixed, ...(await facts()) };
    },
  };
}
