import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { InboxService } from "@turnwright/contract/agent/v1/inbox_service";
import type { InboxItem } from "@turnwright/contract/conversation/v1/inbox";
import type { ToolSpec } from "@turnwright/contract/tool/v1/tool";
import { allows, requireIdentity } from "@turnwright/platform/identity/identity";
import { forward } from "@turnwright/platform/rpc/forward";
import type { RunDeps } from "../runs/launch.ts";
import { effectName } from "../tool-access/effect-name.ts";

/** Effects and names are no reason to keep a page back for long. */
const beside = { timeoutMs: 3_000 };

/** The executors' tools by name; none while the executors are away. */
async function specsOf(deps: RunDeps, ctx: HandlerContext): Promise<ReadonlyMap<string, ToolSpec>> {
  try {
    return await deps.catalogue.specs(forward(ctx, beside));
  } catch (error) {
    const fields = () => ({});
    deps.failures.warn({ message: "an inbox was read without the tools", subject: [], error, fields });
    return new Map();
  }
}

/** Names of the API keys that started the items' runs, by their ids; none while auth is away. */
async function keyNames(deps: RunDeps, userId: string, items: readonly InboxItem[]): Promise<ReadonlyMap<string, string>> {
  const tokenIds = [...new Set(items.map((item) => item.requestedByTokenId))].filter((id) => id !== "");
  if (tokenIds.length === 0) return new Map();
  try {
    const { apiKeys } = await deps.tokens.nameCredentials({ userId, tokenIds }, beside);
    return new Map(apiKeys.map(({ id, name }) => [id, name]));
  } catch (error) {
    const fields = () => ({});
    deps.failures.warn({ message: "an inbox was read without the names of keys", subject: [], error, fields });
    return new Map();
  }
}

/** Handlers of InboxService: all that waits for a person. */
export function inboxHandlers(deps: RunDeps): ServiceImpl<typeof InboxService> {
  return {
    async listInbox({ show, order, limit = 50, cursor }, ctx) {
      const { userId, allowedTools } = requireIdentity(ctx);
      const asked = { decided: show === "decided", oldestFirst: order === "oldest", limit, cursor };
      const [page, specs] = await Promise.all([
        deps.journal.listInboxItems(asked, forward(ctx, { timeoutMs: 15_000 })),
        specsOf(deps, ctx),
      ]);
      const names = await keyNames(deps, userId, page.items);
      const effectOf = (tool: string) => effectName(specs.get(tool)?.effect);
      const items = page.items.map((item) => ({
        ...item,
        requestedByName: names.get(item.requestedByTokenId) ?? "",
        calls: item.calls.map((call) => ({ ...call, effect: effectOf(call.toolName) })),
      }));
      const used = [...new Set(items.flatMap(({ calls }) => calls.map(({ toolName }) => toolName)))].sort();
      const tools = used.flatMap((name) => {
        const spec = specs.get(name);
        if (spec === undefined || !allows(allowedTools, name)) return [];
        const { description = "", parameters } = spec.definition?.function ?? {};
        return [{ name, version: spec.version, effect: effectOf(name), description, parameters }];
      });
      return { items, tools, counts: page.counts, nextCursor: page.nextCursor };
    },
  };
}
