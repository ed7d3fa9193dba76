import { Button } from "./button.tsx";
import { toast } from "./toasts.tsx";

/** Copies text, also over plain HTTP, where browsers offer no clipboard. Resolves to whether it worked. */
export async function copyText(text: string): Promise<boolean> {
  try {
    if (navigator.clipboard !== undefined) {
      await navigator.clipboard.writeText(text);
      return true;
    }
  } catch {
    // The older way may still be allowed.
  }
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  const before = document.activeElement;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const isDone = document.execCommand("copy");
  area.remove();
  if (before instanceof HTMLElement) before.focus();
  return isDone;
}

/** A button that copies text and says so. */
export function Copy({
  text,
  label = "Copy",
  what = "Copied.",
}: {
  readonly text: string | (() => string);
  readonly label?: string;
  readonly what?: string;
}) {
  return (
    <Button
      small
      kind="quiet"
      onClick={async () => {
        const isDone = await copyText(typeof text === "string" ? text : text());
        toast(isDone ? what : "The browser does not allow copying here.", { isError: !isDone });
      }}
    >
      {label}
    </Button>
  );
}
