/**
 * Prints the CPU time of one unary RPC, client and server together, on each plane: in-process, gRPC, and Connect-ES's
 * own gRPC for comparison. The server runs in its own process; rounds are interleaved and the medians are printed.
 *
 *   node bench/hop.ts [rounds]
 */
import { type ChildProcess, fork } from "node:child_process";
import type { webcrypto } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { create } from "@bufbuild/protobuf";
import { createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport as createConnectTransport } from "@connectrpc/connect-node";
import { AgentService, type SendMessageRequest } from "@turnwright/contract/agent/v1/agent_service";
import { IdentitySchema, Role, TokenType } from "@turnwright/contract/auth/v1/identity";
import { internalTokenHeader, requestIdHeader } from "@turnwright/platform/identity/identity";
import { createInternalTokenVerifier, signInternalToken } from "@turnwright/platform/identity/internal-token";
import type { KeySource } from "@turnwright/platform/identity/key-set";
import { createServiceTokenSource, createServiceTokenVerifier } from "@turnwright/platform/identity/service-token";
import { createLogger } from "@turnwright/platform/logger";
import { startGrpcServer } from "@turnwright/platform/rpc/grpc-server";
import { createGrpcTransport } from "@turnwright/platform/rpc/grpc-transport";
import { createInProcessTransport } from "@turnwright/platform/rpc/in-process";
import { serverInterceptors, serviceCredentialsInterceptor } from "@turnwright/platform/rpc/interceptors";
import { mount } from "@turnwright/platform/rpc/mount";

const concurrency = 64;
const conversationId = "01985f3c-7a52-7cc1-8a3e-9a6f3c2b1d00";
const logger = createLogger({ service: "bench", level: "silent" });
const mounts = [
  mount(AgentService, {
    sendMessage: ({ conversationId, message }: SendMessageRequest) => ({
      conversationId,
      response: message,
      message: { role: "assistant" },
    }),
  } as never),
];

const secret = "a-secret-of-32-characters-for-the-bench";
/** On every client: identifies the caller as the gateway, as in the mesh. */
const clientInterceptors = [serviceCredentialsInterceptor(createServiceTokenSource(secret, "gateway"))];

interface Secured {
  interceptors: Interceptor[];
  token: string;
}

/** Creates the interceptors of every server, and a token that they accept. */
async function secure(): Promise<Secured> {
  const { privateKey, publicKey } = (await crypto.subtle.generateKey("Ed25519", true, [
    "sign",
    "verify",
  ])) as webcrypto.CryptoKeyPair;
  const kid = "bench";
  const keySet = { keys: [{ ...(await crypto.subtle.exportKey("jwk", publicKey)), kid, alg: "EdDSA" }] } as Awaited<
    ReturnType<KeySource>
  >;
  const identity = create(IdentitySchema, {
    userId: crypto.randomUUID(),
    tokenId: crypto.randomUUID(),
    tokenType: TokenType.ACCESS,
    role: Role.USER,
  });
  const token = await signInternalToken({ privateKey, kid }, identity, Math.floor(Date.now() / 1000) + 3_600);
  return {
    token,
    interceptors: serverInterceptors({
      logger,
      internalTokens: createInternalTokenVerifier(async () => keySet),
      serviceTokens: createServiceTokenVerifier(secret),
    }),
  };
}

interface Ports {
  bare: number;
  secured: number;
  connect: number;
  token: string;
}

/** The server process: serves until its parent exits, and reports its CPU time on request. */
async function serve(): Promise<void> {
  const { interceptors, token } = await secure();
  const listen = (served: Interceptor[]) => startGrpcServer({ mounts, interceptors: served, host: "127.0.0.1", port: 0, logger });
  const bare = await listen([]);
  const secured = await listen(interceptors);
  const connect = createServer(
    connectNodeAdapter({
      routes: (router) => {
        for (const { service, impl } of mounts) router.service(service, impl);
      },
    }),
  ).listen(0, "127.0.0.1");
  await once(connect, "listening");
  process.on("message", () => process.send?.(process.cpuUsage()));
  process.on("disconnect", () => process.exit(0));
  process.send?.({ bare: bare.port, secured: secured.port, connect: (connect.address() as AddressInfo).port, token });
}

