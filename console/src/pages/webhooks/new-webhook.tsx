import { useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import { hrefOf, navigate } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { PageHead } from "../../ui/page.tsx";
import { ShownOnce } from "../../ui/shown-once.tsx";
import { WebhookForm } from "./webhook-form.tsx";

/** The form for a new webhook. */
export default function NewWebhookPage() {
  const [made, setMade] = useState<{ readonly id: string; readonly secret: string }>();
  return (
    <>
      <PageHead title="New webhook" sentence="Messages are signed; your program checks the signature." />
      <WebhookForm
        initial={{ url: "", description: "", events: [] }}
        action="Create"
        onSend={async (body) => {
          const { webhook, secret } = await api("POST /v1/webhooks", { body, once: `webhook:${body.url}` });
          setMade({ id: webhook?.id ?? "", secret });
        }}
      >
        <Button href={hrefOf("webhooks")}>Back to the webhooks</Button>
      </WebhookForm>
      {made !== undefined && (
        <ShownOnce
          title="The signing secret"
          secret={made.secret}
          onDone={() => {
            setMade(undefined);
            navigate(hrefOf(`webhooks/${made.id}`));
          }}
        />
      )}
    </>
  );
}
