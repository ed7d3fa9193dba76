import { asStarter, RunsByToken } from "@turnwright/agent-orchestrator";
import { Access } from "@turnwright/contract/auth/v1/access";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import { admit, createAuthenticator, LiveCalls } from "@turnwright/gateway";
import { watchRevocations } from "@turnwright/platform/identity/revocations";
import { jwtSecret, type RaceStage } from "./stage.ts";

/** Work in progress on a credential's behalf; its signal fires when it is over. */
export interface Held {
  readonly identity: Identity;
  readonly signal: AbortSignal;
}

/** Holders of what auth handed out: a gateway, which hears broadcasts, and an orchestrator, which only polls. */
export interface Holders {
  /** Admits a call at the gateway, as a request with this bearer token. Rejects as the gateway does. */
  admit(bearer: string): Promise<Held>;
  /** Begins a run at the orchestrator with a token minted for it. Rejects as auth does. */
  run(credential: { userId: string; tokenId: string }): Promise<Held>;
  stop(): Promise<void>;
}

const unlimited = { takeToken: async () => {}, takeSlot: () => undefined, takeAddress: async () => {} };
const rule = { access: Access.USER, readsOnly: false, takesIdempotencyKey: false };

/** Starts both, each with its own replica of auth, assembled as in their services. */
export async function startHolders({ bus, logger, tokens }: RaceStage): Promise<Holders> {
  const front = tokens(0, "gateway");
  const authenticator = createAuthenticator({ tokens: front, jwtSecrets: jwtSecret });
  const liveCalls = new LiveCalls();
  const stopGateway = await watchRevocations(
    { tokens: front, bus, logger },
    {
      onRevoked(tokenId) {
        authenticator.revoke(tokenId);
        liveCalls.revoke(tokenId);
      },
      onGap: () => authenticator.forget(),
    },
  );
  const minter = tokens(1, "agent-orchestrator");
  const runsByToken = new RunsByToken();
  const never = new AbortController().signal;
  const stopOrchestrator = await watchRevocations(
    { tokens: minter, logger },
    { onRevoked: (tokenId) => runsByToken.revoke(tokenId), onGap: () => {} },
  );
  return {
    async admit(bearer) {
      const disconnect = new AbortController();
      const request = { headers: { authorization: `Bearer ${bearer}` }, ip: "127.0.0.1", disconnect };
      const caller = await admit({ authenticator, limits: unlimited, liveCalls }, rule, request as never, { header: () => {} });
      return { identity: caller?.identity as Identity, signal: disconnect.signal };
    },
    run: (credential) =>
      asStarter({ runsByToken, tokens: minter }, credential, never, ({ identity }) => {
        const controller = new AbortController();
        runsByToken.add(identity.tokenId, controller);
        return { identity, signal: controller.signal };
      }),
    async stop() {
      await stopGateway();
      await stopOrchestrator();
    },
  };
}
