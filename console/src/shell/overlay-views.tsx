import { Button } from "../ui/button.tsx";
import { Dialog, DialogActions } from "../ui/dialog.tsx";
import { closeOverlay, overlay } from "./overlays.ts";
import { Palette } from "./palette.tsx";

const everywhere: readonly (readonly [keys: string, words: string])[] = [
  ["?", "This list"],
  ["Ctrl K, ⌘ K", "Find a page, agent, conversation or run"],
  ["g c, g i, g r", "Chat, Inbox, Runs"],
  ["g a, g t", "Agents, Tools"],
  ["g k, g u, g w, g s", "Keys, Usage, Webhooks, System"],
  ["/", "Search on this page"],
  ["[ and ]", "Newer and older page"],
  ["Esc", "Close, then leave the field"],
];
const lists: readonly (readonly [keys: string, words: string])[] = [
  ["j, k", "Next, previous"],
  ["Enter", "Open"],
  ["x, Shift x", "Select one, select up to here"],
  ["a, e, r", "Inbox and calls: approve, edit, reject"],
  ["u", "Inbox: back to the list"],
  ["← →", "Run: previous, next step"],
  ["f, 1, 2, 3, y", "Run: only failed, tabs, copy id"],
  ["c, ↑, Enter, Esc", "Chat: new, edit the last message, send, stop"],
];

function Keys({ title, rows }: { readonly title: string; readonly rows: typeof everywhere }) {
  return (
    <>
      <h3>{title}</h3>
      <dl class="facts">
        {rows.map(([keys, words]) => (
          <>
            <dt>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{words}</dd>
          </>
        ))}
      </dl>
    </>
  );
}

/** The list of keys or the palette, over the page. */
export function Overlays() {
  if (overlay.value === "palette") return <Palette />;
  if (overlay.value !== "help") return null;
  return (
    <Dialog title="Keys" onClose={closeOverlay}>
      <Keys title="Everywhere" rows={everywhere} />
      <Keys title="Lists and pages" rows={lists} />
      <p class="meta">Keys of one letter can be switched off in Account.</p>
      <DialogActions>
        <Button onClick={closeOverlay} autofocus>
          Close
        </Button>
      </DialogActions>
    </Dialog>
  );
}
