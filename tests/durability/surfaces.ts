import {
  type DescMethodUnary,
  fromBinary,
  type JsonObject,
  type MessageInitShape,
  toJson,
  toJsonString,
} from "@bufbuild/protobuf";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ErrorDetailSchema } from "@turnwright/contract/errors/v1/reason";
import { reasonName, reasonOf } from "@turnwright/platform/errors";
import { asMessage } from "@turnwright/platform/rpc/plane";

/** The API surfaces. */
export const surfaceNames = ["rest", "connect", "grpc"] as const;
export type SurfaceName = (typeof surfaceNames)[number];

/** A creating call, in the form of every surface. */
export interface SurfaceCall {
  readonly method: DescMethodUnary;
  readonly message: MessageInitShape<DescMethodUnary["input"]>;
  /** Its REST path; the verb is POST. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** A response of any surface. */
export interface SurfaceAnswer {
  /** Whether it is a success. */
  readonly ok: boolean;
  /** The response; byte for byte where the surface has text. */
  readonly text: string;
  /** Of a failure: status and code on REST, else the reason. */
  readonly code: string;
  /** Whether it is marked as replayed. */
  readonly replayed: boolean;
}

/** Sends a call to a system. */
export type Surface = (call: SurfaceCall) => Promise<SurfaceAnswer>;

async function post(url: string, headers: Readonly<Record<string, string>>, body: JsonObject) {
  const response = await fetch(url, {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  return { response, text, replayed: response.headers.get("idempotent-replayed") === "true" };
}

/** The surfaces of a system. */
export function surfacesOf(baseUrl: string): Readonly<Record<SurfaceName, Surface>> {
  const jsonOf = ({ method, message }: SurfaceCall, useProtoFieldName: boolean) =>
    toJson(method.input, asMessage(method.input, message), { useProtoFieldName }) as JsonObject;
  const grpc = createGrpcTransport({ baseUrl });
  return {
    async rest(call) {
      const { response, text, replayed } = await post(baseUrl + call.path, call.headers, jsonOf(call, true));
      const code: string = response.ok ? "" : `${response.status} ${JSON.parse(text).error.code}`;
      return { ok: response.ok, text, code, replayed };
    },
    async connect(call) {
      const { parent, name } = call.method;
      const { response, text, replayed } = await post(`${baseUrl}/${parent.typeName}/${name}`, call.headers, jsonOf(call, false));
      if (response.ok) return { ok: true, text, code: "", replayed };
      const { details } = JSON.parse(text) as { details: { value: string }[] };
      const detail = fromBinary(ErrorDetailSchema, Buffer.from(details[0]?.value ?? "", "base64"));
      return { ok: false, text, code: reasonName(detail.reason), replayed };
    },
    async grpc({ method, message, headers }) {
      try {
        const answer = await grpc.unary(method, undefined, undefined, headers, message);
        const text = toJsonString(method.output, answer.message);
        return { ok: true, text, code: "", replayed: answer.header.get("idempotent-replayed") === "true" };
      } catch (error) {
        return { ok: false, text: String(error), code: reasonName(reasonOf(error)), replayed: false };
      }
    },
  };
}
