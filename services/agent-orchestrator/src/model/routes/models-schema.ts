import { duration, httpUrl } from "@turnwright/platform/config/env";
import { z } from "zod";
import { invalidModelName, isModelName } from "../model-name.ts";
import { capabilities } from "./route.ts";

/** A fault of a provider's name; undefined: none. Names are checked apart from values, so that both show faults. */
export function providerNameFault(name: string): string | undefined {
  return /^[A-Za-z0-9][\w.-]{0,62}$/.test(name) ? undefined : "expected a name of letters, digits, dots and dashes";
}

/** A fault of a model's name; undefined: none. */
export function modelNameFault(name: string): string | undefined {
  return name.length > 0 && name.length <= 200 && isModelName(name) ? undefined : invalidModelName;
}

const variableName = z.string().regex(/^[A-Za-z_]\w*$/, "expected the name of an environment variable, not its value");
/** Fields of requests have ASCII names; those by which a request is understood stay. */
const fieldName = z
  .string()
  .regex(/^\w{1,64}$/, "expected the name of a request field")
  .refine((name) => !["model", "messages", "stream"].includes(name), "this field cannot be left out or renamed");
const money = z.number().min(0).max(1e6);

/** US dollars per million tokens. */
const price = z.strictObject({
  /** Tokens of the prompt. */
  input: money,
  /** Tokens of the answer. */
  output: money,
  /** Tokens of the prompt that the provider read from its cache; unset: as `input`. */
  cached: money.optional(),
  /** Tokens of the answer that are reasoning; unset: as `output`. */
  reasoning: money.optional(),
  /** Tokens of the largest image; unset: 4,096. */
  image_tokens: z.int().min(1).max(1e6).optional(),
});

/** A time such as `30s`, in milliseconds. */
const time = z.string().transform((text, context) => {
  const parsed = duration("1s").safeParse(text);
  if (parsed.success) return parsed.data;
  context.addIssue({ code: "custom", message: "expected a duration such as 30s or 2m" });
  return z.NEVER;
});

/** An OpenAI-compatible endpoint and how to talk to it. */
const provider = z.strictObject({
  /** Its address, with or without `/v1`; a query is sent with each request. */
  base_url: httpUrl(),
  /** Name of the environment variable that has the key, which is sent as a bearer token; unset: no key. */
  api_key_env: variableName.optional(),
  /** Headers of each request. `${NAME}` in a value stands for an environment variable. */
  headers: z
    .record(z.string().regex(/^[\w!#$%&'*+.^`|~-]{1,100}$/, "expected the name of a header"), z.string().max(8_192))
    .default({}),
  /** Fields of requests that the provider does not take as OpenAI writes them. */
  params: z
    .strictObject({
      /** Fields that are left out. */
      deny: z.array(fieldName).default([]),
      /** New names of fields, by OpenAI's name. */
      rename: z.record(fieldName, fieldName).default({}),
    })
    .prefault({}),
  /** `false`: `stream_options` is left out; the usage of a stream is estimated where the provider does not tell it. */
  stream_options: z.boolean().default(true),
  /** How long it may be silent; unset: LLM_TIMEOUT. */
  timeout: time.optional(),
  /** The most connections to it; unset: LLM_CONNECTIONS. */
  connections: z.int().min(1).max(10_000).optional(),
});

/** A model at a provider. */
const target = z.strictObject({
  /** Name of a provider of this file. */
  provider: z.string(),
  /** The provider's name of the model; unset: the public name. */
  upstream: z.string().min(1).max(200).optional(),
  /** Share of the calls that go here first, in relation to the other targets; 0: only when those fail. */
  weight: z.number().min(0).max(1e6).default(1),
  /** Unset: the model's price. */
  price: price.optional(),
  /** Unset: the model's window. */
  window: z.int().min(1).max(1e9).optional(),
});

/** A model that clients may name. Either `provider` (and `upstream`) or `targets` says where its calls go. */
const model = z.strictObject({
  provider: z.string().optional(),
  upstream: z.string().min(1).max(200).optional(),
  targets: z.array(target).min(1).max(16).optional(),
  /** Unset: the price in MODEL_PRICES, if any. */
  price: price.optional(),
  /** Tokens that its context window holds, with the answer. */
  window: z.int().min(1).max(1e9).optional(),
  /** The most tokens of an answer. */
  max_output: z.int().min(1).max(1e9).optional(),
  capabilities: z.array(z.enum(capabilities)).optional(),
  /** Models or aliases of this file that take over when this one fails, in this order. Their own fallbacks do not. */
  fallbacks: z.array(z.string()).max(16).default([]),
});

/** The models file. */
export const modelsSchema = z.strictObject({
  providers: z.record(z.string(), provider),
  models: z.record(z.string(), model),
  /** Further names of models. */
  aliases: z.record(z.string(), z.string()).default({}),
  /** The model of calls that name none; unset: LLM_DEFAULT_MODEL if the file has it, else its first model. */
  default_model: z.string().optional(),
});

/** A models file that the schema has accepted. */
export type ModelsFile = z.output<typeof modelsSchema>;
/** A provider of a models file. */
export type ProviderEntry = z.output<typeof provider>;
