import { z } from "zod";

/** All faults of the environment at once, so that one failed start shows everything to fix. */
export class ConfigError extends Error {
  /** One line per fault: `VARIABLE: what is wrong`. */
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(`Configuration faults:\n${faults.map((fault) => `  - ${fault}`).join("\n")}`);
    this.name = "ConfigError";
    this.faults = faults;
  }
}

/**
 * Reads a service's configuration. An empty variable counts as unset. `faultsOf` finds faults that involve several
 * variables. Throws ConfigError with the list of all faults.
 */
export function loadConfig<S extends z.ZodObject>(
  schema: S,
  env: Readonly<Record<string, string | undefined>> = process.env,
  faultsOf: (values: Readonly<Record<string, string>>) => readonly string[] = () => [],
): z.output<S> {
  const values: Record<string, string> = {};
  for (const name of Object.keys(schema.shape)) {
    const value = env[name];
    if (value !== undefined && value !== "") values[name] = value;
  }
  const parsed = schema.safeParse(values);
  const issues = parsed.error?.issues ?? [];
  const faults = issues.map((issue) => `${issue.path.join(".") || "environment"}: ${issue.message}`).concat(faultsOf(values));
  if (parsed.success && faults.length === 0) return parsed.data;
  throw new ConfigError(faults);
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function parseDuration(text: string): number | undefined {
  let total = 0;
  let rest = text.trim();
  if (rest === "") return undefined;
  while (rest !== "") {
    const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)/.exec(rest);
    const unit = units[match?.[2] ?? ""];
    if (match === null || unit === undefined) return undefined;
    total += Number(match[1]) * unit;
    rest = rest.slice(match[0].length);
  }
  return total;
}

/** A duration such as `250ms`, `30s`, `15m`, `168h` or `1h30m`, in milliseconds. `0` is valid only with `never`. */
export function duration(fallback: string, { never = false }: { never?: boolean } = {}) {
  return z
    .string()
    .default(fallback)
    .transform((text, context) => {
      if (never && text.trim() === "0") return 0;
      const milliseconds = parseDuration(text);
      if (milliseconds !== undefined && milliseconds > 0) return milliseconds;
      context.addIssue({
        code: "custom",
        message: `expected a duration such as 15m or 168h${never ? ", or 0 for never" : ""}, got ${JSON.stringify(text)}`,
      });
      return z.NEVER;
    });
}

/** A switch: `true`, `false`, `1`, `0`, `yes`, `no`, `on`, `off`. */
export function flag(fallback: boolean) {
  return z
    .string()
    .default(String(fallback))
    .transform((text, context) => {
      const lower = text.toLowerCase();
      if (["true", "1", "yes", "on"].includes(lower)) return true;
      if (["false", "0", "no", "off"].includes(lower)) return false;
      context.addIssue({ code: "custom", message: `expected true or false, got ${JSON.stringify(text)}` });
      return z.NEVER;
    });
}

/** An integer in a range. */
export function integer(fallback: number, range: { min?: number; max?: number } = {}) {
  const min = range.min ?? 0;
  const max = range.max ?? Number.MAX_SAFE_INTEGER;
  return z
    .string()
    .default(String(fallback))
    .transform((text, context) => {
      const value = Number(text);
      if (/^-?\d+$/.test(text.trim()) && value >= min && value <= max) return value;
      context.addIssue({
        code: "custom",
        message: `expected a whole number from ${min} to ${max}, got ${JSON.stringify(text)}`,
      });
      return z.NEVER;
    });
}

/** A TCP port; 0 picks a free one. */
export function port(fallback: number) {
  return integer(fallback, { min: 0, max: 65_535 });
}

/** Values separated by commas; empty ones are dropped. */
export function list(fallback = "") {
  return z
    .string()
    .default(fallback)
    .transform((text) =>
      text
        .split(",")
        .map((item) => item.trim())
        .filter((item) => item !== ""),
    );
}

/** A secret of at least 32 characters; unset stays undefined, because secrets have no default. */
export function secret() {
  return z.string().min(32, "must have at least 32 characters").optional();
}

/** An http or https address. */
export function httpUrl() {
  return z.url({ protocol: /^https?$/, error: "expected an http or https URL" });
}
