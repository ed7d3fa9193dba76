import { query } from "../../router/router.ts";

/** A path below the console to go to after the login; never another address. */
export function nextPath(): string {
  const next = query.value.get("next") ?? "";
  return /^[\w-][^\\]*$/.test(next) && !next.includes("//") && !next.includes(":") ? next : "chat";
}
