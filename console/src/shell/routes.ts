import type { ComponentType } from "preact";
import { createMatcher } from "../router/match.ts";
import type { PageProps } from "../ui/page.tsx";

/** A page: loaded when it is first shown. */
export interface Route {
  readonly load: () => Promise<{ readonly default: ComponentType<PageProps> }>;
  /** Shown without the frame and without a login. */
  readonly isPublic?: boolean;
  /** The entry of the navigation that is current on this page; unless given, the one with which its path begins. */
  readonly nav?: string;
}

/** The pages by their paths below `/console/`. A new page is a folder in `pages/` and a line here. */
const routes: Readonly<Record<string, Route>> = {
  login: { load: () => import("../pages/login/login.tsx"), isPublic: true },
  register: { load: () => import("../pages/login/register.tsx"), isPublic: true },
  chat: { load: () => import("../pages/chat/chat.tsx"), nav: "chat" },
  "chat/:conversation": { load: () => import("../pages/chat/chat.tsx"), nav: "chat" },
  inbox: { load: () => import("../pages/inbox/inbox.tsx"), nav: "inbox" },
  "inbox/:approval": { load: () => import("../pages/inbox/inbox.tsx"), nav: "inbox" },
  runs: { load: () => import("../pages/runs/runs.tsx"), nav: "runs" },
  "runs/:run": { load: () => import("../pages/runs/run.tsx"), nav: "runs" },
  agents: { load: () => import("../pages/agents/agents.tsx"), nav: "agents" },
  "agents/:name": { load: () => import("../pages/agents/agent.tsx"), nav: "agents" },
  tools: { load: () => import("../pages/tools/tools.tsx"), nav: "tools" },
  "tools/:name": { load: () => import("../pages/tools/tool.tsx"), nav: "tools" },
  keys: { load: () => import("../pages/keys/keys.tsx"), nav: "keys" },
  "keys/new": { load: () => import("../pages/keys/new-key.tsx"), nav: "keys" },
  "keys/:id": { load: () => import("../pages/keys/key.tsx"), nav: "keys" },
  usage: { load: () => import("../pages/usage/usage.tsx"), nav: "usage" },
  webhooks: { load: () => import("../pages/webhooks/webhooks.tsx"), nav: "webhooks" },
  "webhooks/new": { load: () => import("../pages/webhooks/new-webhook.tsx"), nav: "webhooks" },
  "webhooks/:id": { load: () => import("../pages/webhooks/webhook.tsx"), nav: "webhooks" },
  "admin/users": { load: () => import("../pages/admin/users.tsx"), nav: "admin/users" },
  "admin/users/:id": { load: () => import("../pages/admin/user.tsx"), nav: "admin/users" },
  "admin/invites": { load: () => import("../pages/admin/invites.tsx"), nav: "admin/invites" },
  "admin/signing-keys": { load: () => import("../pages/admin/signing-keys.tsx"), nav: "admin/signing-keys" },
  "admin/audit": { load: () => import("../pages/admin/audit.tsx"), nav: "admin/audit" },
  "admin/system": { load: () => import("../pages/admin/system.tsx"), nav: "admin/system" },
  account: { load: () => import("../pages/account/account.tsx") },
};

/** The route of a path, with its fields. */
export const matchRoute = createMatcher(Object.entries(routes).map(([pattern, value]) => ({ pattern, value })));

/** An entry of the navigation. */
export interface NavEntry {
  readonly path: string;
  readonly label: string;
  /** The second key after `g`. */
  readonly key?: string;
}

/** The groups of the navigation. `isAdmin`: shown to admins alone. */
export const navGroups: readonly { readonly label: string; readonly isAdmin?: boolean; readonly entries: readonly NavEntry[] }[] =
  [
    {
      label: "Work",
      entries: [
        { path: "chat", label: "Chat", key: "c" },
        { path: "inbox", label: "Inbox", key: "i" },
        { path: "runs", label: "Runs", key: "r" },
      ],
    },
    {
      label: "Build",
      entries: [
        { path: "agents", label: "Agents", key: "a" },
        { path: "tools", label: "Tools", key: "t" },
      ],
    },
    {
      label: "Access",
      entries: [
        { path: "keys", label: "Keys", key: "k" },
        { path: "usage", label: "Usage", key: "u" },
        { path: "webhooks", label: "Webhooks", key: "w" },
      ],
    },
    {
      label: "Admin",
      isAdmin: true,
      entries: [
        { path: "admin/users", label: "Users" },
        { path: "admin/invites", label: "Invites" },
        { path: "admin/signing-keys", label: "Signing keys" },
        { path: "admin/audit", label: "Audit" },
        { path: "admin/system", label: "System", key: "s" },
      ],
    },
  ];
