import { readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { z } from "zod";
import { type ModelsFile, modelNameFault, modelsSchema, providerNameFault } from "./models-schema.ts";

/** The environment, by variable. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A models file that may be used, with the values of its variables. */
export interface Models extends ModelsFile {
  /** Keys by provider, for those that have one. */
  readonly keys: ReadonlyMap<string, string>;
  /** Headers by provider, with the values of variables. */
  readonly headers: ReadonlyMap<string, Readonly<Record<string, string>>>;
  /** Values of variables in a provider's headers, which must not be shown. */
  readonly secrets: ReadonlyMap<string, readonly string[]>;
}

/** The result of reading a models file: the models, or every fault as `path: what is expected`. */
export type ReadModels =
  | { readonly models: Models; readonly faults?: undefined }
  | { readonly models?: undefined; readonly faults: readonly string[] };

/** Loads the YAML parser with the first file: most installations have none, and its modules delay every start. */
const loadYaml = () => createRequire(import.meta.url)("yaml") as typeof import("yaml");
/** A file that is larger is refused unread. */
const maxBytes = 1024 * 1024;
const variable = /\$\{([A-Za-z_]\w*)\}/g;

type Loose = Readonly<Record<string, unknown>>;

/** A value as an object; empty when it is none. */
function loose(value: unknown): Loose {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Loose) : {};
}

const has = (object: Loose, name: string) => Object.hasOwn(object, name);
const texts = (value: unknown) => (Array.isArray(value) ? value : []);

/** A fault's place in the file, as `models.fast.targets[0].provider`. */
function placeOf(path: readonly PropertyKey[]): string {
  const parts = path.map((part) => {
    if (typeof part === "number") return `[${part}]`;
    return /^[\w-]+$/.test(String(part)) ? `.${String(part)}` : `[${JSON.stringify(String(part))}]`;
  });
  return parts.join("").replace(/^\./, "") || "file";
}

/** Parses YAML or JSON. */
function parseText(text: string): { readonly value: unknown; readonly faults: string[] } {
  const { LineCounter, parseDocument } = loadYaml();
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const faults = document.errors.map(({ message, pos }) => {
    const { line, col } = lines.linePos(pos[0]);
    return `line ${line}, column ${col}: ${message}`;
  });
  if (faults.length > 0) return { value: undefined, faults };
  try {
    return { value: document.toJS({ maxAliasCount: 100 }), faults };
  } catch (error) {
    return { value: undefined, faults: [`file: ${(error as Error).message}`] };
  }
}

/** Faults of one model's targets. */
function targetFaults(name: string, entry: Loose, providers: Loose): string[] {
  const faults: string[] = [];
  const place = (...path: PropertyKey[]) => placeOf(["models", name, ...path]);
  const known = Object.keys(providers).join(", ") || "none";
  const checkProvider = (value: unknown, ...path: PropertyKey[]) => {
    if (typeof value !== "string" || has(providers, value)) return;
    faults.push(`${place(...path)}: there is no provider ${JSON.stringify(value)}; there are: ${known}`);
  };
  const hasTargets = has(entry, "targets");
  if (hasTargets === has(entry, "provider")) faults.push(`${place()}: expected either "provider" or "targets"`);
  if (hasTargets && has(entry, "upstream")) faults.push(`${place("upstream")}: belongs into each of the targets`);
  checkProvider(entry.provider, "provider");
  const seen = new Set<string>();
  for (const [index, target] of texts(entry.targets).entries()) {
    const { provider, upstream = name } = loose(target);
    checkProvider(provider, "targets", index, "provider");
    const key = JSON.stringify([provider, upstream]);
    if (seen.has(key)) faults.push(`${place("targets", index)}: the same provider and model as an earlier target`);
    seen.add(key);
  }
  return faults;
}

/** Faults that involve several places of a file. Works on any value, so that these are listed beside faults of form. */
function linkFaults(value: unknown): string[] {
  const file = loose(value);
  const [providers, models, aliases] = [loose(file.providers), loose(file.models), loose(file.aliases)];
  const faults: string[] = [];
  const isKnown = (name: unknown) => typeof name !== "string" || has(models, name) || has(aliases, name);
  for (const [part, names, faultOf] of [
    ["providers", providers, providerNameFault],
    ["models", models, modelNameFault],
    ["aliases", aliases, modelNameFault],
  ] as const) {
    for (const name of Object.keys(names)) {
      const fault = faultOf(name);
      if (fault !== undefined) faults.push(`${placeOf([part, name])}: ${fault}`);
    }
  }
  if (has(file, "models") && Object.keys(models).length === 0) faults.push("models: expected at least one model");
  for (const [name, entry] of Object.entries(models)) {
    faults.push(...targetFaults(name, loose(entry), providers));
    for (const [index, fallback] of texts(loose(entry).fallbacks).entries()) {
      const place = placeOf(["models", name, "fallbacks", index]);
      if (!isKnown(fallback)) faults.push(`${place}: there is no model or alias ${JSON.stringify(fallback)}`);
      else if (fallback === name || aliases[String(fallback)] === name) faults.push(`${place}: the model itself`);
    }
  }
  for (const [alias, name] of Object.entries(aliases)) {
    if (has(models, alias)) faults.push(`${placeOf(["aliases", alias])}: a model has this name`);
    if (typeof name === "string" && !has(models, name)) {
      const what = has(aliases, name) ? "an alias must name a model, not another alias" : "there is no such model";
      faults.push(`${placeOf(["aliases", alias])}: ${what}: ${JSON.stringify(name)}`);
    }
  }
  if (!isKnown(file.default_model))
    faults.push(`default_model: there is no model or alias ${JSON.stringify(file.default_model)}`);
  for (const [name, entry] of Object.entries(providers)) {
    const deny = texts(loose(loose(entry).params).deny);
    // Spend ceilings bound an answer by these fields.
    if (deny.includes("max_tokens") && deny.includes("max_completion_tokens")) {
      faults.push(`${placeOf(["providers", name, "params", "deny"])}: max_tokens or max_completion_tokens must remain`);
    }
  }
  return faults;
}

