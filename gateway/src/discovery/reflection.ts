import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { Access } from "@turnwright/contract/auth/v1/access";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { ServerReflectionRequest } from "@turnwright/contract/grpc/reflection/v1/reflection";
import type { ServerReflectionRequest as AlphaRequest } from "@turnwright/contract/grpc/reflection/v1alpha/reflection";
import { accessOf, mayCall } from "@turnwright/platform/rpc/interceptors";
import { type VisibleApi, visibleApi } from "./visible-api.ts";

/** Maximum number of views kept: one for each set of methods that a caller may call. */
const maxViews = 32;

/** Whether the public port serves a method, whoever may call it. */
function isPublic(method: DescMethod): boolean {
  const access = accessOf(method);
  return access !== Access.SERVICE && access !== Access.UNSPECIFIED;
}

/**
 * Returns the view of a caller: the services' methods that they may call, without an identity all that are public.
 * `open` services are shown to everybody.
 */
export function createViews(services: readonly DescService[], open: readonly DescService[]) {
  const methods = services.flatMap((service) => service.methods.filter(isPublic));
  const views = new Map<string, VisibleApi>();
  return (identity: Identity | undefined): VisibleApi => {
    const visible = new Set(identity === undefined ? methods : methods.filter((method) => mayCall(method, identity)));
    const key = JSON.stringify(methods.flatMap((method, index) => (visible.has(method) ? [index] : [])));
    let view = views.get(key);
    if (view === undefined) {
      view = visibleApi([...services, ...open], (method) => visible.has(method) || open.includes(method.parent));
      if (views.size >= maxViews) views.clear();
      views.set(key, view);
    }
    return view;
  };
}

function refusal(errorCode: Code, errorMessage: string) {
  return { case: "errorResponse", value: { errorCode, errorMessage } } as const;
}

function filesOf(api: VisibleApi, name: string | undefined, what: string) {
  const files = name === undefined ? undefined : api.withImports(name);
  if (files === undefined) return refusal(Code.NotFound, `Not found: ${what}.`);
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto: files } } as const;
}

/** The answer to one reflection request: an unknown name is an answer of its own, and ends no stream. */
export function reflectionAnswer(
  api: VisibleApi,
  asked: ServerReflectionRequest["messageRequest"] | AlphaRequest["messageRequest"],
) {
  switch (asked.case) {
    case "listServices":
      return { case: "listServicesResponse", value: { service: api.services.map((name) => ({ name })) } } as const;
    case "fileByFilename":
      return filesOf(api, asked.value, "the file");
    case "fileContainingSymbol":
      return filesOf(api, api.fileOf(asked.value), "the symbol");
    case "fileContainingExtension":
    case "allExtensionNumbersOfType":
      return refusal(Code.NotFound, "No extension is shown here.");
    case undefined:
      return refusal(Code.InvalidArgument, "The request names nothing to look up.");
    default:
      return asked satisfies never;
  }
}
