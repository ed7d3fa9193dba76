import { create, type DescMethod, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { Health, type HealthCheckResponse } from "@turnwright/contract/grpc/health/v1/health";
import {
  ServerReflection,
  type ServerReflectionRequestSchema,
  type ServerReflectionResponse,
} from "@turnwright/contract/grpc/reflection/v1/reflection";

function codecs({ input, output }: DescMethod) {
  return {
    write: (message: unknown) => Buffer.from(toBinary(input, create(input, message as never))),
    read: (bytes: Buffer) => fromBinary(output, bytes) as unknown,
  };
}

function metadataOf(token: string | undefined): Metadata {
  const metadata = new Metadata();
  if (token !== undefined) metadata.set("authorization", `Bearer ${token}`);
  return metadata;
}

type ReflectionRequest = MessageInitShape<typeof ServerReflectionRequestSchema>["messageRequest"];

/** A grpc-js client of the health and reflection services. */
export interface DiscoveryClient {
  /** Sends requests on one stream and ends it after their answers. `version` is that of the package. */
  reflect(
    requests: readonly NonNullable<ReflectionRequest>[],
    options?: { token?: string; version?: "v1" | "v1alpha" },
  ): Promise<ServerReflectionResponse["messageResponse"][]>;
  /** Opens a reflection stream and leaves it open; resolves when the server ends it, rejects when it fails. */
  hold(token: string): { readonly first: Promise<void>; readonly ended: Promise<void> };
  check(service: string): Promise<HealthCheckResponse>;
  /** The statuses of a service as they come; `stop` cancels. */
  watch(service: string): { readonly next: () => Promise<number | undefined>; stop(): void };
  close(): void;
}

/** Creates a client of the server at `address`, `host:port`. */
export function createDiscoveryClient(address: string): DiscoveryClient {
  const client = new Client(address, credentials.createInsecure());
  const { write, read } = codecs(ServerReflection.method.serverReflectionInfo);
  const open = (version: string, token: string | undefined) =>
    client.makeBidiStreamRequest(
      `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
      write,
      read as unknown as (bytes: Buffer) => ServerReflectionResponse,
      metadataOf(token),
    );
  return {
    reflect(requests, { token, version = "v1" } = {}) {
      const call = open(version, token);
      const answers: ServerReflectionResponse["messageResponse"][] = [];
      return new Promise((resolve, reject) => {
        call.on("data", ({ messageResponse }) => {
          answers.push(messageResponse);
          if (answers.length === requests.length) call.end();
        });
        call.on("end", () => resolve(answers));
        call.on("error", reject);
        for (const messageRequest of requests) call.write({ messageRequest });
      });
    },
    hold(token) {
      const call = open("v1", token);
      const first = new Promise<void>((resolve) => call.once("data", () => resolve()));
      const ended = new Promise<void>((resolve, reject) => {
        call.on("end", resolve);
        call.on("error", reject);
      });
      call.write({ messageRequest: { case: "listServices", value: "*" } });
      return { first, ended };
    },
    check(service) {
      const codec = codecs(Health.method.check);
      return new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          "/grpc.health.v1.Health/Check",
          codec.write,
          codec.read as unknown as (bytes: Buffer) => HealthCheckResponse,
          { service },
          (error: ServiceError | null, answer) => (error === null && answer !== undefined ? resolve(answer) : reject(error)),
        );
      });
    },
    watch(service) {
      const codec = codecs(Health.method.watch);
      const path = "/grpc.health.v1.Health/Watch";
      const reading = codec.read as unknown as (bytes: Buffer) => HealthCheckResponse;
      const call = client.makeServerStreamRequest(path, codec.write, reading, { service });
      call.on("error", () => {});
      const statuses = call[Symbol.asyncIterator]() as AsyncIterator<HealthCheckResponse>;
      return {
        next: async () => {
          const { value, done } = await statuses.next();
          return done ? undefined : (value as HealthCheckResponse).status;
        },
        stop: () => call.cancel(),
      };
    },
    close: () => client.close(),
  };
}
