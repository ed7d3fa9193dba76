import { create } from "@bufbuild/protobuf";
import { createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { AgentService, type StreamTurnRequest } from "@turnwright/contract/agent/v1/agent_service";
import { type Identity, IdentitySchema, Role, TokenType } from "@turnwright/contract/auth/v1/identity";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import { exportJWK, type GenerateKeyPairResult, generateKeyPair } from "jose";
import { internalTokenHeader } from "../src/identity/identity.ts";
import { createInternalTokenVerifier, signInternalToken } from "../src/identity/internal-token.ts";
import type { KeySource } from "../src/identity/key-set.ts";
import { createServiceTokenSource, createServiceTokenVerifier } from "../src/identity/service-token.ts";
import { createLogger, type Logger } from "../src/logger.ts";
import { serverInterceptors, serviceCredentialsInterceptor } from "../src/rpc/interceptors.ts";
import { type Mount, mount } from "../src/rpc/mount.ts";

/** Keys and interceptors for tests of the planes: auth's signing key, and the checks of a server. */
export interface TestMesh {
  readonly logger: Logger;
  /** Auth's public keys. */
  readonly keySource: KeySource;
  readonly keys: GenerateKeyPairResult & { readonly kid: string };
  /** The interceptors of every server. */
  readonly server: readonly Interceptor[];
  /** The interceptors of every client of this service. */
  client(service: string): Interceptor[];
  /** Headers of a call for this user. */
  userHeaders(identity?: Identity): Promise<Record<string, string>>;
}

/** The secret that test services share. */
export const meshSecret = "a-secret-of-the-tests-with-32-characters";

/** A user. */
export const alice: Identity = create(IdentitySchema, {
  userId: "0190a000-0000-7000-8000-000000000001",
  tokenId: "0190a000-0000-7000-8000-00000000000a",
  tokenType: TokenType.ACCESS,
  role: Role.USER,
});

/** Creates keys and interceptors for a test. */
export async function createTestMesh(logger = createLogger({ service: "test", level: "silent" })): Promise<TestMesh> {
  const kid = "test-key";
  const keys = { ...(await generateKeyPair("EdDSA", { extractable: true })), kid };
  const jwk = { ...(await exportJWK(keys.publicKey)), kid, alg: "EdDSA" };
  const keySource: KeySource = async () => ({ keys: [jwk] });
  return {
    logger,
    keySource,
    keys,
    server: serverInterceptors({
      logger,
      internalTokens: createInternalTokenVerifier(keySource),
      serviceTokens: createServiceTokenVerifier(meshSecret),
    }),
    client: (service) => [serviceCredentialsInterceptor(createServiceTokenSource(meshSecret, service))],
    userHeaders: async (identity = alice) => ({
      [internalTokenHeader]: await signInternalToken(keys, identity, Math.floor(Date.now() / 1000) + 300),
    }),
  };
}

/**
 * Handlers of one public method, one for the gateway, one for the orchestrator, and two for users (unary and streamed).
 */
export function testMounts(name = "here"): Mount[] {
  return [
    mount(TokenService, {
      getJwks: () => ({ keys: [] }),
      exchangeToken: () => ({ internalToken: name }),
      mintInternalToken: () => ({ internalToken: name }),
      listRevocations: () => ({}),
      checkApiKeys: () => ({}),
      nameCredentials: () => ({}),
      rotateSigningKey: () => ({}),
      listSigningKeys: () => ({}),
    }),
    mount(JournalService, { commitRun: () => ({}) } as never),
    mount(AgentService, {
      sendMessage: ({ message }: { message: string }) => ({ response: `${name}: ${message}` }),
      async *streamTurn({ message }: StreamTurnRequest) {
        for (const delta of message.split(" ")) yield { type: "content", delta };
      },
    } as never),
  ];
}

/** Clients of the services in `testMounts`. */
export function testClients(transport: Transport) {
  return {
    tokens: createClient(TokenService, transport),
    journal: createClient(JournalService, transport),
    agent: createClient(AgentService, transport),
  };
}
