import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { blamesImages } from "./image-refusals.ts";
import { type Demands, noDemands } from "./message-form.ts";

/** Bytes of text for a token, until an endpoint's counts show better: few texts have fewer. */
const firstBytesPerToken = 3;
const leastBytesPerToken = 1;
const mostBytesPerToken = 8;
/** Requests below this size say little about the relation, because of templates and tools. */
const leastSample = 4_096;
/** Weight of a sample in its conversation when it shows more bytes for a token; one that shows fewer counts in full. */
const ownWeight = 0.5;
/** Weight of a sample in the estimate for other conversations with the model. */
const modelWeight = 0.1;
/** The least that is believed of a window that an endpoint told, and the least that is concluded. */
const smallestTold = 1_024;
const smallestConcluded = 4_096;
const largestWindow = 100_000_000;
/** How long a learned window holds, in milliseconds: one that the endpoint told, and one that was concluded. */
const toldMs = 60 * 60_000;
const concludedMs = 10 * 60_000;
/** Factor by which an estimate is raised after a refusal that it did not foresee. */
const correction = 1.5;
/** The most endpoints and the most conversations that are remembered. */
const maxEndpoints = 1_000;
const maxConversations = 10_000;

interface Known {
  bytesPerToken: number;
  demands: Demands;
  window?: LearnedWindow & { readonly until: number };
}

/** A window that was learned from a refusal. */
export interface LearnedWindow {
  readonly tokens: number;
  /** The endpoint told it; otherwise it was concluded. */
  readonly isTold: boolean;
}

/** A model of a provider. */
export interface Endpoint {
  readonly provider: string;
  readonly model: string;
}

/** Words that refuse a field of a message, and words that say which. */
const refusesField =
  /\b(?:unsupported|not supported|not permitted|not allowed|unknown|unrecogni[sz]ed|unexpected|extra inputs|additional propert)/i;
const foreignField = /reasoning|extra_content|thought_signature|messages?\b/i;
const refusesNull = /\b(?:null|none|nil|empty|must be a string|valid string|required)\b/i;
const refusesEmpty = /non-?empty|(?:not|cannot) be empty/i;

/**
 * The demands of an endpoint after a refusal in these words. The newest refusal holds: an older one may mislead.
 */
function demandsAfter(demands: Demands, words: string, isOfImages: boolean): Demands {
  if (isOfImages) return { ...demands, noImages: true };
  if (refusesField.test(words) && foreignField.test(words)) return { ...demands, bare: true };
  if (/reasoning_content/.test(words)) return { ...demands, reasoning: true, bare: false };
  if (/tool call id/i.test(words) && /length of 9/.test(words)) return { ...demands, shortIds: true };
  if (!/content/i.test(words)) return demands;
  if (refusesEmpty.test(words)) return { ...demands, text: false };
  return refusesNull.test(words) ? { ...demands, text: true } : demands;
}

function ratioKey({ provider, model }: Endpoint, conversationId: string): string {
  return JSON.stringify([provider, model, conversationId]);
}

/** Sets the newest entry of a map that forgets its oldest. */
function remember<V>(map: Map<string, V>, key: string, value: V, most: number): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > most && oldest !== undefined) map.delete(oldest);
}

/** The lessons of this process from the answers and refusals of endpoints. */
export class EndpointKnowledge {
  readonly #known = new Map<string, Known>();
  /** Bytes for a token by endpoint and conversation. */
  readonly #ratios = new Map<string, number>();
  readonly #now: () => number;

  /** `now`: milliseconds. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  #of({ provider, model }: Endpoint): Known {
    const key = JSON.stringify([provider, model]);
    const known = this.#known.get(key) ?? {
      bytesPerToken: firstBytesPerToken,
      demands: noDemands,
    };
    remember(this.#known, key, known, maxEndpoints);
    return known;
  }

  /** Bytes for a token in a conversation: texts differ in it more than models do. */
  bytesPerToken(endpoint: Endpoint, conversationId: string): number {
    return this.#ratios.get(ratioKey(endpoint, conversationId)) ?? this.#of(endpoint).bytesPerToken;
  }

  demands(endpoint: Endpoint): Demands {
    return this.#of(endpoint).demands;
  }

  /** Undefined when nothing was learned. */
  window(endpoint: Endpoint): LearnedWindow | undefined {
    const { window } = this.#of(endpoint);
    return window !== undefined && window.until > this.#now() ? window : undefined;
  }

  /** Takes the endpoint's count of a prompt of so many bytes. Counts that no tokenizer gives are ignored. */
  counted(endpoint: Endpoint, conversationId: string, prompt: { readonly bytes: number; readonly tokens: number }): void {
    const sample = prompt.bytes / prompt.tokens;
    if (prompt.bytes < leastSample || !(sample >= leastBytesPerToken && sample <= mostBytesPerToken)) return;
    const known = this.#of(endpoint);
    const own = this.bytesPerToken(endpoint, conversationId);
    const ratio = own + (sample < own ? 1 : ownWeight) * (sample - own);
    remember(this.#ratios, ratioKey(endpoint, conversationId), ratio, maxConversations);
    known.bytesPerToken += modelWeight * (sample - known.bytesPerToken);
  }

  /**
   * Takes a refusal of a prompt that was too long, of about so many tokens. Without a window that the endpoint told, it
   * is taken for half of that. Either holds for a while only: a window may grow, and a refusal be a mistake.
   */
  overflowed(endpoint: Endpoint, conversationId: string, sentTokens: number, told: number | undefined): void {
    const isTold = told !== undefined && told >= smallestTold && told <= largestWindow;
    const tokens = isTold ? told : Math.max(smallestConcluded, Math.floor(sentTokens / 2));
    const known = this.#of(endpoint);
    known.window = { tokens, isTold, until: this.#now() + (isTold ? toldMs : concludedMs) };
    // The estimate was too low.
    if (isTold && sentTokens < tokens) {
      const ratio = Math.max(leastBytesPerToken, this.bytesPerToken(endpoint, conversationId) / correction);
      remember(this.#ratios, ratioKey(endpoint, conversationId), ratio, maxConversations);
    }
  }

  /** Learns a demand from a refusal's words. Returns whether it is a new one, so that the call may be repeated. */
  refused(endpoint: Endpoint, error: unknown): boolean {
    const reason = reasonOf(error);
    if (reason !== ErrorReason.MODEL_REJECTED && reason !== ErrorReason.MODEL_UNPROCESSABLE) return false;
    const known = this.#of(endpoint);
    const { demands } = known;
    known.demands = demandsAfter(demands, error instanceof Error ? error.message : "", blamesImages(error));
    return (Object.keys(demands) as (keyof Demands)[]).some((name) => known.demands[name] !== demands[name]);
  }

  /** Learns that an endpoint has given reasoning that it may demand back. */
  gaveReasoning(endpoint: Endpoint): void {
    const known = this.#of(endpoint);
    known.demands = { ...known.demands, reasoning: true };
  }
}