/** The environment's part of a file: keys and headers by provider. */
function fromEnvironment(value: unknown, env: Environment) {
  const faults: string[] = [];
  const keys = new Map<string, string>();
  const headers = new Map<string, Record<string, string>>();
  const secrets = new Map<string, string[]>();
  const valueFor = (name: string, place: string): string => {
    const found = env[name] ?? "";
    if (found === "") faults.push(`${place}: the environment variable ${name} is not set`);
    else if (/[^\t\x20-\x7e\x80-\xff]/.test(found)) faults.push(`${place}: the value of ${name} cannot stand in a header`);
    return found;
  };
  for (const [name, entry] of Object.entries(loose(loose(value).providers))) {
    const { api_key_env: keyName, headers: given } = loose(entry);
    if (typeof keyName === "string" && /^[A-Za-z_]\w*$/.test(keyName)) {
      keys.set(name, valueFor(keyName, placeOf(["providers", name, "api_key_env"])));
    }
    const filled: Record<string, string> = {};
    const hidden: string[] = [];
    const hiddenFor = (variableName: string, place: string) => {
      const value = valueFor(variableName, place);
      hidden.push(value);
      return value;
    };
    for (const [header, text] of Object.entries(loose(given))) {
      if (typeof text !== "string") continue;
      const place = placeOf(["providers", name, "headers", header]);
      filled[header.toLowerCase()] = text.replaceAll(variable, (_all, inner: string) => hiddenFor(inner, place));
      if (/[^\t\x20-\x7e\x80-\xff]/.test(text)) faults.push(`${place}: has characters that cannot stand in a header`);
    }
    headers.set(name, filled);
    secrets.set(name, hidden);
  }
  return { faults, keys, headers, secrets };
}

/** Reads a models file's text. */
export function parseModels(text: string, env: Environment): ReadModels {
  const { value, faults: syntax } = parseText(text);
  if (syntax.length > 0) return { faults: syntax };
  const parsed = modelsSchema.safeParse(value);
  const form = (parsed.error?.issues ?? []).map(({ path, message }) => `${placeOf(path)}: ${message}`);
  const { faults: unset, ...values } = fromEnvironment(value, env);
  const faults = [...form, ...linkFaults(value), ...unset];
  if (!parsed.success || faults.length > 0) return { faults };
  return { models: { ...parsed.data, ...values } };
}

/**
 * Identity of a file's content. Follows links: a mounted ConfigMap changes by a link to another folder, which leaves
 * the file's own entry as it is. Empty when there is no file.
 */
export function stampOf(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return "";
  const { dev, ino, size, mtimeMs, ctimeMs } = found;
  return JSON.stringify([dev, ino, size, mtimeMs, ctimeMs]);
}

/** Reads a models file. */
export function readModels(path: string, env: Environment): ReadModels {
  try {
    if (statSync(path).size > maxBytes) return { faults: [`${path}: is larger than 1 MiB`] };
    return parseModels(readFileSync(path, "utf8"), env);
  } catch (error) {
    return { faults: [`${path}: cannot be read (${(error as Error).message})`] };
  }
}

/** A models file as the configuration names it. */
export interface ModelsSource {
  readonly path: string;
  /** Its first version. */
  readonly models: Models;
  /** The first version's `stampOf`. */
  readonly stamp: string;
  /** The environment that its variables are read from. */
  readonly env: Environment;
}

/** MODELS_FILE: the path of a models file, which is read at once; each of its faults is a fault of the variable. */
export function modelsFile(env: Environment) {
  return z
    .string()
    .transform((path, context): ModelsSource => {
      const stamp = stampOf(path);
      const { models, faults } = readModels(path, env);
      if (models !== undefined) return { path, models, stamp, env };
      for (const message of faults) context.addIssue({ code: "custom", message });
      return z.NEVER;
    })
    .optional();
}
