import { useState } from "preact/hooks";
import { Button } from "./button.tsx";
import { Copy } from "./copy.tsx";
import { Dialog, DialogActions } from "./dialog.tsx";
import { Check } from "./field.tsx";

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
          <p>It cannot be shown again. Close?</p>
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
