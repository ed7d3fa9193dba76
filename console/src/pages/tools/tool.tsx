import { useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { TryToolResponse } from "../../api/types.ts";
import { spanText } from "../../format/time.ts";
import { hrefOf } from "../../router/router.ts";
import { SchemaForm } from "../../schema-form/lazy-schema-form.tsx";
import type { FormState } from "../../schema-form/schema-form.tsx";
import { Button } from "../../ui/button.tsx";
import { FormError } from "../../ui/field.tsx";
import { JsonView } from "../../ui/json-view.tsx";
import { PageHead, type PageProps } from "../../ui/page.tsx";
import { refusalOf } from "../../ui/refusal.ts";
import { ErrorBox, Loading } from "../../ui/states.tsx";
import { readTools, type ShownTool } from "./tools.tsx";

function Outcome({ name, answer }: { readonly name: string; readonly answer: TryToolResponse }) {
  if (answer.approval !== null) {
    return (
      <p class="notice" role="status">
        Your try of <bdi>{name}</bdi> waits for approval. <a href={hrefOf(`inbox/${answer.approval.id}`)}>Open in Inbox</a>
      </p>
    );
  }
  return (
    <div class="stack" role="status">
      <p>
        {answer.error === "" ? "It ran" : "It failed"} in {spanText(answer.duration_ms)}. <bdi>{answer.error}</bdi>
      </p>
      {answer.output_json !== "" && <JsonView text={answer.output_json} label="Result" file="result.json" />}
    </div>
  );
}

function Try({ tool }: { readonly tool: ShownTool }) {
  const [state, setState] = useState<FormState>();
  const [refusal, setRefusal] = useState<string>();
  const [answer, setAnswer] = useState<TryToolResponse>();
  const [isRunning, setRunning] = useState(false);
  const run = async () => {
    if (isRunning) return;
    setRunning(true);
    setRefusal(undefined);
    setAnswer(undefined);
    try {
      const path = { tool_name: tool.name };
      setAnswer(await api("POST /v1/tools/{tool_name}/try", { path, body: { arguments_json: state?.text ?? "{}" } }));
    } catch (error) {
      const { faults, sentence } = refusalOf(error);
      setRefusal(Object.values(faults)[0] ?? sentence);
    } finally {
      setRunning(false);
    }
  };
  return (
    <section class="card stack" aria-labelledby="try-tool">
      <h2 id="try-tool">Try</h2>
      <FormError text={refusal} />
      <SchemaForm schema={tool.definition?.parameters ?? {}} text="{}" onChange={setState} />
      <div class="row">
        <Button kind="primary" disabled={isRunning} onClick={() => void run()}>
          {tool.details?.requires_approval ? "Ask for approval" : "Run"}
        </Button>
        <span class="meta">No model is called.</span>
      </div>
      {answer !== undefined && <Outcome name={tool.name} answer={answer} />}
    </section>
  );
}

/** One tool: its schema, its policy, and a form to try it. */
export default function ToolPage({ params }: PageProps) {
  const name = params.name ?? "";
  const { data, error, reload } = useResource("tools", readTools);
  const tool = data?.find((one) => one.name === name);
  const { details } = tool ?? {};
  return (
    <>
      <PageHead title="Tool" heading={<bdi>{name}</bdi>} sentence={<a href={hrefOf("tools")}>All tools</a>} />
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="tools" />}
      {data !== undefined && tool === undefined && <p>There is no such tool, or you may not use it.</p>}
      {tool !== undefined && (
        <div class="stack">
          <p dir="auto">{tool.definition?.description}</p>
          <dl class="facts card">
            <dt>Effect</dt>
            <dd>{details?.effect ?? "–"}</dd>
            <dt>Approval</dt>
            <dd>{details?.requires_approval ? "a person decides on each call" : "not needed"}</dd>
            <dt>Time limit</dt>
            <dd>{spanText(details?.timeout_ms ?? 0)}</dd>
            <dt>Version</dt>
            <dd>{details?.version ?? "–"}</dd>
            <dt>Source</dt>
            <dd>{details?.source ?? "–"}</dd>
          </dl>
          <Try key={tool.name} tool={tool} />
          <details>
            <summary>Schema of its arguments</summary>
            <JsonView
              text={JSON.stringify(tool.definition?.parameters ?? {}, undefined, 2)}
              label="Schema"
              file={`${tool.name}.schema.json`}
            />
          </details>
        </div>
      )}
    </>
  );
}
