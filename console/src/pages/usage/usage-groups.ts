import type { UsageRow } from "../../api/types.ts";
import { moneyText } from "../../format/money.ts";
import { csvCell } from "../../ui/blobs.ts";

/** A grouping of the report. */
export type Grouping = "model" | "key";

/** Sums of usage. */
export interface UsageSum {
  readonly requests: number;
  readonly tokensIn: number;
  readonly tokensOut: number;
  readonly cost: number;
  /** Whether every model in it had a price. */
  readonly isPriced: boolean;
}

/** The usage of one model or key. */
export interface UsageGroup extends UsageSum {
  readonly id: string;
  readonly name: string;
}

/** The columns by which the table can be sorted. */
export type SortColumn = "name" | "requests" | "tokensIn" | "tokensOut" | "cost";

/** A series of a chart: its name and a value for each day. */
export interface Series {
  readonly name: string;
  readonly values: readonly number[];
}

const nothing: UsageSum = { requests: 0, tokensIn: 0, tokensOut: 0, cost: 0, isPriced: true };
/** Series with a colour of their own; the others share the last one. */
const ownSeries = 4;

/** Reads the grouping of an address. */
export const groupingOf = (query: URLSearchParams): Grouping => (query.get("by") === "key" ? "key" : "model");

function added(sum: UsageSum, row: UsageRow): UsageSum {
  return {
    requests: sum.requests + row.requests,
    tokensIn: sum.tokensIn + row.prompt_tokens,
    tokensOut: sum.tokensOut + row.completion_tokens,
    cost: sum.cost + row.cost_usd,
    isPriced: sum.isPriced && row.priced,
  };
}

/** The sum of rows. */
export const sumOf = (rows: readonly UsageRow[]): UsageSum => rows.reduce(added, nothing);

/** The group of a row. The sessions of logins, which have no name, are one group. */
export function groupIdOf(row: UsageRow, by: Grouping): string {
  if (by === "model") return row.model;
  return row.key_name === "" ? "logins" : row.token_id;
}

function nameOf(row: UsageRow, by: Grouping): string {
  if (by === "model") return row.model;
  return row.key_name === "" ? "Logins" : row.key_name;
}

/** The groups of rows: the highest cost first, then the most tokens. */
export function groupsOf(rows: readonly UsageRow[], by: Grouping): UsageGroup[] {
  const found = new Map<string, UsageGroup>();
  for (const row of rows) {
    const id = groupIdOf(row, by);
    found.set(id, { id, name: nameOf(row, by), ...added(found.get(id) ?? nothing, row) });
  }
  const tokens = ({ tokensIn, tokensOut }: UsageGroup) => tokensIn + tokensOut;
  return [...found.values()].sort((a, b) => b.cost - a.cost || tokens(b) - tokens(a) || a.name.localeCompare(b.name));
}

/** The groups in the order of a column. */
export function sorted(groups: readonly UsageGroup[], column: SortColumn, isAscending: boolean): UsageGroup[] {
  const compare = (a: UsageGroup, b: UsageGroup) =>
    column === "name" ? a.name.localeCompare(b.name) : a[column] - b[column] || a.name.localeCompare(b.name);
  return [...groups].sort((a, b) => (isAscending ? compare(a, b) : compare(b, a)));
}

/** A series for each group, the largest sum first; all from the fifth on are one series, "other". */
export function seriesOf(
  rows: readonly UsageRow[],
  days: readonly string[],
  by: Grouping,
  valueIn: (row: UsageRow) => number,
): Series[] {
  const index = new Map(days.map((day, i) => [day, i]));
  const found = new Map<string, { name: string; sum: number; values: number[] }>();
  for (const row of rows) {
    const at = index.get(row.day);
    if (at === undefined) continue;
    const id = groupIdOf(row, by);
    const series = found.get(id) ?? { name: nameOf(row, by), sum: 0, values: days.map(() => 0) };
    series.values[at] = (series.values[at] ?? 0) + valueIn(row);
    series.sum += valueIn(row);
    found.set(id, series);
  }
  const ordered = [...found.values()].sort((a, b) => b.sum - a.sum || a.name.localeCompare(b.name));
  const others = ordered.slice(ownSeries);
  const own = ordered.slice(0, ownSeries).map(({ name, values }) => ({ name, values }));
  if (others.length === 0) return own;
  return [...own, { name: "other", values: days.map((_, i) => others.reduce((sum, { values }) => sum + (values[i] ?? 0), 0)) }];
}

/** The tokens in and out, the larger sum first. */
export function tokenSeries(rows: readonly UsageRow[], days: readonly string[]): Series[] {
  const index = new Map(days.map((day, i) => [day, i]));
  const series = [
    { name: "in", values: days.map(() => 0) },
    { name: "out", values: days.map(() => 0) },
  ] as const;
  for (const row of rows) {
    const at = index.get(row.day);
    if (at === undefined) continue;
    series[0].values[at] = (series[0].values[at] ?? 0) + row.prompt_tokens;
    series[1].values[at] = (series[1].values[at] ?? 0) + row.completion_tokens;
  }
  const sum = ({ values }: Series) => values.reduce((total, value) => total + value, 0);
  return [...series].sort((a, b) => sum(b) - sum(a));
}

/** For each series the sum of itself and those below it; the last one is the top of the stack. */
export function stacked(series: readonly Series[]): number[][] {
  const sums: number[][] = [];
  for (const { values } of series) sums.push(values.map((value, i) => value + (sums.at(-1)?.[i] ?? 0)));
  return sums;
}

/** The distance of the ticks of an axis that has three of them above 0: 1, 2 or 5 with zeros, so that all bars fit. */
export function tickStep(top: number, areWhole: boolean): number {
  if (!(top > 0)) return 1;
  const least = top / 3;
  const power = Math.floor(Math.log10(least));
  // Above 0 as a product and below 1 as a quotient: 0.3 and not 0.30000000000000004.
  const scaled = (digit: number) => (power < 0 ? digit / 10 ** -power : digit * 10 ** power);
  const step = [1, 2, 5, 10].map(scaled).find((size) => size >= least * (1 - 1e-9)) ?? scaled(10);
  return areWhole ? Math.max(1, step) : step;
}

/** A cost in words, also where some or all of the models have no price. */
export function costOf({ cost, isPriced, requests }: UsageSum): string {
  if (isPriced || requests === 0) return moneyText(cost);
  return cost > 0 ? `${moneyText(cost)} + no price` : "no price";
}

/** The rows as a CSV file. */
export function csvOf(rows: readonly UsageRow[], by: Grouping): string {
  const lines = [["day", by, "requests", "tokens_in", "tokens_out", "cost_usd"]];
  const days = [...new Set(rows.map(({ day }) => day))].sort();
  for (const day of days) {
    for (const group of groupsOf(
      rows.filter((row) => row.day === day),
      by,
    )) {
      const cost = group.cost > 0 || group.isPriced ? Number(group.cost.toFixed(6)) : "";
      lines.push([day, group.name, ...[group.requests, group.tokensIn, group.tokensOut, cost].map(String)]);
    }
  }
  return lines.map((cells) => `${cells.map(csvCell).join(",")}\r\n`).join("");
}
