/**
 * The health check of a container: asks HEALTHCHECK_URL over HTTP, or the gRPC health service at HEALTHCHECK_ADDR. Exits 0 when it
 * serves, 1 otherwise.
 */
import { Client, credentials } from "@grpc/grpc-js";

const timeoutMs = 2_000;

function grpcServing(address: string): Promise<boolean> {
  const client = new Client(address, credentials.createInsecure());
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
