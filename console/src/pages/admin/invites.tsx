import { useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { Invite } from "../../api/types.ts";
import { hrefOf } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { TextField } from "../../ui/field.tsx";
import { PageHead } from "../../ui/page.tsx";
import { Pager, usePages } from "../../ui/pager.tsx";
import { refusalOf } from "../../ui/refusal.ts";
import { ShownOnce } from "../../ui/shown-once.tsx";
import { Empty, ErrorBox, Loading } from "../../ui/states.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { minuteClock, Time } from "../../ui/time.tsx";
import { toast } from "../../ui/toasts.tsx";
import { inviteState } from "./words.ts";

/** Invites to register, for admins. */
export default function InvitesPage() {
  const pages = usePages();
  const { data, error, reload } = useResource(`invites:${pages.cursor}`, (signal) =>
    api("GET /v1/admin/invites", { signal, query: { cursor: pages.cursor, limit: 50 } }),
  );
  const [email, setEmail] = useState("");
  const [fault, setFault] = useState<string>();
  const [secret, setSecret] = useState<string>();
  const invite = async () => {
    setFault(undefined);
    try {
      const made = await api("POST /v1/admin/invites", { body: email.trim() === "" ? {} : { email: email.trim() } });
      setSecret(`${location.origin}${hrefOf("register", { invite: made.secret })}`);
      setEmail("");
      reload();
    } catch (failure) {
      const { faults, sentence } = refusalOf(failure);
      setFault(faults.email ?? sentence);
    }
  };
  const revoke = async (invite_id: string) => {
    try {
      await api("DELETE /v1/admin/invites/{invite_id}", { path: { invite_id } });
      reload();
    } catch (failure) {
      toast(refusalOf(failure).sentence ?? "The invite could not be revoked.", { isError: true });
    }
  };
  const columns: readonly Column<Invite>[] = [
    { name: "email", label: "For", cell: (one) => <bdi>{one.email === "" ? "anybody" : one.email}</bdi> },
    { name: "state", label: "State", cell: (one) => inviteState(one, minuteClock.value) },
    { name: "created", label: "Created", cell: (one) => <Time at={one.created_at} /> },
    { name: "expires", label: "Expires", cell: (one) => <Time at={one.expires_at} /> },
    {
      name: "revoke",
      label: "Revoke",
      cell: (one) =>
        inviteState(one, minuteClock.value) === "open" && (
          <Button small onClick={() => void revoke(one.id)}>
            Revoke
          </Button>
        ),
    },
  ];
  return (
    <>
      <PageHead title="Invites" sentence="An invite works once, while its maker is an active admin." />
      <form
        class="row card"
        onSubmit={(event) => {
          event.preventDefault();
          void invite();
        }}
      >
        <TextField label="Only for this email address, or anybody" type="email" value={email} onInput={setEmail} error={fault} />
        <Button kind="primary" type="submit">
          Invite
        </Button>
      </form>
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="invites" />}
      {data?.invites.length === 0 && (
        <Empty>
          <p>No invites.</p>
        </Empty>
      )}
      {data !== undefined && data.invites.length > 0 && (
        <Table caption="Invites" columns={columns} rows={data.invites} rowKey={({ id }) => id} />
      )}
      <Pager pages={pages} nextCursor={data?.next_cursor} />
      {secret !== undefined && (
        <ShownOnce title="The address to register at" secret={secret} onDone={() => setSecret(undefined)} />
      )}
    </>
  );
}
