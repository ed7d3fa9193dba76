import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

/** The label and the notes of a field, and its control. */
export interface FieldProps {
  readonly label: string;
  readonly hint?: ComponentChildren;
  readonly error?: string;
  /** Draws the control with the attributes that tie it to its label, hint and error. */
  readonly children: (attributes: {
    id: string;
    "aria-describedby": string | undefined;
    "aria-invalid": boolean | undefined;
  }) => ComponentChildren;
}

/** A labelled control with its hint and error. */
export function Field({ label, hint, error, children }: FieldProps) {
  const id = useId();
  const described = [hint === undefined ? "" : `${id}-hint`, error === undefined ? "" : `${id}-error`].join(" ").trim();
  return (
    <div class="field">
      <label class="field-label" for={id}>
        {label}
      </label>
      {children({ id, "aria-describedby": described || undefined, "aria-invalid": error === undefined ? undefined : true })}
      {hint !== undefined && (
        <span class="field-hint" id={`${id}-hint`}>
          {hint}
        </span>
      )}
      {error !== undefined && (
        <span class="field-error" id={`${id}-error`}>
          {error}
        </span>
      )}
    </div>
  );
}

/** A field of one line, or of several with `lines`. */
export function TextField(props: {
  readonly label: string;
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly hint?: ComponentChildren;
  readonly error?: string;
  readonly type?: "text" | "email" | "password" | "search" | "number" | "datetime-local" | "date";
  readonly autocomplete?: "username" | "current-password" | "new-password" | "name" | "off";
  readonly required?: boolean;
  readonly lines?: number;
  readonly mono?: boolean;
  readonly placeholder?: string;
  readonly name?: string;
  readonly maxLength?: number;
}) {
  const { label, hint, error, value, onInput, lines, mono, type = "text", ...rest } = props;
  return (
    <Field label={label} hint={hint} error={error}>
      {(attributes) =>
        lines === undefined ? (
          <input
            {...attributes}
            {...rest}
            type={type as "text"}
            class={`input${mono ? " mono" : ""}`}
            dir="auto"
            value={value}
            onInput={(event) => onInput(event.currentTarget.value)}
          />
        ) : (
          <textarea
            {...attributes}
            rows={lines}
            required={rest.required}
            placeholder={rest.placeholder}
            name={rest.name}
            maxLength={rest.maxLength}
            class={`input${mono ? " mono" : ""}`}
            dir="auto"
            value={value}
            onInput={(event) => onInput(event.currentTarget.value)}
          />
        )
      }
    </Field>
  );
}

/** A choice among few. */
export function SelectField(props: {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly options: readonly (readonly [value: string, label: string])[];
  readonly hint?: ComponentChildren;
  readonly error?: string;
}) {
  const { label, hint, error, value, onChange, options } = props;
  return (
    <Field label={label} hint={hint} error={error}>
      {(attributes) => (
        <select {...attributes} class="input" value={value} onChange={(event) => onChange(event.currentTarget.value)}>
          {options.map(([key, text]) => (
            <option key={key} value={key}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

/** A tick. */
export function Check({
  label,
  checked,
  onChange,
}: {
  readonly label: ComponentChildren;
  readonly checked: boolean;
  readonly onChange: (checked: boolean) => void;
}) {
  return (
    <label class="check">
      <input type="checkbox" checked={checked} onChange={(event) => onChange(event.currentTarget.checked)} />
      <span>{label}</span>
    </label>
  );
}

/** The sentence above a form that was refused; takes the focus when it changes. */
export function FormError({ text }: { readonly text: string | undefined }) {
  const box = useRef<HTMLParagraphElement>(null);
  useEffect(() => {
    if (text !== undefined) box.current?.focus();
  }, [text]);
  if (text === undefined) return null;
  return (
    <p ref={box} class="notice notice-danger" role="alert" tabIndex={-1}>
      {text}
    </p>
  );
}
