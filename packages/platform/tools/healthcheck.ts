/**
 * A container's health check: queries HEALTHCHECK_URL over HTTP, or the gRPC health service at HEALTHCHECK_ADDR, with
 * the part's own certificate when the mesh uses TLS (MESH_TLS_CA, MESH_TLS_CERT, MESH_TLS_KEY). With neither, it asks
 * the part that listens on GRPC_PORT, or the gateway on SERVER_PORT (8080). Exits with 0 when the part serves, 1
 * otherwise.
 */
import { isIPv6 } from "node:net";

const timeoutMs = 2_000;

/** Credentials of the part itself, and the name in its certificate. */
async function ownCredentials() {
  const { credentials } = await import("@grpc/grpc-js");
  const { meshTlsPaths, readMeshTls } = await import("../src/mesh-tls/certificate-files.ts");
  const { expectService } = await import("../src/mesh-tls/service-certificate.ts");
  const paths = meshTlsPaths(Object.fromEntries(Object.entries(process.env).filter(([, value]) => value !== "")));
  if (paths === undefined) return { channel: credentials.createInsecure() };
  const read = readMeshTls(paths);
  if ("faults" in read) throw new Error(read.faults.join("\n"));
  const name = read.services[0] ?? "";
  return { channel: credentials.createSsl(read.ca, read.key, read.cert, { checkServerIdentity: expectService(name) }), name };
}

async function grpcServing(address: string): Promise<boolean> {
  // Loaded here, because a container's HTTP check runs every few seconds without it.
  const { Client } = await import("@grpc/grpc-js");
  const { channel, name } = await ownCredentials();
  const client = new Client(address, channel, name === undefined ? {} : { "grpc.ssl_target_name_override": name });
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      "/grpc.health.v1.Health/Check",
      () => Buffer.alloc(0),
      // HealthCheckResponse { status = 1 }; 1 is SERVING.
      (bytes: Buffer) => bytes[0] === 0x08 && bytes[1] === 1,
      undefined,
      { deadline: Date.now() + timeoutMs },
      (error, serving) => {
        client.close();
        resolve(error === null && serving === true);
      },
    );
  });
}

async function httpServing(url: string): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) }).catch(() => undefined);
  return response?.ok ?? false;
}

/** An address that reaches a server of this container which listens on `host`; a wildcard is reached by loopback. */
function reach(host: string | undefined, port: string): string {
  const name = host === undefined || host === "" || host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host;
  return `${isIPv6(name) ? `[${name}]` : name}:${port}`;
}

const { HEALTHCHECK_ADDR, HEALTHCHECK_URL, GRPC_HOST, GRPC_PORT, SERVER_HOST, SERVER_PORT } = process.env;
const address = HEALTHCHECK_ADDR || (!HEALTHCHECK_URL && GRPC_PORT ? reach(GRPC_HOST, GRPC_PORT) : undefined);
const url = HEALTHCHECK_URL || `http://${reach(SERVER_HOST, SERVER_PORT || "8080")}/ready`;
process.exitCode = (await (address ? grpcServing(address) : httpServing(url))) ? 0 : 1;
