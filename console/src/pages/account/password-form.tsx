import { useState } from "preact/hooks";
import { ApiError } from "../../api/api-error.ts";
import { api } from "../../api/request.ts";
import { endSession } from "../../api/session.ts";
import { Button } from "../../ui/button.tsx";
import { FormError, TextField } from "../../ui/field.tsx";
import { errorText } from "../../ui/states.tsx";

/** Changes the password; all sessions end with the old one, also this one. */
export function PasswordForm() {
  const [current, setCurrent] = useState("");
  const [next, setNext] = useState("");
  const [error, setError] = useState<string>();
  const submit = async (event: Event) => {
    event.preventDefault();
    setError(undefined);
    try {
      await api("POST /v1/auth/password", { body: { current_password: current, new_password: next } });
      setCurrent("");
      setNext("");
      endSession();
    } catch (refusal) {
      if (!(refusal instanceof ApiError)) throw refusal;
      setError(refusal.status === 401 && !refusal.isAboutSession ? "The current password is wrong." : errorText(refusal));
    }
  };
  return (
    <section class="card" aria-labelledby="account-password">
      <form class="stack" onSubmit={submit}>
        <h2 id="account-password">Password</h2>
        <FormError text={error} />
        <TextField
          label="Current password"
          type="password"
          autocomplete="current-password"
          required
          value={current}
          onInput={setCurrent}
        />
        <TextField
          label="New password"
          type="password"
          autocomplete="new-password"
          required
          value={next}
          onInput={setNext}
          hint="At least 8 characters. All sessions end; API keys keep working."
        />
        <div class="row">
          <Button type="submit">Change password</Button>
        </div>
      </form>
    </section>
  );
}
