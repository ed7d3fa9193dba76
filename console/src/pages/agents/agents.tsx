import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { Agent } from "../../api/types.ts";
import { countText } from "../../format/money.ts";
import { hrefOf } from "../../router/router.ts";
import { PageHead } from "../../ui/page.tsx";
import { Empty, ErrorBox, Loading } from "../../ui/states.tsx";
import { type Column, Table } from "../../ui/table.tsx";

/** The tools of an agent in short. */
export function toolsText(tools: readonly string[]): string {
  return tools.length === 0 || tools.includes("*") ? "every tool that the caller may use" : tools.join(", ");
}

const columns: readonly Column<Agent>[] = [
  { name: "name", label: "Name", cell: ({ name }) => <bdi>{name}</bdi> },
  { name: "about", label: "Description", cell: ({ description }) => <bdi>{description}</bdi> },
  { name: "model", label: "Model", cell: ({ model }) => (model === "" ? "the caller's choice" : <bdi>{model}</bdi>) },
  { name: "tools", label: "Tools", cell: ({ tools }) => <bdi>{toolsText(tools)}</bdi> },
];

/** The agents of this installation. */
export default function AgentsPage() {
  const { data, error, reload } = useResource("agents", (signal) => api("GET /v1/agents", { signal }));
  return (
    <>
      <PageHead
        title="Agents"
        sentence={
          data === undefined ? undefined : `${countText(data.agents.length, "agent")}. Agents of this release cannot be edited.`
        }
      />
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="agents" />}
      {data?.agents.length === 0 && (
        <Empty>
          <p>No agents.</p>
        </Empty>
      )}
      {data !== undefined && data.agents.length > 0 && (
        <Table
          caption="Agents"
          columns={columns}
          rows={data.agents}
          rowKey={({ name }) => name}
          rowHref={({ name }) => hrefOf(`agents/${encodeURIComponent(name)}`)}
        />
      )}
    </>
  );
}
