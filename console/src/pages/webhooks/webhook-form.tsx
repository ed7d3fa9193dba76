import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { Button } from "../../ui/button.tsx";
import { Check, FormError, TextField } from "../../ui/field.tsx";
import { type Faults, refusalOf } from "../../ui/refusal.ts";
import { type WebhookEvent, webhookEvents } from "./events.ts";

/** A webhook as a person types it. */
export interface WebhookDraft {
  readonly url: string;
  readonly description: string;
  /** Empty: all. */
  readonly events: readonly WebhookEvent[];
}

/** The form of a webhook. `onSend` rejects with the server's refusal, which stands at its field. */
export function WebhookForm(props: {
  readonly initial: WebhookDraft;
  readonly action: string;
  readonly onSend: (draft: WebhookDraft) => Promise<void>;
  readonly children?: ComponentChildren;
}) {
  const { initial, action, onSend, children } = props;
  const [draft, setDraft] = useState(initial);
  const [faults, setFaults] = useState<Faults>({});
  const [refusal, setRefusal] = useState<string>();
  const [isSending, setSending] = useState(false);
  const send = async () => {
    if (isSending) return;
    setSending(true);
    setFaults({});
    setRefusal(undefined);
    try {
      await onSend(draft);
    } catch (error) {
      const told = refusalOf(error);
      setFaults(told.faults);
      setRefusal(told.sentence);
    } finally {
      setSending(false);
    }
  };
  const toggle = (event: WebhookEvent) => (isWanted: boolean) => {
    const events = isWanted ? [...draft.events, event] : draft.events.filter((one) => one !== event);
    setDraft({ ...draft, events });
  };
  return (
    <form
      class="card stack"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      <FormError text={refusal} />
      <TextField
        label="Address"
        value={draft.url}
        onInput={(url) => setDraft({ ...draft, url })}
        hint="https, on the public internet."
        error={faults.url}
        maxLength={2_000}
        required
      />
      <TextField
        label="Description"
        value={draft.description}
        onInput={(description) => setDraft({ ...draft, description })}
        error={faults.description}
        maxLength={200}
      />
      <fieldset class="names">
        <legend>Events; none ticked: all</legend>
        {webhookEvents.map(([event, words]) => (
          <Check
            key={event}
            label={
              <>
                <code>{event}</code> {words}
              </>
            }
            checked={draft.events.includes(event)}
            onChange={toggle(event)}
          />
        ))}
      </fieldset>
      <div class="row">
        <Button kind="primary" type="submit" disabled={isSending}>
          {action}
        </Button>
        {children}
      </div>
    </form>
  );
}
