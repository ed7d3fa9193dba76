import { navigate } from "../../router/router.ts";

/** Statuses to choose from, with their words. */
export const statusChoices = [
  ["", "any status"],
  ["queued", "Queued"],
  ["running", "Running"],
  ["waiting", "Waiting"],
  ["needs_review", "Needs review"],
  ["completed", "Completed"],
  ["failed", "Failed"],
  ["cancelled", "Cancelled"],
] as const;

/** Spans of time to choose from, in hours; empty: all. */
export const spanChoices = [
  ["", "any time"],
  ["1", "last hour"],
  ["24", "last 24 hours"],
  ["168", "last 7 days"],
  ["720", "last 30 days"],
] as const;

/** A status of a run. */
export type RunStatus = Exclude<(typeof statusChoices)[number][0], "">;

/** The filters of the list, as the address has them. */
export interface RunFilters {
  readonly status: string;
  readonly agent: string;
  readonly model: string;
  readonly key: string;
  readonly span: string;
  readonly from: string;
  readonly to: string;
  readonly q: string;
}

/** Reads the filters of an address. */
export function filtersOf(query: URLSearchParams): RunFilters {
  const value = (name: string) => query.get(name) ?? "";
  return {
    status: value("status"),
    agent: value("agent"),
    model: value("model"),
    key: value("key"),
    span: value("span"),
    from: value("from"),
    to: value("to"),
    q: value("q"),
  };
}

/** The request for a page of runs. A span begins at a full minute, so that the same filters are the same request. */
export function requestOf(filters: RunFilters, now: Date) {
  const hours = Number(filters.span);
  const begin = hours > 0 ? new Date(Math.floor(now.getTime() / 60_000) * 60_000 - hours * 3_600_000).toISOString() : "";
  return {
    statuses: filters.status === "" ? [] : ([filters.status] as RunStatus[]),
    agent_type: filters.agent,
    model: filters.model,
    token_id: filters.key,
    from: filters.from === "" ? begin : filters.from,
    to: filters.to,
    q: filters.q.trim(),
  };
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Opens a run whose id was typed into the search. */
export function openTypedRun(text: string, hrefOf: (path: string) => string): boolean {
  if (!uuid.test(text.trim())) return false;
  navigate(hrefOf(`runs/${text.trim().toLowerCase()}`));
  return true;
}

/** Whether any filter is set. */
export function isFiltered(filters: RunFilters): boolean {
  return Object.values(filters).some((value) => value !== "");
}
