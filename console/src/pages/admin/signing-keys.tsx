import { useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { SigningKey } from "../../api/types.ts";
import { countText } from "../../format/money.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog, DialogActions } from "../../ui/dialog.tsx";
import { Check, FormError } from "../../ui/field.tsx";
import { PageHead } from "../../ui/page.tsx";
import { refusalOf } from "../../ui/refusal.ts";
import { ErrorBox, Loading } from "../../ui/states.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { Time } from "../../ui/time.tsx";
import { toast } from "../../ui/toasts.tsx";

const columns: readonly Column<SigningKey>[] = [
  { name: "key", label: "Key", cell: ({ key_id }) => <code>{key_id}</code> },
  { name: "algorithm", label: "Algorithm", cell: ({ algorithm }) => algorithm },
  { name: "state", label: "State", cell: ({ state }) => state },
  { name: "created", label: "Created", cell: ({ created_at }) => <Time at={created_at} /> },
  { name: "retired", label: "Retired", cell: ({ retired_at }) => <Time at={retired_at} /> },
];

/** The keys that sign tokens, for admins. */
export default function SigningKeysPage() {
  const { data, error, reload } = useResource("signing-keys", (signal) => api("GET /v1/admin/signing-keys", { signal }));
  const [isAsking, setAsking] = useState(false);
  const [retire, setRetire] = useState(false);
  const [refusal, setRefusal] = useState<string>();
  const rotate = async () => {
    try {
      await api("POST /v1/admin/signing-keys/rotate", { body: { retire_previous: retire } });
      toast("A new key signs as soon as every part can know it.");
      setAsking(false);
      reload();
    } catch (failure) {
      setRefusal(refusalOf(failure).sentence);
    }
  };
  const verifying = data?.signing_keys.filter(({ retired_at }) => retired_at === null).length ?? 0;
  return (
    <>
      <PageHead
        title="Signing keys"
        sentence={data === undefined ? undefined : `${countText(verifying, "key verifies", "keys verify")} tokens.`}
      >
        <Button onClick={() => setAsking(true)}>Rotate…</Button>
      </PageHead>
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="signing keys" />}
      {data !== undefined && (
        <Table caption="Signing keys" columns={columns} rows={data.signing_keys} rowKey={({ key_id }) => key_id} />
      )}
      {isAsking && (
        <Dialog title="Sign with a new key?" onClose={() => setAsking(false)}>
          <div class="stack">
            <FormError text={refusal} />
            <p>Older keys verify until the tokens they signed have expired.</p>
            <Check
              label="Older keys stop verifying at once: a key may have leaked. Everybody renews their session."
              checked={retire}
              onChange={setRetire}
            />
          </div>
          <DialogActions>
            <Button autofocus onClick={() => setAsking(false)}>
              Back
            </Button>
            <Button kind="danger" onClick={() => void rotate()}>
              Rotate
            </Button>
          </DialogActions>
        </Dialog>
      )}
    </>
  );
}
