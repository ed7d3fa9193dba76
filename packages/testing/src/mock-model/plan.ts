import type { Saying } from "./draft.ts";
import type { Quirk } from "./quirk.ts";
import type { ErrorForm } from "./refusal.ts";

/** How the mock model treats a request, as its model's name says. */
export interface Plan extends Saying {
  readonly quirks: Quirk[];
  /** Refuses bodies that OpenAI would refuse. */
  isStrict: boolean;
  /** The faults apply to the first requests with the same messages alone, this many. */
  times?: number;
  /** Of a hundred different requests, this many get the faults. */
  share?: number;
  /** Milliseconds before the head. */
  delayMs?: number;
  /** Milliseconds between two pieces of the body. */
  dripMs?: number;
  /** The connection falls silent after this many pieces; 0: before the head. */
  hangAfter?: number;
  /** The connection breaks after this many pieces. */
  cutAfter?: number;
  /** The connection breaks after this many bytes of the body. */
  cutAtByte?: number;
  /** The response ends after this many pieces, as if it were whole. */
  endAfter?: number;
  /** Sent in place of an answer. */
  refusal?: { readonly status: number; readonly name?: string };
  errorForm?: ErrorForm;
  headers: Record<string, string>;
  /** Headers that depend on the time of the response. */
  dateAfterSeconds?: number;
  /** Sent with status 200 in place of an answer. */
  body?: "garbage" | "html" | "empty" | "bad-json" | "no-content" | "redirect";
}

/** A plan without any mode. */
export const plainPlan = (): Plan => ({ quirks: [], isStrict: false, headers: {} });
