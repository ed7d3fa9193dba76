import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { connection, tryAgain, waitingUntil } from "../api/connection.ts";
import { currentUser, logOut } from "../api/session.ts";
import { shortClockText } from "../format/time.ts";
import { counts } from "../live/user-events.ts";
import { base, navigate, place } from "../router/router.ts";
import { Button } from "../ui/button.tsx";
import { Menu } from "../ui/menu.tsx";
import { openHelp, openPalette } from "./overlays.ts";
import { matchRoute, type NavEntry, navGroups } from "./routes.ts";

function badgeOf(path: string): { readonly count: number; readonly words: string } | undefined {
  const told = counts.value;
  if (told === undefined) return undefined;
  if (path === "inbox" && told.pending > 0) return { count: told.pending, words: "wait for you" };
  if (path === "runs" && told.needs_review > 0) return { count: told.needs_review, words: "need review" };
  return undefined;
}

/** Whether an entry's page, or one that belongs to it, is shown. */
function isCurrent(path: string): boolean {
  const { path: here } = place.value;
  const nav = matchRoute(here)?.value.nav;
  return nav === undefined ? here === path || here.startsWith(`${path}/`) : nav === path;
}

function NavLink({ entry }: { readonly entry: NavEntry }) {
  const badge = badgeOf(entry.path);
  return (
    <a
      class="nav-link"
      href={`${base}${entry.path}`}
      aria-current={isCurrent(entry.path) ? "page" : undefined}
      title={entry.key === undefined ? undefined : `g ${entry.key}`}
    >
      {entry.label}
      {badge !== undefined && (
        <span class="badge">
          {badge.count}
          <span class="visually-hidden"> {badge.words}</span>
        </span>
      )}
    </a>
  );
}

function visibleGroups() {
  return navGroups.filter(({ isAdmin }) => !isAdmin || currentUser.value?.role === "admin");
}

function Nav() {
  return (
    <nav class="nav" aria-label="Pages">
      <p class="nav-brand">Turnwright</p>
      {visibleGroups().map(({ label, entries }) => (
        <div key={label}>
          <p class="nav-group" id={`nav-${label}`}>
            {label}
          </p>
          <ul aria-labelledby={`nav-${label}`}>
            {entries.map((entry) => (
              <li key={entry.path}>
                <NavLink entry={entry} />
              </li>
            ))}
          </ul>
        </div>
      ))}
    </nav>
  );
}

function ConnectionState() {
  const state = connection.value;
  if (state.kind === "live") return <span class="connection">● Live</span>;
  if (state.kind === "reconnecting") return <span class="connection">Reconnecting…</span>;
  if (state.kind === "offline") {
    return <span class="connection connection-offline">Offline since {shortClockText(state.since)}</span>;
  }
  return null;
}

function crumbs(): string {
  const { path } = place.value;
  const entry = visibleGroups()
    .flatMap(({ entries }) => entries)
    .find((one) => isCurrent(one.path));
  if (entry === undefined) return path === "account" ? "Account" : "";
  const rest = path.slice(entry.path.length + 1);
  return rest === "" ? entry.label : `${entry.label} / ${rest}`;
}

function TopLine() {
  const user = currentUser.value;
  return (
    <header class="top">
      <span class="top-crumb">{crumbs()}</span>
      <span role="status">
        <ConnectionState />
      </span>
      <Button kind="quiet" shortcut="Control+K" title="Find a page or run" label="Find" onClick={openPalette}>
        Find
      </Button>
      <Button kind="quiet" shortcut="?" title="Keys" label="Keyboard shortcuts" onClick={openHelp}>
        ?
      </Button>
      <Menu
        label="Account"
        items={[
          { label: user?.email ?? "Account", href: `${base}account` },
          {
            label: "Log out",
            run: () => void logOut().then(() => navigate(`${base}login`)),
          },
        ]}
      >
        <span aria-hidden="true">{(user?.name || user?.email || "?").slice(0, 1).toUpperCase()}</span>
      </Menu>
    </header>
  );
}

function TabBar() {
  const all = visibleGroups().flatMap(({ entries }) => entries);
  const first = ["chat", "inbox", "runs"];
  const rest = all.filter(({ path }) => !first.includes(path));
  return (
    <nav class="tab-bar" aria-label="Pages, short">
      {all
        .filter(({ path }) => first.includes(path))
        .map(({ path, label }) => (
          <a key={path} href={`${base}${path}`} aria-current={isCurrent(path) ? "page" : undefined}>
            {label} {badgeOf(path) !== undefined && <span class="badge">{badgeOf(path)?.count}</span>}
          </a>
        ))}
      <Menu label="More pages" items={rest.map(({ path, label }) => ({ label, href: `${base}${path}` }))}>
        More
      </Menu>
    </nav>
  );
}

/** The seconds until a time, counted down. */
function useSecondsUntil(time: Date | undefined): number {
  const [, tick] = useState(0);
  useEffect(() => {
    if (time === undefined) return;
    const timer = setInterval(() => tick((count) => count + 1), 1_000);
    return () => clearInterval(timer);
  }, [time]);
  return Math.max(1, Math.ceil(((time?.getTime() ?? 0) - Date.now()) / 1_000));
}

/** The words over the page while the server does not answer, or lets the browser wait. */
function Hindrance() {
  const state = connection.value;
  const waiting = waitingUntil.value;
  const seconds = useSecondsUntil(state.kind === "offline" ? state.retryAt : waiting);
  if (state.kind === "offline") {
    return (
      <div class="banner row">
        <span>
          Offline: what you see is from {shortClockText(state.since)}. Trying again in {seconds} s.
        </span>
        <Button small onClick={() => void tryAgain()}>
          Now
        </Button>
      </div>
    );
  }
  return waiting === undefined ? null : <div class="banner">Too many requests. Going on in {seconds} s.</div>;
}

/** The frame around the pages: navigation, top line, and the page in the middle. */
export function Frame({ children }: { readonly children: ComponentChildren }) {
  return (
    <div class="frame">
      <a class="skip" href="#main">
        Skip to the page
      </a>
      <Nav />
      <div class="frame-body">
        <TopLine />
        <Hindrance />
        <main id="main" class="main" tabIndex={-1}>
          {children}
        </main>
      </div>
      <TabBar />
    </div>
  );
}
