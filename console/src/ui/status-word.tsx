import type { JSX } from "preact";

/** The states of runs, conversations and calls, as they are told. */
const words: Readonly<Record<string, string>> = {
  queued: "Queued",
  running: "Running",
  waiting: "Waiting",
  needs_review: "Needs review",
  completed: "Completed",
  failed: "Failed",
  cancelled: "Cancelled",
  pending_approval: "Waiting",
};
/** States of other things, shown with the icon and colour of the nearest. */
const like: Readonly<Record<string, string>> = {
  pending: "waiting",
  pending_approval: "waiting",
  approved: "completed",
  rejected: "cancelled",
  expired: "cancelled",
  active: "running",
  archived: "cancelled",
  delivered: "completed",
  succeeded: "completed",
  unknown: "needs_review",
};

const stroke = { fill: "none", stroke: "currentColor", "stroke-width": 1.5, "stroke-linecap": "round" } as const;
const shapes: Readonly<Record<string, JSX.Element>> = {
  queued: <circle cx="8" cy="8" r="5.5" {...stroke} stroke-dasharray="1 2.45" />,
  running: (
    <>
      <circle cx="8" cy="8" r="5.5" {...stroke} />
      <path d="M8 2.5a5.5 5.5 0 0 1 0 11z" fill="currentColor" />
    </>
  ),
  waiting: (
    <>
      <rect x="2.5" y="2.5" width="11" height="11" rx="1.5" {...stroke} />
      <path d="M6.25 5.5v5M9.75 5.5v5" {...stroke} />
    </>
  ),
  needs_review: <path d="M8 2.2 14 13H2zM8 6.5v3M8 11.2v.1" {...stroke} stroke-linejoin="round" />,
  completed: (
    <>
      <circle cx="8" cy="8" r="5.5" {...stroke} />
      <path d="m5.5 8.2 1.8 1.8 3.3-3.8" {...stroke} />
    </>
  ),
  failed: <path d="M5.6 2.2h4.8l3.4 3.4v4.8l-3.4 3.4H5.6l-3.4-3.4V5.6zM6 6l4 4M10 6l-4 4" {...stroke} />,
  cancelled: (
    <>
      <circle cx="8" cy="8" r="5.5" {...stroke} />
      <path d="m4.2 11.8 7.6-7.6" {...stroke} />
    </>
  ),
};

/** The word of a state: `needs_review` is `Needs review`; an unknown one is told as it came. */
export function statusWord(status: string): string {
  const word = words[status];
  if (word !== undefined) return word;
  return status === "" ? "Unknown" : `${status.charAt(0).toUpperCase()}${status.slice(1).replaceAll("_", " ")}`;
}

/** A state: icon and word, never colour alone. `word` replaces the word, such as `Retries in 12 s`. */
export function StatusWord({ status, word }: { readonly status: string; readonly word?: string }) {
  const kind = status in shapes ? status : (like[status] ?? "queued");
  return (
    <span class={`status status-${kind}`}>
      <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
        {shapes[kind]}
      </svg>
      {word ?? statusWord(status)}
    </span>
  );
}
