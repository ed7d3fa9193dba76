import { useEffect } from "preact/hooks";
import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import { currentUser, endSession } from "../../api/session.ts";
import type { Session } from "../../api/types.ts";
import { countText } from "../../format/money.ts";
import { onUserEvent } from "../../live/user-events.ts";
import { setSingleKeys, setTheme, singleKeys, type Theme, theme } from "../../preferences/preferences.ts";
import { Button } from "../../ui/button.tsx";
import { Check, SelectField } from "../../ui/field.tsx";
import { PageHead } from "../../ui/page.tsx";
import { ErrorBox, Loading } from "../../ui/states.tsx";
import { Time } from "../../ui/time.tsx";
import { toast } from "../../ui/toasts.tsx";
import { PasswordForm } from "./password-form.tsx";

function Sessions() {
  const { data, error, reload, setData } = useResource("sessions", (signal) => api("GET /v1/auth/sessions", { signal }));
  useEffect(() => onUserEvent(({ type }) => type === "session.ended" && reload()), [reload]);
  const end = async ({ id: session_id, is_current: isCurrent }: Session) => {
    try {
      await api("DELETE /v1/auth/sessions/{session_id}", { path: { session_id } });
      if (isCurrent) return endSession();
      setData((old) => (old === undefined ? old : { sessions: old.sessions.filter(({ id }) => id !== session_id) }));
      toast("The session has ended.");
    } catch {
      toast("The session could not be ended. Try again.", { isError: true });
    }
  };
  return (
    <section class="card stack" aria-labelledby="account-sessions">
      <h2 id="account-sessions">Sessions</h2>
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="sessions" />}
      {data !== undefined && (
        <>
          <p class="meta">{countText(data.sessions.length, "login is open", "logins are open")}.</p>
          <div class="table-box">
            <table class="table">
              <caption class="visually-hidden">Open sessions</caption>
              <thead>
                <tr>
                  <th scope="col">Logged in</th>
                  <th scope="col">Last used</th>
                  <th scope="col">Ends</th>
                  <th scope="col">
                    <span class="visually-hidden">End</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {data.sessions.map((session) => (
                  <tr key={session.id}>
                    <td>
                      <Time at={session.created_at} />
                    </td>
                    <td>{session.is_current ? "this one" : <Time at={session.last_used_at} />}</td>
                    <td>
                      <Time at={session.expires_at} />
                    </td>
                    <td class="number">
                      <Button small onClick={() => void end(session)}>
                        End
                      </Button>
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
    </section>
  );
}

/** The person's account: password, sessions, theme, keys. */
export default function AccountPage() {
  const user = currentUser.value;
  return (
    <>
      <PageHead
        title="Account"
        sentence={user === undefined ? undefined : `${user.name === "" ? "" : `${user.name}, `}${user.email}, role ${user.role}.`}
      />
      <div class="stack account">
        <section class="card stack" aria-labelledby="account-view">
          <h2 id="account-view">This browser</h2>
          <SelectField
            label="Theme"
            value={theme.value}
            onChange={(value) => setTheme(value as Theme)}
            options={[
              ["system", "As the system has it"],
              ["light", "Light"],
              ["dark", "Dark"],
            ]}
          />
          <Check label="Single-key shortcuts, such as j and a" checked={singleKeys.value} onChange={setSingleKeys} />
        </section>
        <PasswordForm />
        <Sessions />
      </div>
    </>
  );
}
