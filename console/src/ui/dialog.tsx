import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

/** A dialog over the page. */
export interface DialogProps {
  readonly title: string;
  readonly children: ComponentChildren;
  /** Called for Esc and by the page's own buttons; a dialog that must not close by Esc refuses here. */
  readonly onClose: () => void;
  readonly wide?: boolean;
  /** Keeps the page below from being reached while Esc does nothing: for the login dialog. */
  readonly stays?: boolean;
}

/**
 * A modal dialog, labelled by its heading. The focus goes to the element with `data-autofocus`, else to the first
 * field, and returns to its opener.
 */
export function Dialog({ title, children, onClose, wide, stays }: DialogProps) {
  const box = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = box.current;
    if (dialog === null) return;
    const opener = document.activeElement;
    dialog.showModal();
    const first =
      dialog.querySelector<HTMLElement>("[data-autofocus]") ?? dialog.querySelector<HTMLElement>("input, textarea, select");
    first?.focus();
    return () => {
      dialog.close();
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
    };
  }, []);
  return (
    <dialog
      ref={box}
      class={`dialog${wide ? " dialog-wide" : ""}`}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        if (!stays) onClose();
      }}
    >
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  );
}

/** The buttons of a dialog. */
export function DialogActions({ children }: { readonly children: ComponentChildren }) {
  return <div class="dialog-actions">{children}</div>;
}
