import { type DescMethod, getOption, type Message } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type Interceptor,
  type StreamRequest,
  type StreamResponse,
  type UnaryRequest,
} from "@connectrpc/connect";
import { Access, access, callers, scopes } from "@turnwright/contract/auth/v1/access";
import { type Identity, TokenType } from "@turnwright/contract/auth/v1/identity";
import { detailOf, ErrorReason, fail } from "../errors.ts";
import {
  callerServiceKey,
  clientAddressHeader,
  clientAgentHeader,
  gatewayService,
  identityKey,
  internalTokenHeader,
  isAdmin,
  peerServicesKey,
  requestIdHeader,
  serviceTokenHeader,
} from "../identity/identity.ts";
import type { InternalTokenVerifier } from "../identity/internal-token.ts";
import type { ServiceTokenVerifier } from "../identity/service-token.ts";
import type { Logger } from "../logger.ts";
import { invalidRequest, requestFaults } from "./request-faults.ts";

type AnyRequest = UnaryRequest | StreamRequest;

/** Runs a check on each message of a stream. */
async function* inspect<T>(messages: AsyncIterable<T>, check: (message: T) => void): AsyncGenerator<T> {
  for await (const message of messages) {
    check(message);
    yield message;
  }
}

/** Passes the failure of a response stream to `onError`, which throws the error for the caller. */
function guardStream(response: StreamResponse, onError: (error: unknown) => never): StreamResponse {
  const messages = response.message;
  // Not a copy: headers and trailers are created on first access.
  return Object.assign(response, {
    message: {
      [Symbol.asyncIterator]() {
        const iterator = messages[Symbol.asyncIterator]();
        return {
          next: () => iterator.next().catch(onError),
          return: async (value?: unknown) => {
            await iterator.return?.();
            return { done: true as const, value };
          },
        };
      },
    },
  });
}

/**
 * Outermost on every server. An unexpected error is logged once under its request id and leaves as INTERNAL without its
 * message; any other error leaves with the request id in its detail. Wrong clocks are logged every ten seconds at most:
 * they fail every call.
 */
export function errorInterceptor(logger: Logger): Interceptor {
  let skewLoggedAt = Number.NEGATIVE_INFINITY;
  const logSkew = (error: unknown) => {
    if (performance.now() - skewLoggedAt < skewLogMs) return;
    skewLoggedAt = performance.now();
    logger.error({ err: error }, "the clocks of the mesh differ");
  };
  const normalize = (request: AnyRequest, error: unknown): never => {
    const requestId = request.header.get(requestIdHeader) ?? "";
    const detail = detailOf(error);
    if (detail !== undefined) {
      if (detail.reason === ErrorReason.CLOCK_SKEW) logSkew(error);
      if (detail.requestId === "") detail.requestId = requestId;
      throw error;
    }
    if (error instanceof ConnectError && error.code !== Code.Unknown && error.code !== Code.Internal) throw error;
    if (request.signal.aborted) throw ConnectError.from(request.signal.reason ?? error, Code.Canceled);
    logger.error({ err: error, method: request.method.name, request_id: requestId }, "unexpected error");
    const internal = fail(ErrorReason.INTERNAL, "Something went wrong on our side.", { cause: error });
    const internalDetail = detailOf(internal);
    if (internalDetail !== undefined) internalDetail.requestId = requestId;
    throw internal;
  };
  return (next) => async (request) => {
    try {
      const response = await next(request);
      return response.stream ? guardStream(response, (error) => normalize(request, error)) : response;
    } catch (error) {
      return normalize(request, error);
    }
  };
}

const skewLogMs = 10_000;

interface Rule {
  readonly access: Access;
  readonly callers: readonly string[];
  readonly scopes: readonly string[];
}

const ruleByMethod = new Map<DescMethod, Rule>();

function ruleOf(method: DescMethod): Rule {
  let rule = ruleByMethod.get(method);
  if (rule === undefined) {
    const declared = getOption(method, access);
    const named = getOption(method, callers);
    const isForUsers = declared === Access.USER || declared === Access.ADMIN;
    rule = {
      access: declared,
      callers: named.length === 0 && isForUsers ? [gatewayService] : named,
      scopes: getOption(method, scopes),
    };
    ruleByMethod.set(method, rule);
  }
  return rule;
}

/** The declared access of a method, from the proto; a method without one is denied. */
export function accessOf(method: DescMethod): Access {
  return ruleOf(method).access;
}

/**
 * The services that may call a non-public method, from the proto; a user method without `callers` takes its calls from
 * the gateway.
 */
export function callersOf(method: DescMethod): readonly string[] {
  return ruleOf(method).callers;
}

/** The scopes of which an API key needs one to call a method; with none, the method is for logins only. */
export function scopesOf(method: DescMethod): readonly string[] {
  return ruleOf(method).scopes;
}

/** Whether the token's kind and scopes allow a method of these scopes. A method without scopes is for logins only. */
function holdsScope(identity: Identity, allowed: readonly string[]): boolean {
  if (identity.tokenType === TokenType.ACCESS && identity.scopes.length === 0) return true;
  return allowed.length > 0 && (identity.scopes.length === 0 || allowed.some((scope) => identity.scopes.includes(scope)));
}

/**
 * Whether the gateway brings a call of this caller to a method into the mesh, by the method's declared access and
 * scopes; without an identity, whether everyone may call it.
 */
