import { useId, useState } from "preact/hooks";
import { useResource } from "../../api/resource.ts";
import { Button } from "../../ui/button.tsx";

function Offered({ id, load }: { readonly id: string; readonly load: (signal: AbortSignal) => Promise<readonly string[]> }) {
  const { data } = useResource("offered", load);
  return (
    <datalist id={id}>
      {data?.map((name) => (
        <option key={name} value={name} />
      ))}
    </datalist>
  );
}

/** A choice between everything and some names, which are added one by one. */
export function NamesField(props: {
  readonly legend: string;
  /** `all that I may`. */
  readonly allLabel: string;
  /** Undefined: everything. */
  readonly names: readonly string[] | undefined;
  readonly onChange: (names: readonly string[] | undefined) => void;
  /** Loads names to offer, once they are wanted. */
  readonly load: (signal: AbortSignal) => Promise<readonly string[]>;
  readonly error?: string;
}) {
  const { legend, allLabel, names, onChange, load, error } = props;
  const id = useId();
  const [typed, setTyped] = useState("");
  const add = () => {
    const name = typed.trim();
    if (name !== "" && !names?.includes(name)) onChange([...(names ?? []), name]);
    setTyped("");
  };
  return (
    <fieldset class="names" aria-describedby={error === undefined ? undefined : `${id}-error`}>
      <legend>{legend}</legend>
      <label class="check">
        <input type="radio" name={id} checked={names === undefined} onChange={() => onChange(undefined)} />
        <span>{allLabel}</span>
      </label>
      <label class="check">
        <input type="radio" name={id} checked={names !== undefined} onChange={() => onChange(names ?? [])} />
        <span>only these</span>
      </label>
      {names !== undefined && (
        <div class="stack-small">
          <ul class="chips">
            {names.map((name) => (
              <li key={name} class="chip">
                <bdi>{name}</bdi>
                <Button small kind="quiet" label={`Remove ${name}`} onClick={() => onChange(names.filter((one) => one !== name))}>
                  ×
                </Button>
              </li>
            ))}
          </ul>
          <div class="row">
            <input
              class="input input-short"
              aria-label={`Add to ${legend.toLowerCase()}`}
              list={`${id}-offered`}
              value={typed}
              maxLength={200}
              onInput={(event) => setTyped(event.currentTarget.value)}
              onKeyDown={(event) => {
                if (event.key !== "Enter") return;
                event.preventDefault();
                add();
              }}
            />
            <Offered id={`${id}-offered`} load={load} />
            <Button small onClick={add}>
              Add
            </Button>
          </div>
        </div>
      )}
      {error !== undefined && (
        <span class="field-error" id={`${id}-error`}>
          {error}
        </span>
      )}
    </fieldset>
  );
}
