import { useState } from "preact/hooks";
import { ApiError } from "../api/api-error.ts";
import { currentUser, logIn } from "../api/session.ts";
import { Button } from "./button.tsx";
import { FormError, TextField } from "./field.tsx";
import { errorText } from "./states.tsx";

function words(error: unknown): string {
  if (!(error instanceof ApiError)) throw error;
  if (error.status === 429) return `Too many attempts. Try again in ${Math.max(1, error.retryAfter)} s.`;
  if (error.status === 401 || error.code === "INVALID_CREDENTIALS") return "Email or password is wrong.";
  return errorText(error);
}

/** Email and password. `sameAccount`: over a page whose data belongs to the account that was logged in. */
export function LoginForm({
  email: given = "",
  sameAccount,
  onDone,
}: {
  readonly email?: string;
  readonly sameAccount?: boolean;
  readonly onDone?: () => void;
}) {
  const [email, setEmail] = useState(given);
  const [password, setPassword] = useState("");
  const [error, setError] = useState<string>();
  const [isSending, setSending] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (isSending) return;
    setSending(true);
    setError(undefined);
    try {
      const before = currentUser.value?.id;
      await logIn(email, password);
      setPassword("");
      // The page below shows another account's data.
      if (sameAccount && before !== undefined && currentUser.value?.id !== before) location.reload();
      onDone?.();
    } catch (refusal) {
      setError(words(refusal));
    } finally {
      setSending(false);
    }
  };
  return (
    <form class="stack" onSubmit={submit}>
      <FormError text={error} />
      <TextField label="Email" type="email" name="email" autocomplete="username" required value={email} onInput={setEmail} />
      <TextField
        label="Password"
        type="password"
        name="password"
        autocomplete="current-password"
        required
        value={password}
        onInput={setPassword}
      />
      <div class="row">
        <Button type="submit" kind="primary" disabled={isSending}>
          Log in
        </Button>
      </div>
    </form>
  );
}
