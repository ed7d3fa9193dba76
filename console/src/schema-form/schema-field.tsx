import {
  type Exact,
  exactLiteral,
  exactNumber,
  exactString,
  isNumberText,
  isSame,
  readExact,
  writeExact,
} from "../json/exact.ts";
import { Button } from "../ui/button.tsx";
import { Field } from "../ui/field.tsx";
import { pointer, shortText } from "./changes.ts";
import type { Fault } from "./check.ts";
import { JsonBox } from "./json-box.tsx";
import { alternativesOf, controlOf, emptyValue, fits, rawOf, resolved, type Schema, typesOf } from "./schema.ts";

/** Properties of a field. */
export interface SchemaFieldProps {
  readonly schema: Schema | undefined;
  readonly root: Schema;
  readonly value: Exact;
  /** The value to compare with; undefined: it was absent. */
  readonly before: Exact | undefined;
  /** A JSON pointer. */
  readonly path: string;
  readonly label: string;
  readonly depth: number;
  readonly faults: readonly Fault[];
  readonly onChange: (value: Exact) => void;
}

type Inner = SchemaFieldProps & { readonly schema: Schema };

const faultAt = ({ faults, path }: SchemaFieldProps) => faults.find((fault) => fault.path === path)?.message;
const titleOf = ({ label, schema, path }: SchemaFieldProps) => schema?.title ?? (label === "" ? path || "Value" : label);

function hintOf(props: SchemaFieldProps) {
  const { schema, value, before } = props;
  const isChanged = !isSame(value, before);
  if (schema?.description === undefined && !isChanged) return undefined;
  return (
    <>
      {schema?.description}
      {isChanged && (
        <span class="schema-was" data-was={props.path}>
          {schema?.description === undefined ? "" : " · "}was {shortText(before)}
        </span>
      )}
    </>
  );
}

/** Text and numbers: numbers are typed as text, so that no digit is lost. */
function TextControl(props: Inner & { readonly isNumber: boolean }) {
  const { value, onChange, isNumber } = props;
  const text = value.kind === "string" ? value.value : rawOf(value);
  const change = (next: string) => onChange(isNumber && isNumberText(next.trim()) ? exactNumber(next.trim()) : exactString(next));
  const isLong = !isNumber && (text.length > 60 || text.includes("\n"));
  return (
    <Field label={titleOf(props)} hint={hintOf(props)} error={faultAt(props)}>
      {(attributes) =>
        isLong ? (
          <textarea
            {...attributes}
            class="input"
            dir="auto"
            rows={Math.min(12, 2 + Math.ceil(text.length / 80))}
            value={text}
            onInput={(event) => change(event.currentTarget.value)}
          />
        ) : (
          <input
            {...attributes}
            class="input"
            dir="auto"
            type="text"
            inputMode={isNumber ? "decimal" : undefined}
            value={text}
            onInput={(event) => change(event.currentTarget.value)}
          />
        )
      }
    </Field>
  );
}

function BooleanControl(props: Inner) {
  const { value, onChange } = props;
  return (
    <Field label={titleOf(props)} hint={hintOf(props)} error={faultAt(props)}>
      {(attributes) => (
        <select
          {...attributes}
          class="input"
          value={rawOf(value)}
          onChange={(event) => onChange(exactLiteral(event.currentTarget.value === "true" ? "true" : "false"))}
        >
          <option value="true">true</option>
          <option value="false">false</option>
        </select>
      )}
    </Field>
  );
}

