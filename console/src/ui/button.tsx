import type { ComponentChildren, Ref } from "preact";

/** A button, or a link that looks like one. */
export interface ButtonProps {
  readonly children: ComponentChildren;
  readonly onClick?: (event: MouseEvent) => void;
  readonly kind?: "plain" | "primary" | "danger" | "quiet";
  readonly small?: boolean;
  readonly type?: "button" | "submit";
  /** Cannot be pressed and keeps the focus, so that a keyboard does not lose its place. */
  readonly disabled?: boolean;
  /** The key that does the same, shown in the title and told to readers. */
  readonly shortcut?: string;
  readonly title?: string;
  readonly label?: string;
  readonly href?: string;
  readonly expanded?: boolean;
  readonly autofocus?: boolean;
  readonly innerRef?: Ref<HTMLButtonElement>;
}

/** A button. */
export function Button(props: ButtonProps) {
  const { children, kind = "plain", small, disabled, shortcut, title, label, href, expanded, autofocus } = props;
  const shown = shortcut === undefined ? title : `${title ?? ""}${title === undefined ? "" : " "}(${shortcut})`;
  const classes = `button${kind === "plain" ? "" : ` button-${kind}`}${small ? " button-small" : ""}`;
  if (href !== undefined) {
    return (
      <a class={classes} href={href} title={shown} aria-label={label} aria-keyshortcuts={shortcut}>
        {children}
      </a>
    );
  }
  return (
    <button
      ref={props.innerRef}
      type={props.type ?? "button"}
      class={classes}
      title={shown}
      aria-label={label}
      aria-keyshortcuts={shortcut}
      aria-disabled={disabled || undefined}
      aria-expanded={expanded}
      data-autofocus={autofocus ? "" : undefined}
      onClick={(event) => {
        if (disabled) event.preventDefault();
        else props.onClick?.(event);
      }}
    >
      {children}
    </button>
  );
}
