/** A model's price in US dollars per million tokens, which equals millionths of a dollar per token. */
export interface ModelPrice {
  readonly input: number;
  readonly output: number;
  /** Tokens of the prompt that the endpoint read from its cache; unset: as `input`. */
  readonly cached?: number;
  /** Tokens of the answer that are reasoning; unset: as `output`. */
  readonly reasoning?: number;
  /** Tokens of the largest image; unset: 4,096. */
  readonly image_tokens?: number;
}

/** Prices by model name. */
export type PriceTable = ReadonlyMap<string, ModelPrice>;
