import { signal } from "@preact/signals";
import { Button } from "./button.tsx";

interface Toast {
  readonly id: number;
  readonly text: string;
  readonly isError: boolean;
  readonly action?: { readonly label: string; readonly run: () => void };
}

const shownMs = 6_000;
const toasts = signal<readonly Toast[]>([]);
let ids = 0;
let isHeld = false;

function remove(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

function removeLater(id: number): void {
  setTimeout(() => (isHeld ? removeLater(id) : remove(id)), shownMs);
}

/** Tells something in a corner: for six seconds; an error until it is closed. */
export function toast(text: string, options: { isError?: boolean; action?: Toast["action"] } = {}): void {
  ids += 1;
  const id = ids;
  const isError = options.isError ?? false;
  toasts.value = [...toasts.value.slice(-4), { id, text, isError, action: options.action }];
  if (!isError) removeLater(id);
}

/** The list of what was told; stays while it has the pointer or the focus. */
export function Toasts() {
  const hold = (value: boolean) => () => {
    isHeld = value;
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: keeps the list while somebody reads it; nothing to press.
    <div
      class="toasts"
      onMouseEnter={hold(true)}
      onMouseLeave={hold(false)}
      onFocusCapture={hold(true)}
      onBlurCapture={hold(false)}
    >
      <div role="status">
        {toasts.value.map(({ id, text, isError, action }) => (
          <div key={id} class={`toast${isError ? " toast-error" : ""}`}>
            <span>{text}</span>
            {action !== undefined && (
              <Button small onClick={action.run}>
                {action.label}
              </Button>
            )}
            <Button small kind="quiet" label="Close" onClick={() => remove(id)}>
              ×
            </Button>
          </div>
        ))}
      </div>
    </div>
  );
}