export function mayCall(method: DescMethod, identity: Identity | undefined): boolean {
  const rule = ruleOf(method);
  if (rule.access === Access.PUBLIC) return true;
  if (identity === undefined || !rule.callers.includes(gatewayService)) return false;
  if (rule.access !== Access.USER && !(rule.access === Access.ADMIN && isAdmin(identity))) return false;
  return holdsScope(identity, rule.scopes);
}

/** Rejects calls that the token's kind and scopes do not allow. */
function admitScope(identity: Identity, allowed: readonly string[]): void {
  if (holdsScope(identity, allowed)) return;
  if (allowed.length === 0) {
    throw fail(ErrorReason.PERMISSION_DENIED, "This call needs a login; an API key is not enough.");
  }
  throw fail(ErrorReason.PERMISSION_DENIED, `This API key lacks the scope ${allowed.join(" or ")}.`, { param: "scopes" });
}

/**
 * Admits callers by the method's declared access, callers and scopes (default deny), and puts the verified identity and
 * service into the context. With client certificates, a service token counts only together with the
 * certificate of its service.
 */
export function accessInterceptor(deps: {
  internalTokens: InternalTokenVerifier;
  serviceTokens: ServiceTokenVerifier;
}): Interceptor {
  const authenticate = async (request: AnyRequest): Promise<Identity | undefined> => {
    const token = request.header.get(internalTokenHeader);
    if (token === null) return undefined;
    const identity = deps.internalTokens.cached(token) ?? (await deps.internalTokens.verify(token));
    request.contextValues.set(identityKey, identity);
    return identity;
  };
  /** The calling service; synchronous when its token is known. */
  const tokenServiceOf = (request: AnyRequest): string | undefined | Promise<string> => {
    const token = request.header.get(serviceTokenHeader);
    return token === null ? undefined : (deps.serviceTokens.cached(token) ?? deps.serviceTokens.verify(token));
  };
  const acceptService = (request: AnyRequest, service: string): void => {
    const peers = request.contextValues.get(peerServicesKey);
    if (peers !== undefined && !peers.includes(service)) {
      throw fail(ErrorReason.PERMISSION_DENIED, `The service token is for ${service}, the certificate is not.`);
    }
    request.contextValues.set(callerServiceKey, service);
  };
  const admitService = (request: AnyRequest, allowed: readonly string[], service: string | undefined): void => {
    if (service === undefined) throw fail(ErrorReason.PERMISSION_DENIED, "This call is for services of the mesh.");
    acceptService(request, service);
    if (!allowed.includes(service)) {
      throw fail(ErrorReason.PERMISSION_DENIED, `${service} may not call ${request.service.typeName}/${request.method.name}.`);
    }
  };
  return (next) => async (request) => {
    const { access: declared, callers: allowed, scopes: scopesNamed } = ruleOf(request.method);
    const known = tokenServiceOf(request);
    const service = known instanceof Promise ? await known : known;
    switch (declared) {
      case Access.PUBLIC:
        // Public methods are open to everybody, but a service token must still be genuine.
        if (service !== undefined) acceptService(request, service);
        // Limits on failed attempts count by this address, and only the gateway has seen the client.
        if (service !== gatewayService) {
          request.header.delete(clientAddressHeader);
          request.header.delete(clientAgentHeader);
        }
        break;
      case Access.USER:
      case Access.ADMIN: {
        const identity = await authenticate(request);
        if (identity === undefined) throw fail(ErrorReason.UNAUTHENTICATED, "This call needs a user's credentials.");
        admitService(request, allowed, service);
        if (declared === Access.ADMIN && !isAdmin(identity))
          throw fail(ErrorReason.PERMISSION_DENIED, "This call is for admins.");
        // Calls of another service serve a user's call that was already checked when it entered the mesh.
        if (service === gatewayService) admitScope(identity, scopesNamed);
        break;
      }
      case Access.SERVICE:
        admitService(request, allowed, service);
        await authenticate(request);
        break;
      default:
        throw fail(ErrorReason.PERMISSION_DENIED, "No caller may use this method.");
    }
    return next(request);
  };
}

/**
 * Validates request messages against the rules in the protos, and those from outside the mesh against values that no
 * field may hold. Throws INVALID_REQUEST with all faulty fields.
 */
export function validationInterceptor(): Interceptor {
  const check = (method: DescMethod, message: Message): void => {
    // Services forward output of models and tools, and sanitise it at the place where they store it.
    const faults = requestFaults(method.input, message, accessOf(method) !== Access.SERVICE);
    if (faults.length > 0) throw invalidRequest(faults);
  };
  return (next) => async (request) => {
    if (!request.stream) {
      check(request.method, request.message as Message);
      return next(request);
    }
    return next({ ...request, message: inspect(request.message, (message) => check(request.method, message as Message)) });
  };
}

/** The interceptors of every server, outermost first. */
export function serverInterceptors(deps: {
  logger: Logger;
  internalTokens: InternalTokenVerifier;
  serviceTokens: ServiceTokenVerifier;
}): Interceptor[] {
  return [errorInterceptor(deps.logger), accessInterceptor(deps), validationInterceptor()];
}

/** On every client inside the mesh: proves the calling service. */
export function serviceCredentialsInterceptor(source: () => string | Promise<string>): Interceptor {
  return (next) => (request) => {
    const token = source();
    if (typeof token === "string") {
      request.header.set(serviceTokenHeader, token);
      return next(request);
    }
    return token.then((value) => {
      request.header.set(serviceTokenHeader, value);
      return next(request);
    });
  };
}
