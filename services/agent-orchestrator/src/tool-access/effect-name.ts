import { Effect } from "@turnwright/contract/tool/v1/tool";

/** The name of an effect on the public plane; empty without a tool. An effect that is not set counts as `once`. */
export function effectName(effect: Effect | undefined): string {
  if (effect === undefined) return "";
  if (effect === Effect.READ) return "read";
  return effect === Effect.IDEMPOTENT ? "idempotent" : "once";
}
