import { useEffect } from "preact/hooks";
import { sessionStatus } from "../../api/session.ts";
import { base, hrefOf, navigate, query } from "../../router/router.ts";
import { LoginForm } from "../../ui/login-form.tsx";
import { PageHead } from "../../ui/page.tsx";
import { useInfo } from "./info.ts";
import { nextPath } from "./next-path.ts";

/** The page to log in. */
export default function LoginPage() {
  const info = useInfo();
  const isIn = sessionStatus.value === "in";
  useEffect(() => {
    if (isIn) navigate(`${base}${nextPath()}`, { replace: true });
  }, [isIn]);
  return (
    <>
      <PageHead title="Log in" heading="Log in to Turnwright" />
      <LoginForm />
      <p class="meta">
        {info?.registration === "closed" ? (
          "Registration is closed here. Ask an admin for an account."
        ) : (
          <a href={hrefOf("register", { next: query.value.get("next") ?? undefined })}>Create an account</a>
        )}
      </p>
      {info?.demo_model && <p class="notice">The demo model answers here. An admin can configure a real one.</p>}
    </>
  );
}
