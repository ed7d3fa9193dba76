import type { DecidedCall, Run } from "@turnwright/contract/conversation/v1/run";
import { signGrant } from "@turnwright/platform/identity/grant";
import type { SettledCall } from "../store/settled-calls.ts";

/**
 * The decisions of a round. Each approved call gets the signed grant that the executor requires, under the run's epoch
 * and the credential that started the run.
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
