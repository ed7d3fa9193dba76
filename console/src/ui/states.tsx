import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { ApiError } from "../api/api-error.ts";
import { currentUser } from "../api/session.ts";
import { Button } from "./button.tsx";
import { Copy } from "./copy.tsx";

/** The words for what is loading; nothing for the first 150 ms. */
export function Loading({ what }: { readonly what: string }) {
  const [isShown, setShown] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setShown(true), 150);
    return () => clearTimeout(timer);
  }, []);
  return <p class="meta">{isShown ? `Loading ${what}…` : "\u00a0"}</p>;
}

/** The words where a list has no rows, with what to do. */
export function Empty({ children }: { readonly children: ComponentChildren }) {
  return <div class="notice">{children}</div>;
}

/** The sentence for an error, in the words of the whole console. */
export function errorText(error: ApiError): string {
  const { status, code, message } = error;
  if (status === 0) return "Offline: the server did not answer.";
  if (error.isAboutSession) return "Your session has ended. Log in to go on; your text is kept.";
  if (status === 429) return `Too many requests. Try again in ${Math.max(1, error.retryAfter)} s.`;
  if (status >= 500) return `The server could not answer (${code}).`;
  if (status === 403 && location.pathname.startsWith("/console/admin")) {
    return `This page is for admins. Your role is ${currentUser.value?.role ?? "unknown"}.`;
  }
  return message;
}

/** An error in the place of the data. `words` replaces its sentence where a page knows a better one. */
export function ErrorBox({
  error,
  onRetry,
  words,
}: {
  readonly error: ApiError;
  readonly onRetry?: () => void;
  readonly words?: string;
}) {
  return (
    <div class="notice notice-danger" role="alert">
      <p>{words ?? errorText(error)}</p>
      <div class="row">
        {onRetry !== undefined && (
          <Button small onClick={onRetry}>
            Try again
          </Button>
        )}
        {error.requestId !== "" && (
          <span class="meta">
            Request {error.requestId.slice(0, 4)}…{error.requestId.slice(-3)}
            <Copy text={error.requestId} label="Copy" what="Request id copied." />
          </span>
        )}
      </div>
    </div>
  );
}
