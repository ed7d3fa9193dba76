import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { Button } from "./button.tsx";

/** An entry of a menu: an act or a link. */
export interface MenuItem {
  readonly label: string;
  readonly run?: () => void;
  readonly href?: string;
  readonly disabled?: boolean;
}

/** A button that opens a list of acts. Arrow keys move, Esc closes and returns the focus. */
export function Menu({
  label,
  children,
  items,
}: {
  readonly label: string;
  readonly children: ComponentChildren;
  readonly items: readonly MenuItem[];
}) {
  const [isOpen, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const opener = useRef<HTMLButtonElement>(null);
  const id = useId();
  const entries = () => [...(box.current?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? [])];
  useEffect(() => {
    if (!isOpen) return;
    entries()[0]?.focus();
    const close = (event: Event) => {
      if (!box.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", close);
    return () => document.removeEventListener("pointerdown", close);
  }, [isOpen]);
  const onKeyDown = (event: KeyboardEvent) => {
    if (!isOpen) return;
    const all = entries();
    const at = all.indexOf(document.activeElement as HTMLElement);
    const moves: Readonly<Record<string, number>> = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 };
    const to = moves[event.key];
    if (event.key === "Escape" || event.key === "Tab") {
      if (event.key === "Escape") event.stopPropagation();
      setOpen(false);
      opener.current?.focus();
    } else if (to !== undefined) {
      event.preventDefault();
      all[(to + all.length) % all.length]?.focus();
    }
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the keys of the menu inside of it.
    <div class="menu" ref={box} onKeyDown={onKeyDown}>
      <Button innerRef={opener} label={label} expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        {children}
      </Button>
      {isOpen && (
        <div class="menu-list" role="menu" id={id} aria-label={label}>
          {items.map(({ label: text, run, href, disabled }) =>
            href === undefined ? (
              <button
                key={text}
                type="button"
                role="menuitem"
                tabIndex={-1}
                class="menu-item"
                disabled={disabled}
                onClick={() => {
                  setOpen(false);
                  opener.current?.focus();
                  run?.();
                }}
              >
                {text}
              </button>
            ) : (
              <a key={text} role="menuitem" tabIndex={-1} class="menu-item" href={href} onClick={() => setOpen(false)}>
                {text}
              </a>
            ),
          )}
        </div>
      )}
    </div>
  );
}
