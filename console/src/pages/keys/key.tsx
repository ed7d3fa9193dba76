import { useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { ApiKey } from "../../api/types.ts";
import { countText } from "../../format/money.ts";
import { dateText } from "../../format/time.ts";
import { hrefOf } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog, DialogActions } from "../../ui/dialog.tsx";
import { Check, FormError } from "../../ui/field.tsx";
import { PageHead, type PageProps } from "../../ui/page.tsx";
import { type Faults, refusalOf } from "../../ui/refusal.ts";
import { ShownOnce } from "../../ui/shown-once.tsx";
import { ErrorBox, errorText, Loading } from "../../ui/states.tsx";
import { Time } from "../../ui/time.tsx";
import { toast } from "../../ui/toasts.tsx";
import { draftOf, faultsOf, updateBody } from "./key-form.ts";
import { allowedText, descendantsOf, limitsText } from "./key-tree.ts";
import { KeyStatus, Spend } from "./keys.tsx";
import { PolicyFields } from "./policy-fields.tsx";

function Facts({ apiKey }: { readonly apiKey: ApiKey }) {
  return (
    <dl class="facts card">
      <dt>State</dt>
      <dd>
        <KeyStatus apiKey={apiKey} />
      </dd>
      <dt>Prefix</dt>
      <dd>
        <code class="prefix">{apiKey.prefix}…</code>
      </dd>
      <dt>Spend</dt>
      <dd>
        <Spend apiKey={apiKey} />
      </dd>
      <dt>Models, tools</dt>
      <dd>
        {allowedText(apiKey.allowed_models, "model")}, {allowedText(apiKey.allowed_tools, "tool")}
      </dd>
      <dt>Scopes</dt>
      <dd>{apiKey.scopes.length === 0 ? "all" : apiKey.scopes.join(", ")}</dd>
      <dt>Limits</dt>
      <dd>{limitsText(apiKey)}</dd>
      <dt>Created</dt>
      <dd>
        <Time at={apiKey.created_at} />
      </dd>
      <dt>Last used</dt>
      <dd>
        <Time at={apiKey.last_used_at} empty="never" />
      </dd>
      <dt>Expires</dt>
      <dd>
        <Time at={apiKey.expires_at} empty="never" />
      </dd>
    </dl>
  );
}

function Edit({ apiKey, onChanged }: { readonly apiKey: ApiKey; readonly onChanged: (key: ApiKey) => void }) {
  const before = draftOf(apiKey);
  const [draft, setDraft] = useState(before);
  const [faults, setFaults] = useState<Faults>({});
  const [refusal, setRefusal] = useState<string>();
  const body = updateBody(before, draft, new Date());
  const changed = Object.keys(body).length;
  const save = async () => {
    const found = faultsOf(draft);
    setFaults(found);
    setRefusal(Object.values(found)[0]);
    if (changed === 0 || Object.keys(found).length > 0) return;
    try {
      const { api_key } = await api("PATCH /v1/api-keys/{api_key_id}", { path: { api_key_id: apiKey.id }, body });
      if (api_key === null) return;
      onChanged(api_key);
      setDraft(draftOf(api_key));
      toast("The key is changed.");
    } catch (error) {
      const told = refusalOf(error);
      setFaults(told.faults);
      setRefusal(told.sentence);
    }
  };
  return (
    <form
      class="card stack"
      aria-label="Change the key"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <FormError text={refusal} />
      <PolicyFields draft={draft} onChange={setDraft} faults={faults} isChange />
      <p class="meta">A change of anything but the name ends the key's requests in progress.</p>
      <div class="row">
        <Button kind="primary" type="submit" disabled={changed === 0}>
          {changed === 0 ? "Save" : `Save ${countText(changed, "change")}`}
        </Button>
      </div>
    </form>
  );
}

type Act = "rotate" | "revoke";

