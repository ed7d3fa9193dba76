/**
 * A container's health check: queries HEALTHCHECK_URL over HTTP, or the gRPC health service at HEALTHCHECK_ADDR, with
 * the part's own certificate when the mesh uses TLS (MESH_TLS_CA, MESH_TLS_CERT, MESH_TLS_KEY). Exits with 0 when the
 * part serves, 1 otherwise.
 */
import { type ChannelCredentials, Client, credentials } from "@grpc/grpc-js";
import { meshTlsPaths, readMeshTls } from "../src/mesh-tls/certificate-files.ts";
import { expectService } from "../src/mesh-tls/service-certificate.ts";

const timeoutMs = 2_000;

/** Credentials of the part itself, and the name in its certificate. */
function ownCredentials(): { channel: ChannelCredentials; name?: string } {
  const paths = meshTlsPaths(Object.fromEntries(Object.entries(process.env).filter(([, value]) => value !== "")));
  if (paths === undefined) return { channel: credentials.createInsecure() };
  const read = readMeshTls(paths);
  if ("faults" in read) throw new Error(read.faults.join("\n"));
  const name = read.services[0] ?? "";
  return { channel: credentials.createSsl(read.ca, read.key, read.cert, { checkServerIdentity: expectService(name) }), name };
}

function grpcServing(address: string): Promise<boolean> {
  const { channel, name } = ownCredentials();
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

const address = process.env.HEALTHCHECK_ADDR;
const url = process.env.HEALTHCHECK_URL ?? "http://127.0.0.1:8080/ready";
process.exitCode = (await (address ? grpcServing(address) : httpServing(url))) ? 0 : 1;
