import type { DecidedCall } from "@turnwright/contract/conversation/v1/run";
import { signGrant } from "@turnwright/platform/tokens";
import type { SettledCall } from "./store/approvals.ts";

/** The decisions of a round, each approved one with the signed proof that the executor asks for under this epoch. */
export function withGrants(meshSecret: string, epoch: number, calls: readonly SettledCall[]): Promise<DecidedCall[]> {
  return Promise.all(
    calls.map(async ({ decided, claims }) => {
      if (decided.approved) decided.grant = await signGrant(meshSecret, { ...claims, epoch });
      return decided;
    }),
  );
}