interface Plane {
  readonly name: string;
  readonly calls: number;
  readonly call: () => Promise<unknown>;
}

function planeOf(name: string, transport: Transport, calls: number, token: string): Plane {
  const client = createClient(AgentService, transport);
  const headers = { [internalTokenHeader]: token, [requestIdHeader]: "01985f3c7a527cc18a3e9a6f3c2b1d00" };
  const request = { conversationId, message: "What is 1337 * 42?" };
  return { name, calls, call: () => client.sendMessage(request, { headers }) };
}

async function run({ calls, call }: Pick<Plane, "calls" | "call">): Promise<void> {
  let left = calls;
  const worker = async () => {
    while (left-- > 0) await call();
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

const micros = (usage: NodeJS.CpuUsage) => usage.user + usage.system;

async function remoteCpu(server: ChildProcess): Promise<number> {
  server.send("cpu");
  const [usage] = (await once(server, "message")) as [NodeJS.CpuUsage];
  return micros(usage);
}

/** Microseconds of CPU per call, in this process and the server's. */
async function measure(plane: Plane, server: ChildProcess): Promise<number> {
  const remoteBefore = await remoteCpu(server);
  const before = micros(process.cpuUsage());
  await run(plane);
  const spent = micros(process.cpuUsage()) - before;
  return (spent + (await remoteCpu(server)) - remoteBefore) / plane.calls;
}

async function main(): Promise<void> {
  const rounds = Number(process.argv[2] ?? 5);
  const server = fork(import.meta.filename, ["server"]);
  const [ports] = (await once(server, "message")) as [Ports];
  const local = await secure();
  const bare = createGrpcTransport({ addresses: [`127.0.0.1:${ports.bare}`] });
  const secured = createGrpcTransport({ addresses: [`127.0.0.1:${ports.secured}`], interceptors: clientInterceptors });
  const planes = [
    planeOf("in-process", createInProcessTransport({ mounts }), 20_000, local.token),
    planeOf(
      "in-process, interceptors",
      createInProcessTransport({ mounts, interceptors: local.interceptors, clientInterceptors }),
      10_000,
      local.token,
    ),
    planeOf("gRPC plane", bare, 2_000, ports.token),
    planeOf("gRPC plane, interceptors", secured, 2_000, ports.token),
    planeOf("Connect-ES gRPC", createConnectTransport({ baseUrl: `http://127.0.0.1:${ports.connect}` }), 1_000, ports.token),
  ];
  const samples = new Map<string, number[]>(planes.map(({ name }) => [name, []]));
  try {
    for (const { call, calls } of planes) await run({ call, calls: calls / 2 });
    for (let round = 0; round < rounds; round++) {
      for (const plane of round % 2 === 0 ? planes : [...planes].reverse()) {
        samples.get(plane.name)?.push(await measure(plane, server));
      }
    }
  } finally {
    bare.close();
    secured.close();
    server.disconnect();
  }
  const medians = [...samples].map(([name, values]): [string, number] => {
    const sorted = values.sort((a, b) => a - b);
    return [name, Math.round((sorted[Math.floor(sorted.length / 2)] ?? 0) * 10) / 10];
  });
  console.log(`\nCPU of one unary call, both ends, ${concurrency} at once, median of ${rounds} rounds`);
  console.table(Object.fromEntries(medians.map(([name, value]) => [name, { "CPU µs": value }])));
  console.log(JSON.stringify({ hop: Object.fromEntries(medians) }));
  // Connect's transport keeps its connection open.
  process.exit(0);
}

await (process.argv[2] === "server" ? serve() : main());
