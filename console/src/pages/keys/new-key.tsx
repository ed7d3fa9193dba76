import { useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import { hrefOf, navigate } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { FormError } from "../../ui/field.tsx";
import { PageHead } from "../../ui/page.tsx";
import { type Faults, refusalOf } from "../../ui/refusal.ts";
import { ShownOnce } from "../../ui/shown-once.tsx";
import { abilityText, createBody, curlFor, emptyDraft, faultsOf } from "./key-form.ts";
import { PolicyFields } from "./policy-fields.tsx";

/** The form for a new key. */
export default function NewKeyPage() {
  const [draft, setDraft] = useState(emptyDraft);
  const [faults, setFaults] = useState<Faults>({});
  const [refusal, setRefusal] = useState<string>();
  const [secret, setSecret] = useState<string>();
  const [isSending, setSending] = useState(false);
  const create = async () => {
    const found = faultsOf(draft);
    setFaults(found);
    setRefusal(Object.values(found)[0]);
    if (Object.keys(found).length > 0 || isSending) return;
    setSending(true);
    try {
      const { key } = await api("POST /v1/api-keys", { body: createBody(draft, new Date()), once: `key:${draft.name}` });
      setSecret(key);
    } catch (error) {
      const told = refusalOf(error);
      setFaults(told.faults);
      setRefusal(told.sentence);
    } finally {
      setSending(false);
    }
  };
  return (
    <>
      <PageHead title="New API key" sentence="A key never allows more than you may yourself." />
      <form
        class="card stack"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void create();
        }}
      >
        <FormError text={refusal} />
        <PolicyFields draft={draft} onChange={setDraft} faults={faults} />
        <p aria-live="polite">{abilityText(draft)}</p>
        <div class="row">
          <Button kind="primary" type="submit" disabled={isSending}>
            Create
          </Button>
          <Button href={hrefOf("keys")}>Back to the keys</Button>
        </div>
      </form>
      {secret !== undefined && (
        <ShownOnce
          title="Your new key"
          secret={secret}
          curl={curlFor(draft.models?.[0] ?? "gpt-4o-mini")}
          onDone={() => {
            setSecret(undefined);
            navigate(hrefOf("keys"));
          }}
        />
      )}
    </>
  );
}
