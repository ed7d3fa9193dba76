import { useEffect } from "preact/hooks";
import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { ApiKey } from "../../api/types.ts";
import { countText, moneyText } from "../../format/money.ts";
import { onUserEvent } from "../../live/user-events.ts";
import { hrefOf } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { PageHead } from "../../ui/page.tsx";
import { Empty, ErrorBox, Loading } from "../../ui/states.tsx";
import { StatusWord } from "../../ui/status-word.tsx";
import { minuteClock, Time } from "../../ui/time.tsx";
import { keyTree, limitsText, stateOf } from "./key-tree.ts";

const stateWords = { active: "Active", revoked: "Revoked", expired: "Expired" } as const;
/** The states of runs whose icon and colour a key's state takes. */
const stateLooks = { active: "completed", revoked: "cancelled", expired: "cancelled" } as const;

/** The state of a key. */
export function KeyStatus({ apiKey }: { readonly apiKey: ApiKey }) {
  const state = stateOf(apiKey, minuteClock.value);
  return <StatusWord status={stateLooks[state]} word={stateWords[state]} />;
}

/** The spending of a key, against its ceiling where it has one. */
export function Spend({ apiKey: { spent_usd, spend_limit_usd, name } }: { readonly apiKey: ApiKey }) {
  if (spend_limit_usd === null) return <span>{spent_usd > 0 ? moneyText(spent_usd) : "–"}</span>;
  return (
    <span class="row">
      <meter class="meter" min={0} max={spend_limit_usd} value={spent_usd} aria-label={`Spending of ${name}`} />
      {moneyText(spent_usd)} of {moneyText(spend_limit_usd)}
    </span>
  );
}

function KeyLine({ apiKey, depth }: { readonly apiKey: ApiKey; readonly depth: number }) {
  const isActive = stateOf(apiKey, minuteClock.value) === "active";
  return (
    <tr class={isActive ? undefined : "is-ended"}>
      <th scope="row" class={`depth-${Math.min(depth, 3)}`}>
        <a href={hrefOf(`keys/${apiKey.id}`)} dir="auto">
          {apiKey.name}
        </a>
      </th>
      <td data-label="Prefix">
        <code class="prefix">{apiKey.prefix}…</code>
      </td>
      <td data-label="State">
        <KeyStatus apiKey={apiKey} />
      </td>
      <td data-label="Spend">
        <Spend apiKey={apiKey} />
      </td>
      <td data-label="Limits">{limitsText(apiKey)}</td>
      <td data-label="Last used">
        <Time at={apiKey.last_used_at} empty="never" />
      </td>
      <td data-label="Expires">
        <Time at={apiKey.is_revoked ? apiKey.revoked_at : apiKey.expires_at} empty="never" />
      </td>
    </tr>
  );
}

/** The keys of the account, each below the one that created it. */
export default function KeysPage() {
  const { data, error, reload } = useResource("keys", (signal) => api("GET /v1/api-keys", { signal, query: { limit: 1_000 } }));
  useEffect(
    () =>
      onUserEvent(({ type }) => {
        if (type === "key.revoked") reload();
      }),
    [reload],
  );
  const active = data?.api_keys.filter((key) => stateOf(key, minuteClock.value) === "active").length ?? 0;
  return (
    <>
      <PageHead
        title="Keys"
        sentence={data === undefined ? undefined : `${countText(active, "key")} can be used, of ${data.api_keys.length}.`}
      >
        <Button kind="primary" href={hrefOf("keys/new")}>
          New key
        </Button>
      </PageHead>
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="keys" />}
      {data?.api_keys.length === 0 && (
        <Empty>
          <p>No keys. Create one for each program, so that you can end it alone.</p>
          <Button href={hrefOf("keys/new")}>New key</Button>
        </Empty>
      )}
      {data !== undefined && data.api_keys.length > 0 && (
        <div class="table-box">
          <table class="table table-cards">
            <caption class="visually-hidden">API keys, each below the key that created it</caption>
            <thead>
              <tr>
                {["Name", "Prefix", "State", "Spend", "Limits", "Last used", "Expires or ended"].map((title) => (
                  <th scope="col" key={title}>
                    {title}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {keyTree(data.api_keys).map(({ key, depth }) => (
                <KeyLine key={key.id} apiKey={key} depth={depth} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}
