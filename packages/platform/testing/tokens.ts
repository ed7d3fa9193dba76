import { type ErrorReason, reasonOf } from "../src/errors.ts";
import { type GrantClaims, hashArguments } from "../src/identity/grant.ts";

/** The reason for which a token is refused. */
export async function reason(work: Promise<unknown>): Promise<ErrorReason> {
  const outcome = await work.catch((error: unknown) => error);
  if (!(outcome instanceof Error)) throw new Error("The token was accepted.");
  return reasonOf(outcome);
}

/** The claims of a grant for one call. */
export const claims: GrantClaims = {
  runId: "0190a000-0000-7000-8000-0000000000b0",
  epoch: 2,
  callId: "call_1",
  tool: "http_request",
  toolVersion: "1",
  argumentsHash: hashArguments('{"url":"https://example.com"}'),
};
