/** The messages of Connect's conformance suite, as protobuf-es represents them; only the fields that are used. */
import type { Any } from "@bufbuild/protobuf/wkt";

/** A header or trailer field with all its values. */
export interface Field {
  readonly name: string;
  readonly value: readonly string[];
}

/** An error to raise, or one that was received. */
export interface ErrorDefinition {
  readonly code: number;
  readonly message?: string;
  readonly details: readonly Any[];
}

/** The response that a unary call asks for. */
export interface UnaryDefinition {
  readonly responseHeaders: readonly Field[];
  readonly response:
    | { readonly case: "responseData"; readonly value: Uint8Array }
    | { readonly case: "error"; readonly value: ErrorDefinition }
    | { readonly case: undefined };
  readonly responseTrailers: readonly Field[];
  readonly responseDelayMs: number;
}

/** The responses that a stream asks for. */
export interface StreamDefinition {
  readonly responseHeaders: readonly Field[];
  readonly responseData: readonly Uint8Array[];
  readonly responseDelayMs: number;
  readonly error?: ErrorDefinition;
  readonly responseTrailers: readonly Field[];
}

/** The properties that the runner asks of a server: a limit of 0 stands for none. */
export interface ServerRequest {
  readonly messageReceiveLimit: number;
}

/** A call that the runner asks a client to make. */
export interface ClientRequest {
  readonly testName: string;
  readonly host: string;
  readonly port: number;
  readonly messageReceiveLimit: number;
  readonly service?: string;
  readonly method?: string;
  readonly requestHeaders: readonly Field[];
  readonly requestMessages: readonly Any[];
  readonly timeoutMs?: number;
  readonly requestDelayMs: number;
  readonly cancel?: {
    readonly cancelTiming:
      | { readonly case: "afterCloseSendMs"; readonly value: number }
      | { readonly case: "afterNumResponses"; readonly value: number }
      | { readonly case: "beforeCloseSend" | undefined };
  };
}
