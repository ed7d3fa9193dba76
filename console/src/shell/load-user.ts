import { api } from "../api/request.ts";
import { currentUser, sessionStatus, setCurrentUser } from "../api/session.ts";

/** Reads the account whenever a session is there and its account is not known: after a reload. */
export function loadCurrentUser(): void {
  sessionStatus.subscribe((status) => {
    if (status !== "in" || currentUser.peek() !== undefined) return;
    api("GET /v1/auth/me", {}).then(
      ({ user }) => {
        if (user !== null) setCurrentUser(user);
      },
      () => {},
    );
  });
}
