import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { type Exact, readExact, writeExact } from "../json/exact.ts";
import { Field } from "../ui/field.tsx";

/** A box for a value that no control fits: JSON as it is, taken over when it is whole. */
export function JsonBox(props: {
  readonly label: string;
  readonly hint: ComponentChildren;
  readonly error: string | undefined;
  readonly text: string;
  readonly onChange: (value: Exact) => void;
}) {
  const [text, setText] = useState(props.text);
  const [fault, setFault] = useState<string>();
  const change = (next: string) => {
    setText(next);
    try {
      props.onChange(readExact(next));
      setFault(undefined);
    } catch (error) {
      setFault((error as Error).message);
    }
  };
  const shown = fault === undefined && sameText(text, props.text) ? text : fault === undefined ? props.text : text;
  return (
    <Field label={props.label} hint={props.hint} error={fault ?? props.error}>
      {(attributes) => (
        <textarea
          {...attributes}
          class="input mono"
          rows={Math.min(10, 1 + Math.ceil(shown.length / 60))}
          spellcheck={false}
          value={shown}
          onInput={(event) => change(event.currentTarget.value)}
        />
      )}
    </Field>
  );
}

/** Whether two texts are the same JSON, so that white space that was typed stays. */
function sameText(a: string, b: string): boolean {
  try {
    return a === b || writeExact(readExact(a)) === b;
  } catch {
    return false;
  }
}
