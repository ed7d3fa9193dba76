import { readFileSync } from "node:fs";
import { z } from "zod";
import type { ModelUsage } from "../model/edge/chunk.ts";

/** A model's price in US dollars per million tokens, which equals millionths of a dollar per token. */
export interface ModelPrice {
  readonly input: number;
  readonly output: number;
  /** Tokens of the largest image; unset: 4,096. */
  readonly image_tokens?: number;
}

/** Prices by model name. */
export type PriceTable = ReadonlyMap<string, ModelPrice>;

const price = z.strictObject({
  input: z.number().min(0).max(1e6),
  output: z.number().min(0).max(1e6),
  image_tokens: z.int().min(1).max(1e6).optional(),
});
const table = z.record(z.string(), price);

/**
 * MODEL_PRICES: JSON text, or the path of a JSON file: `{"gpt-4o-mini":{"input":0.15,"output":0.6}}`, US dollars per
 * million tokens.
 */
export function priceTable() {
  return z
    .string()
    .default("{}")
    .transform((text, context): PriceTable => {
      const fault = (message: string) => {
        context.addIssue({ code: "custom", message });
        return z.NEVER;
      };
      let json: unknown;
      try {
        json = JSON.parse(text.trimStart().startsWith("{") ? text : readFileSync(text, "utf8"));
      } catch (error) {
        return fault(`expected JSON or the path of a file with JSON (${(error as Error).message})`);
      }
      const parsed = table.safeParse(json);
      if (parsed.success) return new Map(Object.entries(parsed.data));
      const issue = parsed.error.issues[0];
      return fault(`${issue?.path.join(".") || "table"}: ${issue?.message ?? "is not valid"}`);
    });
}

/** The cost in millionths of a US dollar, rounded up; 0 without a price. */
export function costMicros(
  price: ModelPrice | undefined,
  usage: Pick<ModelUsage, "prompt_tokens" | "completion_tokens">,
): number {
  if (price === undefined) return 0;
  return Math.ceil(usage.prompt_tokens * price.input + usage.completion_tokens * price.output);
}
