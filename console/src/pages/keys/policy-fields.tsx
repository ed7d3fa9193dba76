import { api } from "../../api/request.ts";
import { Check, SelectField, TextField } from "../../ui/field.tsx";
import type { Faults } from "../../ui/refusal.ts";
import type { KeyDraft } from "./key-form.ts";
import { NamesField } from "./names-field.tsx";

const expiries = [
  ["7", "in 7 days"],
  ["30", "in 30 days"],
  ["90", "in 90 days"],
  ["365", "in a year"],
  ["", "never"],
] as const;

const modelNames = async (signal: AbortSignal) => (await api("GET /v1/models", { signal })).data.map(({ id }) => id);
const toolNames = async (signal: AbortSignal) =>
  (await api("GET /v1/tools", { signal })).tools.flatMap((tool) => (tool.function === null ? [] : [tool.function.name]));

/** The fields of a key's policy. */
export function PolicyFields(props: {
  readonly draft: KeyDraft;
  readonly onChange: (draft: KeyDraft) => void;
  readonly faults: Faults;
  /** Offers to leave the expiry as it is. */
  readonly isChange?: boolean;
}) {
  const { draft, onChange, faults, isChange } = props;
  const set = (change: Partial<KeyDraft>) => onChange({ ...draft, ...change });
  const options = isChange ? ([["keep", "as it is"], ...expiries] as const) : expiries;
  return (
    <>
      <div class="form-grid">
        <TextField
          label="Name"
          value={draft.name}
          onInput={(name) => set({ name })}
          error={faults.name}
          hint="For you, to tell keys apart."
          required
          maxLength={100}
        />
        <SelectField
          label="Expires"
          value={draft.expires}
          onChange={(expires) => set({ expires })}
          options={options}
          error={faults.expires_at}
        />
      </div>
      <NamesField
        legend="Models"
        allLabel="all that I may"
        names={draft.models}
        onChange={(models) => set({ models })}
        load={modelNames}
        error={faults.allowed_models}
      />
      <NamesField
        legend="Tools"
        allLabel="all that I may"
        names={draft.tools}
        onChange={(tools) => set({ tools })}
        load={toolNames}
        error={faults.allowed_tools}
      />
      <Check
        label="May approve calls of its own runs"
        checked={draft.mayApprove}
        onChange={(mayApprove) => set({ mayApprove })}
      />
      <div class="form-grid">
        <TextField
          label="Requests per minute"
          type="number"
          value={draft.perMinute}
          onInput={(perMinute) => set({ perMinute })}
          error={faults.rate_limit_per_minute}
        />
        <TextField
          label="Requests per day"
          type="number"
          value={draft.perDay}
          onInput={(perDay) => set({ perDay })}
          error={faults.rate_limit_per_day}
        />
        <TextField
          label="At once"
          type="number"
          value={draft.atOnce}
          onInput={(atOnce) => set({ atOnce })}
          error={faults.max_concurrent}
        />
        <TextField
          label="Ceiling in US$"
          type="number"
          value={draft.ceiling}
          onInput={(ceiling) => set({ ceiling })}
          error={faults.spend_limit_usd}
          hint="For all its spending on models. Empty: your own ceilings."
        />
      </div>
    </>
  );
}
