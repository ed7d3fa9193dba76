import { useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { User } from "../../api/types.ts";
import { countText } from "../../format/money.ts";
import { hrefOf, query, setQuery } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog, DialogActions } from "../../ui/dialog.tsx";
import { FormError, SelectField, TextField } from "../../ui/field.tsx";
import { PageHead } from "../../ui/page.tsx";
import { Pager, usePages } from "../../ui/pager.tsx";
import { type Faults, refusalOf } from "../../ui/refusal.ts";
import { Empty, ErrorBox, Loading } from "../../ui/states.tsx";
import { StatusWord } from "../../ui/status-word.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { Time } from "../../ui/time.tsx";
import { toast } from "../../ui/toasts.tsx";

/** The roles of accounts. */
export const roles = [
  ["user", "user"],
  ["admin", "admin"],
  ["agent", "agent: a program"],
] as const;
type Role = (typeof roles)[number][0];

const columns: readonly Column<User>[] = [
  { name: "email", label: "Email", cell: ({ email }) => <bdi>{email}</bdi> },
  { name: "name", label: "Name", cell: ({ name }) => <bdi>{name}</bdi> },
  { name: "role", label: "Role", cell: ({ role }) => role },
  {
    name: "state",
    label: "State",
    cell: ({ is_active }) => (
      <StatusWord status={is_active ? "completed" : "cancelled"} word={is_active ? "Active" : "Disabled"} />
    ),
  },
  { name: "created", label: "Created", cell: ({ created_at }) => <Time at={created_at} /> },
];

function NewUser({ onDone, onClose }: { readonly onDone: () => void; readonly onClose: () => void }) {
  const [email, setEmail] = useState("");
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [role, setRole] = useState<Role>("user");
  const [faults, setFaults] = useState<Faults>({});
  const [refusal, setRefusal] = useState<string>();
  const create = async () => {
    try {
      await api("POST /v1/admin/users", { body: { email, name, password, role }, once: `user:${email}` });
      toast("The account is made. Its owner should change the password.");
      onDone();
    } catch (error) {
      const told = refusalOf(error);
      setFaults(told.faults);
      setRefusal(told.sentence);
    }
  };
  return (
    <Dialog title="New account" onClose={onClose}>
      <form
        class="stack"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void create();
        }}
      >
        <FormError text={refusal} />
        <TextField label="Email" type="email" value={email} onInput={setEmail} error={faults.email} required />
        <TextField label="Name" value={name} onInput={setName} error={faults.name} maxLength={200} />
        <TextField
          label="Password, 8 characters at least"
          type="password"
          autocomplete="new-password"
          value={password}
          onInput={setPassword}
          error={faults.password}
          required
        />
        <SelectField label="Role" value={role} onChange={(value) => setRole(value as Role)} options={roles} />
        <DialogActions>
          <Button onClick={onClose}>Back</Button>
          <Button kind="primary" type="submit">
            Create
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}

/** All accounts, for admins. */
export default function UsersPage() {
  const pages = usePages();
  const [q, role, active] = ["q", "role", "active"].map((name) => query.value.get(name) ?? "");
  const { data, error, reload, isLoading } = useResource(`users:${q}:${role}:${active}:${pages.cursor}`, (signal) =>
    api("GET /v1/admin/users", {
      signal,
      query: {
        q,
        role: role === "" ? undefined : (role as Role),
        active: active === "" ? undefined : active === "yes",
        cursor: pages.cursor,
        limit: 50,
      },
    }),
  );
  const [isMaking, setMaking] = useState(false);
  const set = (values: Readonly<Record<string, string>>) => setQuery({ ...values, cursor: undefined });
  return (
    <>
      <PageHead
        title="Users"
        sentence={data === undefined ? undefined : `${countText(data.users.length, "account")} on this page.`}
      >
        <Button kind="primary" onClick={() => setMaking(true)}>
          New account
        </Button>
      </PageHead>
      <div class="filters" role="search">
        <TextField
          label="Email, name or id"
          type="search"
          value={q ?? ""}
          onInput={(value) => set({ q: value })}
          maxLength={254}
        />
        <SelectField
          label="Role"
          value={role ?? ""}
          onChange={(value) => set({ role: value })}
          options={[["", "any"], ...roles]}
        />
        <SelectField
          label="State"
          value={active ?? ""}
          onChange={(value) => set({ active: value })}
          options={[
            ["", "any"],
            ["yes", "active"],
            ["no", "disabled"],
          ]}
        />
      </div>
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="accounts" />}
      {data?.users.length === 0 && (
        <Empty>
          <p>No entries for these filters.</p>
        </Empty>
      )}
      {data !== undefined && data.users.length > 0 && (
        <Table
          caption="Accounts"
          columns={columns}
          rows={data.users}
          rowKey={({ id }) => id}
          rowHref={({ id }) => hrefOf(`admin/users/${id}`)}
          isLoading={isLoading}
        />
      )}
      <Pager pages={pages} nextCursor={data?.next_cursor} />
      {isMaking && (
        <NewUser
          onClose={() => setMaking(false)}
          onDone={() => {
            setMaking(false);
            reload();
          }}
        />
      )}
    </>
  );
}