function Confirm(props: {
  readonly act: Act;
  readonly below: number;
  readonly onDo: (withBelow: boolean) => Promise<void>;
  readonly onClose: () => void;
}) {
  const { act, below, onDo, onClose } = props;
  const [withBelow, setWithBelow] = useState(false);
  const [refusal, setRefusal] = useState<string>();
  const keysBelow = countText(below, "key");
  return (
    <Dialog title={act === "rotate" ? "Replace the key's secret?" : "Revoke the key?"} onClose={onClose}>
      <div class="stack">
        <FormError text={refusal} />
        {act === "rotate" ? (
          <p>The present secret stops working at once; requests and runs in progress end.</p>
        ) : (
          <p>It ends for good, with its requests and runs in progress{below > 0 && `, and ${keysBelow} below it end too`}.</p>
        )}
        {act === "rotate" && below > 0 && (
          <Check
            label={`Also revoke the ${keysBelow} below it: the secret may have leaked`}
            checked={withBelow}
            onChange={setWithBelow}
          />
        )}
      </div>
      <DialogActions>
        <Button autofocus onClick={onClose}>
          Keep it
        </Button>
        <Button
          kind="danger"
          onClick={() =>
            void onDo(withBelow).catch((error: unknown) => setRefusal(refusalOf(error).sentence ?? "It could not be done."))
          }
        >
          {act === "rotate" ? "Replace" : "Revoke"}
        </Button>
      </DialogActions>
    </Dialog>
  );
}

/** One key: its policy, and what can be done with it. */
export default function KeyPage({ params }: PageProps) {
  const api_key_id = params.id ?? "";
  const { data, error, reload, setData } = useResource(`key:${api_key_id}`, (signal) =>
    api("GET /v1/api-keys", { signal, query: { limit: 1_000 } }),
  );
  const [act, setAct] = useState<Act>();
  const [secret, setSecret] = useState<string>();
  const apiKey = data?.api_keys.find(({ id }) => id === api_key_id);
  const replace = (key: ApiKey | null) =>
    setData((old) => old && { ...old, api_keys: old.api_keys.map((one) => (one.id === key?.id ? key : one)) });
  const below = descendantsOf(data?.api_keys ?? [], api_key_id).filter(({ is_revoked }) => !is_revoked).length;
  const perform = async (withBelow: boolean) => {
    if (act === "rotate") {
      const body = { revoke_created: withBelow };
      const done = await api("POST /v1/api-keys/{api_key_id}/rotate", {
        path: { api_key_id },
        body,
        once: `rotate:${api_key_id}`,
      });
      replace(done.api_key);
      setSecret(done.key);
    } else {
      const done = await api("DELETE /v1/api-keys/{api_key_id}", { path: { api_key_id } });
      replace(done.api_key);
      toast("The key is revoked.");
    }
    setAct(undefined);
  };
  return (
    <>
      <PageHead title="Key" heading={<bdi>{apiKey?.name ?? "Key"}</bdi>} sentence={<a href={hrefOf("keys")}>All keys</a>}>
        {apiKey !== undefined && !apiKey.is_revoked && (
          <>
            <Button onClick={() => setAct("rotate")}>Rotate…</Button>
            <Button kind="danger" onClick={() => setAct("revoke")}>
              Revoke…
            </Button>
          </>
        )}
      </PageHead>
      {error !== undefined && (
        <ErrorBox error={error} onRetry={reload} words={error.status === 404 ? errorText(error) : undefined} />
      )}
      {data === undefined && error === undefined && <Loading what="keys" />}
      {data !== undefined && apiKey === undefined && <p>There is no such key.</p>}
      {apiKey !== undefined && (
        <div class="stack">
          <Facts apiKey={apiKey} />
          {apiKey.is_revoked ? (
            <p>This key was revoked on {dateText(new Date(apiKey.revoked_at ?? Date.now()))}; make a new one.</p>
          ) : (
            <Edit key={apiKey.id} apiKey={apiKey} onChanged={replace} />
          )}
        </div>
      )}
      {act !== undefined && <Confirm act={act} below={below} onDo={perform} onClose={() => setAct(undefined)} />}
      {secret !== undefined && <ShownOnce title="The new secret" secret={secret} onDone={() => setSecret(undefined)} />}
    </>
  );
}
