import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { FunctionDefinition, ToolDetails } from "../../api/types.ts";
import { countText } from "../../format/money.ts";
import { spanText } from "../../format/time.ts";
import { hrefOf } from "../../router/router.ts";
import { PageHead } from "../../ui/page.tsx";
import { Empty, ErrorBox, Loading } from "../../ui/states.tsx";
import { type Column, Table } from "../../ui/table.tsx";

/** A tool as the console shows it. */
export interface ShownTool {
  readonly name: string;
  readonly definition: FunctionDefinition | null;
  readonly details: ToolDetails | undefined;
}

/** Reads the tools that the person may use. */
export async function readTools(signal: AbortSignal): Promise<readonly ShownTool[]> {
  const { tools, details } = await api("GET /v1/tools", { signal });
  return tools.map(({ function: definition }, index) => ({
    name: definition?.name ?? "",
    definition,
    details: details[index],
  }));
}

const columns: readonly Column<ShownTool>[] = [
  { name: "name", label: "Name", cell: ({ name }) => <bdi>{name}</bdi> },
  { name: "effect", label: "Effect", cell: ({ details }) => details?.effect ?? "–" },
  { name: "approval", label: "Needs approval", cell: ({ details }) => (details?.requires_approval ? "yes" : "no") },
  { name: "limit", label: "Time limit", isNumber: true, cell: ({ details }) => spanText(details?.timeout_ms ?? 0) },
  { name: "source", label: "Source", cell: ({ details }) => details?.source ?? "" },
  { name: "about", label: "Description", cell: ({ definition }) => <bdi>{definition?.description ?? ""}</bdi> },
];

/** The tools that agents may use for the person. */
export default function ToolsPage() {
  const { data, error, reload } = useResource("tools", readTools);
  const asking = data?.filter(({ details }) => details?.requires_approval).length ?? 0;
  return (
    <>
      <PageHead
        title="Tools"
        sentence={data === undefined ? undefined : `${countText(data.length, "tool")}, ${asking} of them ask a person first.`}
      />
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="tools" />}
      {data?.length === 0 && (
        <Empty>
          <p>No tools: this token's list is empty.</p>
        </Empty>
      )}
      {data !== undefined && data.length > 0 && (
        <Table
          caption="Tools"
          columns={columns}
          rows={data}
          rowKey={({ name }) => name}
          rowHref={({ name }) => hrefOf(`tools/${encodeURIComponent(name)}`)}
        />
      )}
    </>
  );
}
