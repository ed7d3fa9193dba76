import { useMemo, useState } from "preact/hooks";
import { type Exact, readExact, writeExact } from "../json/exact.ts";
import { Button } from "../ui/button.tsx";
import { Field } from "../ui/field.tsx";
import { changesBetween } from "./changes.ts";
import { type Fault, faultsOf } from "./check.ts";
import type { Schema } from "./schema.ts";
import { SchemaField } from "./schema-field.tsx";

/** The state of a form. */
export interface FormState {
  /** The JSON as it will be sent: values that nobody touched have the bytes that they had. */
  readonly text: string;
  readonly faults: readonly Fault[];
  /** Number of places that differ from the given text. */
  readonly changes: number;
}

/** Properties of the form. */
export interface SchemaFormProps {
  readonly schema: Schema;
  /** The JSON to begin with. */
  readonly text: string;
  readonly onChange: (state: FormState) => void;
  /** Faults that the server found, by JSON pointer. */
  readonly serverFaults?: readonly Fault[];
}

function read(text: string): Exact | undefined {
  try {
    return readExact(text);
  } catch {
    return undefined;
  }
}

/** The box for the whole JSON. */
function RawBox({
  text,
  onInput,
  faults,
}: {
  readonly text: string;
  readonly onInput: (text: string) => void;
  readonly faults: readonly Fault[];
}) {
  const message = faults.map(({ path, message: one }) => (path === "" ? one : `${path}: ${one}`)).join(" ");
  return (
    <Field label="JSON" error={message === "" ? undefined : message}>
      {(attributes) => (
        <textarea
          {...attributes}
          class="input mono"
          rows={12}
          spellcheck={false}
          value={text}
          onInput={(event) => onInput(event.currentTarget.value)}
        />
      )}
    </Field>
  );
}

/** A form made from a JSON schema, for arguments of tools; the raw JSON is one press away. */
export default function SchemaForm({ schema, text: given, onChange, serverFaults = [] }: SchemaFormProps) {
  const original = useMemo(() => read(given), [given]);
  const [text, setText] = useState(given);
  const [isRaw, setRaw] = useState(original === undefined);
  const value = useMemo(() => read(text), [text]);
  const own = useMemo(() => faultsOf(schema, text), [schema, text]);
  const faults = own.length > 0 ? own : serverFaults;
  const change = (next: string) => {
    setText(next);
    const read1 = read(next);
    const changes = read1 === undefined ? 1 : changesBetween(original, read1).length;
    onChange({ text: changes === 0 ? given : next, faults: faultsOf(schema, next), changes });
  };
  const general = faults.filter(({ path }) => path === "");
  return (
    <div class="schema-form stack">
      <div class="row spread">
        <span class="meta">{faults.length === 0 ? "Fits the tool's schema." : `${faults.length} to correct.`}</span>
        <Button small kind="quiet" disabled={isRaw && value === undefined} onClick={() => setRaw(!isRaw)}>
          {isRaw ? "Form" : "Raw"}
        </Button>
      </div>
      {isRaw || value === undefined ? (
        <RawBox text={text} onInput={change} faults={faults} />
      ) : (
        <>
          {general.map(({ message }) => (
            <p key={message} class="field-error">
              {message}
            </p>
          ))}
          <SchemaField
            schema={schema}
            root={schema}
            value={value}
            before={original}
            path=""
            label=""
            depth={0}
            faults={faults}
            onChange={(next) => change(writeExact(next))}
          />
        </>
      )}
    </div>
  );
}
