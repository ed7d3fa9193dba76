import { hash } from "node:crypto";
import type { Secrets } from "../config/secrets.ts";
import { meshClockToleranceSeconds } from "./issuer.ts";
import { signWithSecret, verifyWithSecret } from "./secret-token.ts";

const audience = "turnwright.grant";
const typ = "turnwright-grant+jwt";

/** The approved call: this call of this tool with exactly these arguments. */
export interface GrantClaims {
  /** UUID of the run. */
  readonly runId: string;
  /**
   * Epoch under which the run continues after the decision: a call with the same id in another round needs its own
   * grant.
   */
  readonly epoch: number;
  /** Id of the call within its run. */
  readonly callId: string;
  /** Name of the tool. */
  readonly tool: string;
  /** Version of the tool. */
  readonly toolVersion: string;
  /** `hashArguments` of the arguments exactly as passed to the tool. */
  readonly argumentsHash: string;
  /** UUID of the credential that started the run; the call runs under that credential only. */
  readonly tokenId?: string;
}

/** SHA-256 in hex of a call's arguments as JSON text. */
export function hashArguments(json: string): string {
  return hash("sha256", json, "hex");
}

/** Signs the proof of an approval, which the executor verifies itself. */
export function signGrant(secrets: Secrets, claims: GrantClaims, ttlSeconds = 900): Promise<string> {
  const { runId, ...rest } = claims;
  return signWithSecret(secrets, {
    claims: { ...rest },
    subject: runId,
    audience,
    typ,
    seconds: ttlSeconds,
  });
}

/** Whether a grant is genuine, unexpired and issued for exactly this call. */
export async function verifyGrant(secrets: Secrets, grant: string, expected: GrantClaims): Promise<boolean> {
  try {
    const payload = await verifyWithSecret(secrets, grant, { audience, typ, clockTolerance: meshClockToleranceSeconds });
    return (
      payload.sub === expected.runId &&
      payload.epoch === expected.epoch &&
      payload.callId === expected.callId &&
      payload.tool === expected.tool &&
      payload.toolVersion === expected.toolVersion &&
      payload.argumentsHash === expected.argumentsHash &&
      // During a rolling update, an older release signs grants without a `tokenId`.
      (payload.tokenId === undefined || payload.tokenId === expected.tokenId)
    );
  } catch {
    return false;
  }
}
