import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { Webhook } from "../../api/types.ts";
import { countText } from "../../format/money.ts";
import { hrefOf } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { PageHead } from "../../ui/page.tsx";
import { Empty, ErrorBox, Loading } from "../../ui/states.tsx";
import { StatusWord } from "../../ui/status-word.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { Time } from "../../ui/time.tsx";
import { eventsText } from "./events.ts";

/** The state of a webhook. */
export function WebhookStatus({ webhook }: { readonly webhook: Webhook }) {
  if (webhook.enabled) return <StatusWord status="completed" word="Enabled" />;
  return <StatusWord status={webhook.disabled_reason === "" ? "cancelled" : "failed"} word="Disabled" />;
}

const columns: readonly Column<Webhook>[] = [
  { name: "url", label: "Address", cell: ({ url }) => <bdi>{url}</bdi> },
  { name: "state", label: "State", cell: (webhook) => <WebhookStatus webhook={webhook} /> },
  { name: "events", label: "Events", cell: ({ events }) => eventsText(events) },
  { name: "description", label: "Description", cell: ({ description }) => <bdi>{description}</bdi> },
  { name: "failure", label: "Last failure", cell: ({ last_failure_at }) => <Time at={last_failure_at} empty="none" /> },
];

/** The webhooks of the account. */
export default function WebhooksPage() {
  const { data, error, reload } = useResource("webhooks", (signal) => api("GET /v1/webhooks", { signal }));
  const off = data?.webhooks.filter(({ enabled }) => !enabled).length ?? 0;
  const sentence =
    data === undefined
      ? undefined
      : `${countText(data.webhooks.length, "address gets", "addresses get")} events of your runs${off > 0 ? `, ${off} disabled` : ""}.`;
  return (
    <>
      <PageHead title="Webhooks" sentence={sentence}>
        <Button kind="primary" href={hrefOf("webhooks/new")}>
          New webhook
        </Button>
      </PageHead>
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="webhooks" />}
      {data?.webhooks.length === 0 && (
        <Empty>
          <p>No webhooks. They tell your program when a run ends or waits.</p>
          <Button href={hrefOf("webhooks/new")}>New webhook</Button>
        </Empty>
      )}
      {data !== undefined && data.webhooks.length > 0 && (
        <Table
          caption="Webhooks"
          columns={columns}
          rows={data.webhooks}
          rowKey={({ id }) => id}
          rowHref={({ id }) => hrefOf(`webhooks/${id}`)}
        />
      )}
    </>
  );
}