function EnumControl(props: Inner) {
  const { schema, value, onChange } = props;
  const choices = (schema.enum ?? [schema.const]).map((one) => JSON.stringify(one) ?? "null");
  const current = rawOf(value);
  return (
    <Field label={titleOf(props)} hint={hintOf(props)} error={faultAt(props)}>
      {(attributes) => (
        <select
          {...attributes}
          class="input"
          value={current}
          onChange={(event) => onChange(readExact(event.currentTarget.value))}
        >
          {!choices.includes(current) && <option value={current}>{shortText(value)}</option>}
          {choices.map((one) => (
            <option key={one} value={one}>
              {one.startsWith('"') ? (JSON.parse(one) as string) : one}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

function ArrayControl(props: Inner & { readonly value: Extract<Exact, { kind: "array" }> }) {
  const { schema, root, value, before, path, depth, onChange } = props;
  const items = resolved(schema.items, root, depth);
  const old = before?.kind === "array" ? before.items : [];
  const replace = (i: number, next: Exact | undefined) => {
    const changed =
      next === undefined ? value.items.filter((_item, at) => at !== i) : value.items.map((item, at) => (at === i ? next : item));
    onChange({ kind: "array", items: changed });
  };
  return (
    <fieldset class="schema-group">
      <legend>{titleOf(props)}</legend>
      <span class="field-hint">{hintOf(props)}</span>
      {value.items.map((item, i) => (
        <div key={i} class="schema-item">
          <SchemaField
            {...props}
            schema={items}
            value={item}
            before={old[i]}
            path={pointer(path, i)}
            label={`${i + 1}`}
            depth={depth + 1}
            onChange={(next) => replace(i, next)}
          />
          <Button small kind="quiet" label={`Remove ${pointer(path, i)}`} onClick={() => replace(i, undefined)}>
            Remove
          </Button>
        </div>
      ))}
      <Button small onClick={() => onChange({ kind: "array", items: [...value.items, emptyValue(items, root, depth + 1)] })}>
        Add
      </Button>
      {faultAt(props) !== undefined && <span class="field-error">{faultAt(props)}</span>}
    </fieldset>
  );
}

/** Objects and maps: the fields of the schema, then those that only the value has. */
function ObjectControl(props: Inner & { readonly value: Extract<Exact, { kind: "object" }> }) {
  const { schema, root, value, before, path, depth, onChange } = props;
  const known = schema.properties ?? {};
  const required = schema.required ?? [];
  const present = new Map(value.fields.map((field) => [field.name, field.value]));
  const old = new Map(before?.kind === "object" ? before.fields.map((field) => [field.name, field.value]) : []);
  const absent = Object.keys(known).filter((name) => !present.has(name));
  const extra = typeof schema.additionalProperties === "object" ? resolved(schema.additionalProperties, root, depth) : undefined;
  const schemaOf = (name: string) => (name in known ? resolved(known[name], root, depth) : extra);
  const set = (name: string, next: Exact | undefined) => {
    const fields = value.fields.flatMap((field) =>
      field.name !== name ? [field] : next === undefined ? [] : [{ name, value: next }],
    );
    if (next !== undefined && !present.has(name)) fields.push({ name, value: next });
    onChange({ kind: "object", fields });
  };
  return (
    <fieldset class={path === "" ? "schema-root" : "schema-group"}>
      {path !== "" && <legend>{titleOf(props)}</legend>}
      {value.fields.map(({ name, value: one }) => (
        <div key={name} class="schema-item">
          <SchemaField
            {...props}
            schema={schemaOf(name)}
            value={one}
            before={old.get(name)}
            path={pointer(path, name)}
            label={name}
            depth={depth + 1}
            onChange={(next) => set(name, next)}
          />
          {!required.includes(name) && (
            <Button small kind="quiet" label={`Remove ${pointer(path, name)}`} onClick={() => set(name, undefined)}>
              Remove
            </Button>
          )}
        </div>
      ))}
      <div class="row">
        {absent.map((name) => (
          <Button key={name} small onClick={() => set(name, emptyValue(schemaOf(name), root, depth + 1))}>
            Add {name}
          </Button>
        ))}
        {extra !== undefined && (
          <NewName taken={(name) => present.has(name)} onAdd={(name) => set(name, emptyValue(extra, root, depth + 1))} />
        )}
      </div>
      {faultAt(props) !== undefined && <span class="field-error">{faultAt(props)}</span>}
    </fieldset>
  );
}

/** The name of a new entry of a map. */
function NewName({ taken, onAdd }: { readonly taken: (name: string) => boolean; readonly onAdd: (name: string) => void }) {
  return (
    <input
      class="input schema-name"
      aria-label="Name of a new entry; Enter adds it"
      placeholder="new name"
      onKeyDown={(event) => {
        const name = event.currentTarget.value;
        if (event.key !== "Enter" || name === "" || taken(name)) return;
        event.preventDefault();
        event.currentTarget.value = "";
        onAdd(name);
      }}
    />
  );
}

function ChoiceControl(props: Inner) {
  const { schema, root, value, depth, onChange } = props;
  const parts = alternativesOf(schema).map((part) => resolved(part, root, depth + 1));
  const at = Math.max(
    0,
    parts.findIndex((part) => fits(value, part)),
  );
  const nameOf = (part: Schema | undefined, i: number) =>
    part?.title ?? (part === undefined ? "JSON" : typesOf(part).join(" or ")) ?? `${i + 1}`;
  return (
    <div class="schema-choice">
      <Field label={`${titleOf(props)}: kind`}>
        {(attributes) => (
          <select
            {...attributes}
            class="input"
            value={String(at)}
            onChange={(event) => onChange(emptyValue(parts[Number(event.currentTarget.value)], root, depth + 1))}
          >
            {parts.map((part, i) => (
              <option key={i} value={String(i)}>
                {nameOf(part, i) || `${i + 1}`}
              </option>
            ))}
          </select>
        )}
      </Field>
      <SchemaField {...props} schema={parts[at]} depth={depth + 1} />
    </div>
  );
}

/** The control of a value that its schema describes; a box for JSON where none fits both. */
export function SchemaField(props: SchemaFieldProps) {
  const { schema, value, depth } = props;
  const control = controlOf(schema, depth);
  if (schema !== undefined) {
    const inner = { ...props, schema };
    if (control === "choice") return <ChoiceControl {...inner} />;
    if (control === "enum" && value.kind !== "array" && value.kind !== "object") return <EnumControl {...inner} />;
    if (control === "array" && value.kind === "array") return <ArrayControl {...inner} value={value} />;
    if ((control === "object" || control === "map") && value.kind === "object") return <ObjectControl {...inner} value={value} />;
    if (control === "boolean" && value.kind === "literal" && value.raw !== "null") return <BooleanControl {...inner} />;
    if (control === "string" && value.kind === "string") return <TextControl {...inner} isNumber={false} />;
    if (control === "number" && (value.kind === "number" || value.kind === "string")) return <TextControl {...inner} isNumber />;
  }
  return (
    <JsonBox
      label={titleOf(props)}
      hint={hintOf(props)}
      error={faultAt(props)}
      text={writeExact(value)}
      onChange={props.onChange}
    />
  );
}
