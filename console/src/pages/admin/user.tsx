import { useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import { countText, moneyText } from "../../format/money.ts";
import { hrefOf } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog, DialogActions } from "../../ui/dialog.tsx";
import { Check, FormError, SelectField } from "../../ui/field.tsx";
import { PageHead, type PageProps } from "../../ui/page.tsx";
import { refusalOf } from "../../ui/refusal.ts";
import { ShownOnce } from "../../ui/shown-once.tsx";
import { ErrorBox, Loading } from "../../ui/states.tsx";
import { Time } from "../../ui/time.tsx";
import { toast } from "../../ui/toasts.tsx";
import { roles } from "./users.tsx";

type Act = "disable" | "revoke" | "reset";
const questions: Readonly<Record<Act, readonly [title: string, words: string, button: string]>> = {
  disable: ["Disable the account?", "Its sessions end, its API keys are revoked and stay revoked.", "Disable"],
  revoke: ["End sessions and keys?", "All sessions end, all API keys and open invites are revoked.", "End them"],
  reset: ["Reset the password?", "It gets a random password, shown once. All its sessions end.", "Reset"],
};

/** One account, for admins: role, state, credentials, password. */
export default function UserPage({ params }: PageProps) {
  const user_id = params.id ?? "";
  const path = { user_id };
  const { data, error, reload, setData } = useResource(`user:${user_id}`, (signal) =>
    api("GET /v1/admin/users/{user_id}", { signal, path }),
  );
  const [act, setAct] = useState<Act>();
  const [withKeys, setWithKeys] = useState(false);
  const [refusal, setRefusal] = useState<string>();
  const [password, setPassword] = useState<string>();
  const user = data?.user ?? undefined;
  const update = async (body: { role?: (typeof roles)[number][0]; is_active?: boolean }) => {
    const changed = await api("PATCH /v1/admin/users/{user_id}", { path, body });
    setData(() => changed);
    toast("The account is changed.");
  };
  const attempt = async (work: () => Promise<void>) => {
    setRefusal(undefined);
    try {
      await work();
      setAct(undefined);
    } catch (failure) {
      const { faults, sentence } = refusalOf(failure);
      const words = Object.values(faults)[0] ?? sentence;
      if (act === undefined) toast(words ?? "It could not be done.", { isError: true });
      else setRefusal(words);
    }
  };
  const perform = () =>
    attempt(async () => {
      if (act === "disable") await update({ is_active: false });
      else if (act === "revoke") {
        const ended = await api("POST /v1/admin/users/{user_id}/revoke", { path });
        toast(`${countText(ended.sessions, "session")} and ${countText(ended.api_keys, "key")} ended.`);
      } else {
        const body = { revoke_api_keys: withKeys };
        const reset = await api("POST /v1/admin/users/{user_id}/password", { path, body, once: `reset:${user_id}` });
        setPassword(reset.password);
      }
    });
  return (
    <>
      <PageHead
        title="Account"
        heading={<bdi>{user?.email ?? "Account"}</bdi>}
        sentence={<a href={hrefOf("admin/users")}>All accounts</a>}
      >
        {user !== undefined && (
          <>
            <Button onClick={() => setAct("reset")}>Reset password…</Button>
            <Button onClick={() => setAct("revoke")}>End sessions and keys…</Button>
            {user.is_active ? (
              <Button kind="danger" onClick={() => setAct("disable")}>
                Disable…
              </Button>
            ) : (
              <Button onClick={() => void attempt(() => update({ is_active: true }))}>Enable</Button>
            )}
          </>
        )}
      </PageHead>
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="accounts" />}
      {user !== undefined && (
        <div class="stack">
          <dl class="facts card">
            <dt>Name</dt>
            <dd>
              <bdi>{user.name}</bdi>
            </dd>
            <dt>State</dt>
            <dd>{user.is_active ? "active" : "disabled"}</dd>
            <dt>Spent</dt>
            <dd>{moneyText(user.spent_usd)}</dd>
            <dt>Created</dt>
            <dd>
              <Time at={user.created_at} />
            </dd>
            <dt>Id</dt>
            <dd>
              <code>{user.id}</code>
            </dd>
          </dl>
          <div class="card">
            <SelectField
              label="Role; a change ends the account's sessions"
              value={user.role}
              onChange={(role) => void attempt(() => update({ role: role as (typeof roles)[number][0] }))}
              options={roles}
            />
          </div>
        </div>
      )}
      {act !== undefined && (
        <Dialog title={questions[act][0]} onClose={() => setAct(undefined)}>
          <div class="stack">
            <FormError text={refusal} />
            <p>{questions[act][1]}</p>
            {act === "reset" && <Check label="Also revoke its API keys" checked={withKeys} onChange={setWithKeys} />}
          </div>
          <DialogActions>
            <Button autofocus onClick={() => setAct(undefined)}>
              Back
            </Button>
            <Button kind="danger" onClick={() => void perform()}>
              {questions[act][2]}
            </Button>
          </DialogActions>
        </Dialog>
      )}
      {password !== undefined && <ShownOnce title="The new password" secret={password} onDone={() => setPassword(undefined)} />}
    </>
  );
}
