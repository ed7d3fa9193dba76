import { render } from "preact";
import { startSession } from "./api/session.ts";
import { startKeys } from "./keyboard/keys.ts";
import { startUserEvents } from "./live/user-events.ts";
import { startRouter } from "./router/router.ts";
import { App } from "./shell/app.tsx";
import { startGlobalKeys } from "./shell/global-keys.ts";
import { loadCurrentUser } from "./shell/load-user.ts";

const root = document.getElementById("app");
if (root === null) throw new Error("The page has no #app.");
startRouter();
startKeys();
startGlobalKeys();
startUserEvents();
loadCurrentUser();
root.replaceChildren();
render(<App />, root);
void startSession();
