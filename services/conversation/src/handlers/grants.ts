import type { DecidedCall, Run } from "@turnwright/contract/conversation/v1/run";
import { signGrant } from "@turnwright/platform/identity/grant";
import type { SettledCall } from "../store/settled-calls.ts";

/**
 * The decisions of a round, each approved one with the signed proof that the executor asks for: under the run's epoch,
 * from who started the run.
 */
export function withGrants(meshSecret: string, run: Run | undefined, calls: readonly SettledCall[]): Promise<DecidedCall[]> {
  const { epoch = 0, tokenId = "" } = run ?? {};
  return Promise.all(
    calls.map(async ({ decided, claims }) => {
      if (decided.approved) decided.grant = await signGrant(meshSecret, { ...claims, epoch, tokenId });
      return decided;
    }),
  );
}
