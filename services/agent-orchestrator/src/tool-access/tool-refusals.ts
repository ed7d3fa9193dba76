import { detailOf, ErrorReason, reasonOf } from "@turnwright/platform/errors";

/** How long a model counts as one that takes no tools, in milliseconds: an endpoint may be set up anew. */
const freshMs = 3_600_000;
const maxModels = 1_000;

/** The operator's statements about models; undefined when there is none about a model. */
interface StatedCapabilities {
  capabilitiesOf(model: string): ReadonlySet<string> | undefined;
}

/** The models that take no tools: as the operator states, else as their endpoints have shown. */
export class ToolRefusals {
  readonly #models = new Map<string, number>();
  readonly #stated: StatedCapabilities;
  readonly #now: () => number;

  constructor(stated: StatedCapabilities = { capabilitiesOf: () => undefined }, now = () => performance.now()) {
    this.#stated = stated;
    this.#now = now;
  }

  /** Whether this model takes no tools, as far as is known. */
  has(model: string): boolean {
    const stated = this.#stated.capabilitiesOf(model);
    if (stated !== undefined) return !stated.has("tools");
    const until = this.#models.get(model);
    if (until === undefined) return false;
    if (until > this.#now()) return true;
    this.#models.delete(model);
    return false;
  }

  /** Records that a model's endpoint refused a request with tools and served it without them. */
  add(model: string): void {
    if (this.#models.size >= maxModels) this.#models.clear();
    this.#models.set(model, this.#now() + freshMs);
  }
}

const tools = /\b(?:tools?|functions?)\b|\b(?:tool|function)[ _-]?(?:call|choice|use)/i;
const refused =
  /support|not (?:available|allowed|permitted|enabled)|requires? --|un(?:recognized|known|expected|available)|incompatible|\bextra\b|extra_forbidden/i;

/** Reasons of an endpoint that does not work on a request. */
const reasons: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.MODEL_REJECTED,
  ErrorReason.MODEL_UNPROCESSABLE,
  ErrorReason.MODEL_NOT_FOUND,
  ErrorReason.MODEL_FAILED,
]);

/**
 * Whether an endpoint refuses a request because of its tools, such as "gemma3 does not support tools" (Ollama), "auto
 * tool choice requires --enable-auto-tool-choice" (vLLM) and "tools param requires --jinja flag" (llama.cpp).
 */
export function blamesTools(error: unknown): boolean {
  if (!reasons.has(reasonOf(error))) return false;
  if (/^(?:tools|tool_choice)\b/.test(detailOf(error)?.param ?? "")) return true;
  const words = error instanceof Error ? error.message.slice(0, 1_000) : "";
  return tools.test(words) && refused.test(words);
}
