import { currentUser, logOut } from "../api/session.ts";
import { Button } from "../ui/button.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { LoginForm } from "../ui/login-form.tsx";

/** Over the page of a session that has ended: what stands on the page, and what was typed, stays. */
export function LoginDialog() {
  return (
    <Dialog title="Log in to go on" stays onClose={() => {}}>
      <p>Your session has ended. Log in to go on; your text is kept.</p>
      <LoginForm email={currentUser.value?.email ?? ""} sameAccount />
      <Button kind="quiet" onClick={() => void logOut()}>
        Use another account
      </Button>
    </Dialog>
  );
}
