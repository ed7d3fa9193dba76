import { useEffect, useState } from "preact/hooks";
import { api } from "../api/request.ts";
import { currentUser } from "../api/session.ts";
import { base, navigate } from "../router/router.ts";
import { Dialog } from "../ui/dialog.tsx";
import { closeOverlay } from "./overlays.ts";
import { navGroups } from "./routes.ts";

interface Found {
  readonly label: string;
  readonly kind: string;
  readonly path: string;
}

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

function pages(): Found[] {
  const groups = navGroups.filter(({ isAdmin }) => !isAdmin || currentUser.value?.role === "admin");
  const entries = groups.flatMap(({ entries: all }) => all);
  return [...entries, { path: "account", label: "Account" }].map(({ path, label }) => ({ path, label, kind: "Page" }));
}

async function things(signal: AbortSignal): Promise<Found[]> {
  const [agents, conversations] = await Promise.all([
    api("GET /v1/agents", { signal }).catch(() => undefined),
    api("GET /v1/conversations", { query: { limit: 20 }, signal }).catch(() => undefined),
  ]);
  return [
    ...(agents?.agents ?? []).map(({ name }) => ({ label: name, kind: "Agent", path: `agents/${encodeURIComponent(name)}` })),
    ...(conversations?.conversations ?? []).map(({ id, title }) => ({ label: title, kind: "Conversation", path: `chat/${id}` })),
  ];
}

/** Finds pages, agents, recent conversations, and a run by its id. */
export function Palette() {
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const [known, setKnown] = useState<readonly Found[]>([]);
  useEffect(() => {
    const leaving = new AbortController();
    things(leaving.signal).then(setKnown, () => {});
    return () => leaving.abort();
  }, []);
  const wanted = text.trim().toLowerCase();
  const run: Found[] = uuid.test(wanted) ? [{ label: wanted, kind: "Run", path: `runs/${wanted}` }] : [];
  const found = [...run, ...[...pages(), ...known].filter(({ label }) => label.toLowerCase().includes(wanted))].slice(0, 12);
  const open = (one: Found | undefined) => {
    if (one === undefined) return;
    closeOverlay();
    navigate(`${base}${one.path}`);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      setAt((at + step + found.length) % Math.max(1, found.length));
    } else if (event.key === "Enter") {
      event.preventDefault();
      open(found[at]);
    }
  };
  return (
    <Dialog title="Find" onClose={closeOverlay}>
      <input
        class="input"
        type="text"
        role="combobox"
        aria-label="Page, agent, conversation or run id"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={found.length === 0 ? undefined : `palette-${at}`}
        data-autofocus=""
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={onKeyDown}
      />
      <div id="palette-list" role="listbox" aria-label="Found">
        {found.map((one, i) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the field above has the keys.
          <div
            key={one.path}
            id={`palette-${i}`}
            role="option"
            tabIndex={-1}
            aria-selected={i === at}
            class={`menu-item${i === at ? " is-chosen" : ""}`}
            onClick={() => open(one)}
          >
            <bdi>{one.label}</bdi>
            <span class="meta">&nbsp;· {one.kind}</span>
          </div>
        ))}
      </div>
      {found.length === 0 && <p class="meta">Nothing has this name.</p>}
    </Dialog>
  );
}
