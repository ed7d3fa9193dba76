import { getOption } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { surface } from "@turnwright/contract/errors/v1/surface";
import { clientAddressHeader } from "@turnwright/platform/identity/identity";
import type { Limits } from "./limits.ts";

const noSink = { header: () => {} };

/**
 * A transport that counts calls which fail for their credential against the limit of checks of the client's address,
 * where the method says so. Beyond the limit, such a call fails with RATE_LIMITED: it tells nothing about the
 * credential.
 */
export function countingFailures(transport: Transport, limits: Pick<Limits, "takeAddress">): Transport {
  return {
    stream: transport.stream.bind(transport),
    async unary(method, signal, timeoutMs, header, input, contextValues) {
      const answer = transport.unary(method, signal, timeoutMs, header, input, contextValues);
      if (!getOption(method, surface).countsFailures) return await answer;
      try {
        return await answer;
      } catch (error) {
        const address = new Headers(header).get(clientAddressHeader);
        const isRefused = error instanceof ConnectError && error.code === Code.Unauthenticated;
        if (isRefused && address !== null) await limits.takeAddress(address, noSink, "check");
        throw error;
      }
    },
  };
}
