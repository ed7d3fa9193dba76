import { useState } from "preact/hooks";
import { ApiError } from "../../api/api-error.ts";
import { api } from "../../api/request.ts";
import { logIn } from "../../api/session.ts";
import { base, hrefOf, navigate, query } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { FormError, TextField } from "../../ui/field.tsx";
import { PageHead } from "../../ui/page.tsx";
import { errorText } from "../../ui/states.tsx";
import { useInfo } from "./info.ts";
import { nextPath } from "./next-path.ts";

interface Refusal {
  readonly param: string;
  readonly text: string;
}

function refusalOf(error: unknown): Refusal {
  if (!(error instanceof ApiError)) throw error;
  if (error.status === 429) return { param: "", text: `Too many attempts. Try again in ${Math.max(1, error.retryAfter)} s.` };
  if (error.code === "REGISTRATION_CLOSED")
    return { param: "", text: "Registration is closed here. Ask an admin for an invite." };
  return { param: error.param, text: errorText(error) };
}

/** The page to create an account, with an invite where one is needed. */
export default function RegisterPage() {
  const invite = query.value.get("invite") ?? "";
  const info = useInfo();
  const [form, setForm] = useState({ email: "", password: "", name: "", invite });
  const [refusal, setRefusal] = useState<Refusal>();
  const [isSending, setSending] = useState(false);
  const set = (name: keyof typeof form) => (value: string) => setForm({ ...form, [name]: value });
  const errorAt = (param: string) => (refusal?.param === param ? refusal.text : undefined);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (isSending) return;
    setSending(true);
    setRefusal(undefined);
    try {
      await api("POST /v1/auth/register", { body: form, once: `register:${form.email}`, isPublic: true });
      await logIn(form.email, form.password);
      navigate(`${base}${nextPath()}`, { replace: true });
    } catch (error) {
      setRefusal(refusalOf(error));
    } finally {
      setSending(false);
    }
  };
  const isNamed = ["email", "password", "name", "invite"].includes(refusal?.param ?? "");
  return (
    <>
      <PageHead title="Create an account" />
      {info?.registration === "closed" && <p class="notice">Registration is closed here. Ask an admin for an invite.</p>}
      <form class="stack" onSubmit={submit}>
        <FormError text={isNamed ? undefined : refusal?.text} />
        <TextField
          label="Email"
          type="email"
          name="email"
          autocomplete="username"
          required
          value={form.email}
          onInput={set("email")}
          error={errorAt("email")}
        />
        <TextField
          label="Password"
          type="password"
          name="password"
          autocomplete="new-password"
          required
          value={form.password}
          onInput={set("password")}
          hint="At least 8 characters."
          error={errorAt("password")}
        />
        <TextField label="Name" name="name" autocomplete="name" value={form.name} onInput={set("name")} error={errorAt("name")} />
        {(invite !== "" || info?.registration === "invite") && (
          <TextField label="Invite" name="invite" mono value={form.invite} onInput={set("invite")} error={errorAt("invite")} />
        )}
        <div class="row">
          <Button type="submit" kind="primary" disabled={isSending}>
            Create account
          </Button>
          <a href={hrefOf("login", { next: query.value.get("next") ?? undefined })}>Log in instead</a>
        </div>
      </form>
      {info?.demo_model && <p class="notice">The demo model answers here. An admin can configure a real one.</p>}
    </>
  );
}
