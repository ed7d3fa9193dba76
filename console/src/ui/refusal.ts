import { ApiError } from "../api/api-error.ts";
import { errorText } from "./states.tsx";

/** Faults of a form, by the field of the API that they concern. */
export type Faults = Readonly<Record<string, string>>;

/** The faults of a refusal, by field, and its sentence where it names none. */
export function refusalOf(error: unknown): { faults: Faults; sentence: string | undefined } {
  if (!(error instanceof ApiError)) return { faults: {}, sentence: "The server did not answer. Try again." };
  const faults = Object.fromEntries(error.faults.map(({ param, message }) => [param, message]));
  if (error.param !== "" && faults[error.param] === undefined) faults[error.param] = error.message;
  return { faults, sentence: Object.keys(faults).length === 0 ? errorText(error) : "The server refused a field." };
}
