import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import { useKeys } from "../../keyboard/keys.ts";
import { hrefOf, navigate } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { PageHead, type PageProps } from "../../ui/page.tsx";
import { ErrorBox, Loading } from "../../ui/states.tsx";
import { toolsText } from "./agents.tsx";

/** One agent: what it is for, its model and tools, and a way to try it. */
export default function AgentPage({ params }: PageProps) {
  const name = params.name ?? "";
  const { data, error, reload } = useResource("agents", (signal) => api("GET /v1/agents", { signal }));
  const agent = data?.agents.find((one) => one.name === name);
  const chat = hrefOf("chat/new", { agent: name });
  useKeys({ t: () => (agent === undefined ? false : navigate(chat)) });
  return (
    <>
      <PageHead title="Agent" heading={<bdi>{name}</bdi>} sentence={<a href={hrefOf("agents")}>All agents</a>}>
        {agent !== undefined && (
          <Button kind="primary" href={chat} shortcut="t">
            Try in chat
          </Button>
        )}
      </PageHead>
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="agents" />}
      {data !== undefined && agent === undefined && <p>There is no such agent.</p>}
      {agent !== undefined && (
        <div class="stack">
          <p dir="auto">{agent.description}</p>
          <dl class="facts card">
            <dt>Model</dt>
            <dd>{agent.model === "" ? "the caller's choice" : <bdi>{agent.model}</bdi>}</dd>
            <dt>Tools</dt>
            <dd>
              <bdi>{toolsText(agent.tools)}</bdi>
            </dd>
          </dl>
          <p class="meta">Agents of this release cannot be edited.</p>
        </div>
      )}
    </>
  );
}
