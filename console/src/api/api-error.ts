/** A refusal or failure of a request, as the server told it, or as the browser did. */
export class ApiError extends Error {
  /** HTTP status; 0 when no answer came. */
  readonly status: number;
  /** The code of docs/errors.md; OFFLINE when no answer came. */
  readonly code: string;
  /** The field at fault, empty when none is named. */
  readonly param: string;
  readonly faults: readonly { readonly param: string; readonly message: string }[];
  /** The id under which the server logged the request. */
  readonly requestId: string;
  /** Seconds after which to try again, 0 when the server named none. */
  readonly retryAfter: number;
  /** The whole answer, for refusals that carry more. */
  readonly body: unknown;

  /** Whether the session is at fault, and not a password in the request. */
  get isAboutSession(): boolean {
    return (
      this.status === 401 && ["UNAUTHORIZED", "INVALID_TOKEN", "TOKEN_EXPIRED", "REFRESH_ERROR", "NO_SESSION"].includes(this.code)
    );
  }

  constructor(init: {
    status: number;
    code: string;
    message: string;
    param?: string;
    faults?: readonly { readonly param: string; readonly message: string }[];
    requestId?: string;
    retryAfter?: number;
    body?: unknown;
  }) {
    super(init.message);
    this.name = "ApiError";
    this.status = init.status;
    this.code = init.code;
    this.param = init.param ?? "";
    this.faults = init.faults ?? [];
    this.requestId = init.requestId ?? "";
    this.retryAfter = init.retryAfter ?? 0;
    this.body = init.body;
  }
}

interface ErrorBody {
  readonly error?: {
    readonly message?: string;
    readonly code?: string;
    readonly param?: string | null;
    readonly faults?: readonly { readonly param: string | null; readonly message: string }[];
  };
}

/** Reads the error of an answer whose status says that it is one. */
export async function errorOf(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => undefined)) as ErrorBody | undefined;
  const told = body?.error;
  return new ApiError({
    status: response.status,
    code: told?.code ?? `HTTP_${response.status}`,
    message: told?.message ?? `The server answered ${response.status}.`,
    param: told?.param ?? "",
    faults: (told?.faults ?? []).map(({ param, message }) => ({ param: param ?? "", message })),
    requestId: response.headers.get("x-request-id") ?? "",
    retryAfter: Number(response.headers.get("retry-after")) || 0,
    body,
  });
}

/** The error of a request that got no answer. */
export function unanswered(): ApiError {
  return new ApiError({ status: 0, code: "OFFLINE", message: "The server did not answer." });
}

/** Whether a request ended because its page was left. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}
