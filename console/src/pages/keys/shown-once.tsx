import { useState } from "preact/hooks";
import { Button } from "../../ui/button.tsx";
import { Copy } from "../../ui/copy.tsx";
import { Dialog, DialogActions } from "../../ui/dialog.tsx";
import { Check } from "../../ui/field.tsx";

/** A secret that the server tells once. It lives in this component's state alone and goes with it. */
export function ShownOnce(props: {
  readonly title: string;
  readonly secret: string;
  /** A command that uses the secret by a variable, never the secret itself. */
  readonly curl?: string;
  readonly onDone: () => void;
}) {
  const { title, secret, curl, onDone } = props;
  const [isStored, setStored] = useState(false);
  const [isAsking, setAsking] = useState(false);
  return (
    <Dialog title={title} onClose={() => (isStored ? onDone() : setAsking(true))}>
      <div class="stack">
        <div class="row">
          <code class="secret" dir="ltr">
            {secret}
          </code>
          <Copy text={secret} what="The secret is in the clipboard." />
        </div>
        <p>This is the only time it is shown.</p>
        <Check label="I have stored it" checked={isStored} onChange={setStored} />
      </div>
      {isAsking && !isStored && (
        <div class="notice notice-danger" role="alert">
          <p>The key cannot be shown again. Close?</p>
          <div class="row">
            <Button small kind="danger" onClick={onDone}>
              Close without storing
            </Button>
            <Button small autofocus onClick={() => setAsking(false)}>
              Keep it open
            </Button>
          </div>
        </div>
      )}
      <DialogActions>
        {curl !== undefined && <Copy text={curl} label="Copy curl" what="The command is in the clipboard." />}
        <Button kind="primary" disabled={!isStored} onClick={onDone}>
          Done
        </Button>
      </DialogActions>
    </Dialog>
  );
}

/** A first command for a new key. */
export function curlFor(model: string): string {
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hello" }] });
  return [
    `curl ${location.origin}/v1/chat/completions`,
    `  -H "Authorization: Bearer $TURNWRIGHT_KEY"`,
    `  -H "Content-Type: application/json"`,
    `  -d '${body.replaceAll("'", "'\\''")}'`,
  ].join(" \\\n");
}
