import { hash } from "node:crypto";
import { signWithSecret, verifyWithSecret } from "./secret-token.ts";

const audience = "turnwright.grant";
const typ = "turnwright-grant+jwt";

/** What a person approved: exactly this call of this tool with these arguments. */
export interface GrantClaims {
  /** UUID of the run. */
  readonly runId: string;
  /**
   * Epoch under which the run goes on with the decision: a call of the same id in another round needs a grant of its
   * own.
   */
  readonly epoch: number;
  /** The call's id in its run. */
  readonly callId: string;
  /** Name of the tool. */
  readonly tool: string;
  /** Version of the tool. */
  readonly toolVersion: string;
  /** `hashArguments` of the arguments as they will be passed. */
  readonly argumentsHash: string;
  /** UUID of the credential that started the run: the call runs as that one and nobody else. */
  readonly tokenId?: string;
}

/** SHA-256 in hex of a call's arguments as JSON text. */
export function hashArguments(json: string): string {
  return hash("sha256", json, "hex");
}

/** Signs the proof of an approval; the executor checks it itself. */
export function signGrant(secret: string, claims: GrantClaims, ttlSeconds = 900): Promise<string> {
  const { runId, ...rest } = claims;
  return signWithSecret(secret, {
    claims: { ...rest },
    subject: runId,
    audience,
    typ,
    seconds: ttlSeconds,
  });
}

/** Whether a grant is genuine, has not ended and is for exactly this call. */
export async function verifyGrant(secret: string, grant: string, expected: GrantClaims): Promise<boolean> {
  try {
    const payload = await verifyWithSecret(secret, grant, { audience, typ });
    return (
      payload.sub === expected.runId &&
      payload.epoch === expected.epoch &&
      payload.callId === expected.callId &&
      payload.tool === expected.tool &&
      payload.toolVersion === expected.toolVersion &&
      payload.argumentsHash === expected.argumentsHash &&
      // A release without it signs for a while yet, where one replaces the other.
      (payload.tokenId === undefined || payload.tokenId === expected.tokenId)
    );
  } catch {
    return false;
  }
}
