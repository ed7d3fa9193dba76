import * as grpc from "@grpc/grpc-js";
import * as protoLoader from "@grpc/proto-loader";
import { describe, expect, test } from "vitest";
import type { System } from "../e2e/system.ts";

type AnyService = grpc.Client & Record<string, (...args: unknown[]) => grpc.ClientReadableStream<Record<string, unknown>>>;

/** Asks a server's reflection service for the files of a symbol, as any gRPC client would. */
async function reflect(address: string, symbol: string): Promise<Buffer[]> {
  const definition = protoLoader.fromJSON({
    nested: {
      grpc: {
        nested: {
          reflection: {
            nested: {
              v1: {
                nested: {
                  ServerReflection: {
                    methods: {
                      ServerReflectionInfo: {
                        requestType: "ServerReflectionRequest",
                        requestStream: true,
                        responseType: "ServerReflectionResponse",
                        responseStream: true,
                      },
                    },
                  },
                  ServerReflectionRequest: {
                    fields: { host: { type: "string", id: 1 }, fileContainingSymbol: { type: "string", id: 4 } },
                  },
                  ServerReflectionResponse: {
                    fields: { fileDescriptorResponse: { type: "FileDescriptorResponse", id: 4 } },
                  },
                  FileDescriptorResponse: { fields: { fileDescriptorProto: { rule: "repeated", type: "bytes", id: 1 } } },
                },
              },
            },
          },
        },
      },
    },
  } as never);
  const { grpc: loaded } = grpc.loadPackageDefinition(definition) as never as {
    grpc: { reflection: { v1: { ServerReflection: grpc.ServiceClientConstructor } } };
  };
  const client = new loaded.reflection.v1.ServerReflection(address, grpc.credentials.createInsecure());
  try {
    return await new Promise((resolve, reject) => {
      const call = (
        client as never as { ServerReflectionInfo(): grpc.ClientDuplexStream<unknown, unknown> }
      ).ServerReflectionInfo();
      call.on("data", (answer: { fileDescriptorResponse?: { fileDescriptorProto: Buffer[] } }) => {
        resolve(answer.fileDescriptorResponse?.fileDescriptorProto ?? []);
        call.end();
      });
      call.on("error", reject);
      call.write({ fileContainingSymbol: symbol });
    });
  } finally {
    client.close();
  }
}

/** Encodes files as a FileDescriptorSet: a length-delimited list of files. */
function descriptorSet(files: readonly Buffer[]): Buffer {
  return Buffer.concat(
    files.flatMap((file) => {
      const head: number[] = [0x0a];
      let length = file.length;
      while (length > 127) {
        head.push((length & 127) | 128);
        length >>>= 7;
      }
      return [Buffer.from([...head, length]), file];
    }),
  );
}

function clientOf(files: readonly Buffer[], name: string, address: string): AnyService {
  const loaded = grpc.loadPackageDefinition(
    protoLoader.loadFileDescriptorSetFromBuffer(descriptorSet(files), { keepCase: true }),
  );
  const Service = name.split(".").reduce<unknown>((at, part) => (at as Record<string, unknown>)[part], loaded);
  return new (Service as grpc.ServiceClientConstructor)(address, grpc.credentials.createInsecure()) as never as AnyService;
}

const unary = <T>(client: AnyService, method: string, request: object): Promise<T> =>
  new Promise((resolve, reject) => {
    client[method]?.(request, (error: Error | null, answer: T) => (error === null ? resolve(answer) : reject(error)));
  });

/** Tests with a client that knows nothing of the contract, against a mesh of processes. */
export function describeForeignGrpc(running: () => System): void {
  describe("a foreign gRPC client that relies on reflection alone", () => {
    /** The address of a service of the mesh, taken from its log. */
    function addressOf(service: string): string {
      for (const line of running().log().split("\n")) {
        if (!line.startsWith("{")) continue;
        const entry = JSON.parse(line) as { port?: number; services?: string[] };
        if (entry.services?.includes(service)) return `127.0.0.1:${entry.port}`;
      }
      throw new Error(`${service} is served nowhere in the mesh.`);
    }

    test("registers, logs in and streams a turn through the gateway's only port", async () => {
      const gateway = `127.0.0.1:${running().port}`;
      const auth = clientOf(
        await reflect(addressOf("turnwright.auth.v1.AuthService"), "turnwright.auth.v1.AuthService"),
        "turnwright.auth.v1.AuthService",
        gateway,
      );
      const credentials = { email: "grpc@example.com", password: "correct-horse-battery" };
      await unary(auth, "Register", { ...credentials, name: "gRPC" });
      const session = await unary<{ access_token: string; expires_in: number }>(auth, "Login", credentials);
      expect(session.expires_in).toBe(900);

      const files = await reflect(addressOf("turnwright.agent.v1.AgentService"), "turnwright.agent.v1.AgentService");
      const agent = clientOf(files, "turnwright.agent.v1.AgentService", gateway);
      const metadata = new grpc.Metadata();
      metadata.set("authorization", `Bearer ${session.access_token}`);
      const call = agent.StreamTurn?.({ message: "What is 1337 * 42?" }, metadata) as grpc.ClientReadableStream<
        Record<string, string>
      >;
      const types: string[] = [];
      let text = "";
      for await (const event of call) {
        types.push(event.type as string);
        if (event.type === "content") text += event.delta;
      }
      expect(types[0]).toBe("started");
      expect(types).toContain("tool_result");
      expect(types.at(-1)).toBe("finish");
      expect(text).toContain("56154");
      auth.close();
      agent.close();
    });

    test("is refused by a service when it bypasses the gateway", async () => {
      const address = addressOf("turnwright.agent.v1.AgentService");
      const agent = clientOf(
        await reflect(address, "turnwright.agent.v1.AgentService"),
        "turnwright.agent.v1.AgentService",
        address,
      );
      await expect(unary(agent, "ListAgents", {})).rejects.toMatchObject({ code: grpc.status.UNAUTHENTICATED });
      agent.close();
    });
  });
}
