import { useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import type { InboxItem } from "../../api/types.ts";
import { Button } from "../../ui/button.tsx";
import { FormError, TextField } from "../../ui/field.tsx";
import { JsonView } from "../../ui/json-view.tsx";
import { refusalOf } from "../../ui/refusal.ts";

interface Settled {
  readonly outcome: "completed" | "not_done";
  readonly output: string;
}

/** Calls whose outcome is unknown after a crash: a person says what became of each. */
export function ReviewBox({ item, onDone }: { readonly item: InboxItem; readonly onDone: (words: string) => void }) {
  const [settled, setSettled] = useState<Readonly<Record<string, Settled>>>({});
  const [refusal, setRefusal] = useState<string>();
  const attempt = async (work: () => Promise<unknown>, words: string) => {
    setRefusal(undefined);
    try {
      await work();
      onDone(words);
    } catch (error) {
      const { sentence, faults } = refusalOf(error);
      setRefusal(Object.values(faults)[0] ?? sentence);
    }
  };
  const path = { run_id: item.run_id };
  const send = () => {
    const calls = item.calls.map(({ call_id }) => {
      const { outcome = "not_done", output = "" } = settled[call_id] ?? {};
      return {
        call_id,
        outcome,
        output: undefined,
        output_json: outcome === "completed" && output.trim() !== "" ? output : null,
      };
    });
    return attempt(() => api("POST /v1/runs/{run_id}/review", { path, body: { calls } }), "Settled by you · the run goes on");
  };
  const isWhole = item.calls.every(({ call_id }) => settled[call_id] !== undefined);
  return (
    <div class="stack">
      <FormError text={refusal} />
      <p>Nobody knows whether these calls took effect: the process that made them ended. Look, then say what became of each.</p>
      {item.calls.map((call) => {
        const answer = settled[call.call_id];
        const set = (next: Settled) => setSettled({ ...settled, [call.call_id]: next });
        return (
          <fieldset key={call.call_id} class="names stack-small">
            <legend>
              <bdi>{call.tool_name}</bdi>
            </legend>
            <JsonView text={call.arguments} label={`Arguments of ${call.tool_name}`} />
            <label class="check">
              <input
                type="radio"
                name={call.call_id}
                checked={answer?.outcome === "completed"}
                onChange={() => set({ outcome: "completed", output: "" })}
              />
              <span>It took effect</span>
            </label>
            <label class="check">
              <input
                type="radio"
                name={call.call_id}
                checked={answer?.outcome === "not_done"}
                onChange={() => set({ outcome: "not_done", output: "" })}
              />
              <span>It did not take effect</span>
            </label>
            {answer?.outcome === "completed" && (
              <TextField
                label="Its result as JSON, told to the model"
                value={answer.output}
                onInput={(output) => set({ outcome: "completed", output })}
                lines={3}
                mono
              />
            )}
          </fieldset>
        );
      })}
      <div class="row">
        <Button kind="primary" disabled={!isWhole} onClick={() => void (isWhole && send())}>
          Settle
        </Button>
        <Button
          kind="danger"
          onClick={() => void attempt(() => api("POST /v1/runs/{run_id}/cancel", { path }), "The run is cancelled")}
        >
          Cancel the run
        </Button>
      </div>
    </div>
  );
}
