import type { Client } from "@grpc/grpc-js";

/** Asks the standard health service whether `name` (empty: the process) serves; `deadline` in milliseconds. */
export function askServing(client: Client, name: string, deadline: number): Promise<boolean> {
  const bytes = Buffer.from(name);
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      "/grpc.health.v1.Health/Check",
      // HealthCheckRequest { service = 1 }.
      () => (bytes.length === 0 ? bytes : Buffer.concat([Buffer.from([0x0a, bytes.length]), bytes])),
      // HealthCheckResponse { status = 1 }; 1 is SERVING.
      (answer: Buffer) => answer[0] === 0x08 && answer[1] === 1,
      undefined,
      { deadline },
      (error, serving) => (error === null ? resolve(serving === true) : reject(error)),
    );
  });
}
