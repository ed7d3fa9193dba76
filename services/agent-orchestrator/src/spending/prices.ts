import { readFileSync } from "node:fs";
import { z } from "zod";
import type { ModelPrice, PriceTable } from "../model/price.ts";
import type { Charge } from "./charge.ts";

const price = z.strictObject({
  input: z.number().min(0).max(1e6),
  output: z.number().min(0).max(1e6),
  cached: z.number().min(0).max(1e6).optional(),
  reasoning: z.number().min(0).max(1e6).optional(),
  image_tokens: z.int().min(1).max(1e6).optional(),
});
const table = z.record(z.string(), price);

/**
 * MODEL_PRICES: JSON text, or the path of a JSON file: `{"gpt-4o-mini":{"input":0.15,"output":0.6}}`, US dollars per
 * million tokens; `cached` and `reasoning` price those parts of the prompt and of the answer, where the endpoint tells
 * them. A price in the models file takes precedence.
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
  charge: Pick<Charge, "prompt_tokens" | "completion_tokens"> & Partial<Pick<Charge, "cached_tokens" | "reasoning_tokens">>,
): number {
  if (price === undefined) return 0;
  const { prompt_tokens: prompt, completion_tokens: completion, cached_tokens = 0, reasoning_tokens = 0 } = charge;
  const { input, output, cached = input, reasoning = output } = price;
  const [read, thought] = [Math.min(cached_tokens, prompt), Math.min(reasoning_tokens, completion)];
  return Math.ceil((prompt - read) * input + read * cached + (completion - thought) * output + thought * reasoning);
}
