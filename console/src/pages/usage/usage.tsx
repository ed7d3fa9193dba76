import { useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { UsageRow } from "../../api/types.ts";
import { countText, moneyText, numberText, shortNumber } from "../../format/money.ts";
import { hrefOf, query, setQuery } from "../../router/router.ts";
import { download } from "../../ui/blobs.ts";
import { Button } from "../../ui/button.tsx";
import { SelectField, TextField } from "../../ui/field.tsx";
import { PageHead } from "../../ui/page.tsx";
import { Empty, ErrorBox, Loading } from "../../ui/states.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { minuteClock } from "../../ui/time.tsx";
import { Chart } from "./chart.tsx";
import {
  costOf,
  csvOf,
  type Grouping,
  groupIdOf,
  groupingOf,
  groupsOf,
  type SortColumn,
  seriesOf,
  sorted,
  sumOf,
  tokenSeries,
  type UsageGroup,
} from "./usage-groups.ts";
import { daysOf, lastDays, rangeLengths, rangeOf, rangeText, type UsageRange } from "./usage-range.ts";

/** Rows that the server tells at most. */
const mostRows = 10_000;
const groupings = [
  ["model", "model"],
  ["key", "key"],
] as const;

function Filters({ range, by }: { readonly range: UsageRange; readonly by: Grouping }) {
  const isShown = (days: number) => {
    const { from, to } = lastDays(days, minuteClock.value);
    return from === range.from && to === range.to;
  };
  return (
    <form class="filters usage-filters" aria-label="Days and grouping" onSubmit={(event) => event.preventDefault()}>
      <fieldset class="ranges">
        <legend class="field-label">UTC days</legend>
        {rangeLengths.map((days) => (
          <button
            key={days}
            type="button"
            class="button"
            aria-pressed={isShown(days)}
            title={`Last ${days} days`}
            onClick={() => setQuery({ ...lastDays(days, minuteClock.value) }, { push: true })}
          >
            {days} d
          </button>
        ))}
      </fieldset>
      <TextField label="From" type="date" value={range.from} onInput={(from) => setQuery({ from, to: range.to })} />
      <TextField label="To" type="date" value={range.to} onInput={(to) => setQuery({ from: range.from, to })} />
      <SelectField label="By" value={by} options={groupings} onChange={(next) => setQuery({ by: next, only: undefined })} />
    </form>
  );
}

function Groups(props: { readonly groups: readonly UsageGroup[]; readonly by: Grouping; readonly isLoading: boolean }) {
  const { groups, by, isLoading } = props;
  const [order, setOrder] = useState<{ column: SortColumn; isAscending: boolean }>({ column: "cost", isAscending: false });
  const total = groups.reduce((sum, { cost }) => sum + cost, 0);
  const sort = (column: SortColumn) =>
    ({
      direction: order.column !== column ? "none" : order.isAscending ? "ascending" : "descending",
      onSort: () => setOrder({ column, isAscending: order.column === column ? !order.isAscending : column === "name" }),
    }) as const;
  const numberColumn = (name: "requests" | "tokensIn" | "tokensOut", label: string): Column<UsageGroup> => ({
    name,
    label,
    isNumber: true,
    cell: (group) => numberText(group[name]),
    sort: sort(name),
  });
  const columns: readonly Column<UsageGroup>[] = [
    { name: "name", label: by === "model" ? "Model" : "Key", cell: ({ name }) => <bdi>{name}</bdi>, sort: sort("name") },
    numberColumn("requests", "Requests"),
    numberColumn("tokensIn", "Tokens in"),
    numberColumn("tokensOut", "Tokens out"),
    { name: "cost", label: "Cost", isNumber: true, cell: costOf, sort: sort("cost") },
    {
      name: "share",
      label: "Share of cost",
      isNumber: true,
      cell: ({ cost }) => (total > 0 ? `${((cost / total) * 100).toFixed(1)} %` : "–"),
    },
  ];
  return (
    <Table
      caption={`Usage by ${by}`}
      columns={columns}
      rows={sorted(groups, order.column, order.isAscending)}
      rowKey={({ id }) => id}
      rowHref={({ id }) => hrefOf("usage", { ...Object.fromEntries(query.value), only: id })}
      isLoading={isLoading}
    />
  );
}

function Charts({ rows, range, by }: { readonly rows: readonly UsageRow[]; readonly range: UsageRange; readonly by: Grouping }) {
  const days = daysOf(
    range,
    rows.map(({ day }) => day),
  );
  return (
    <div class="charts">
      {rows.some(({ cost_usd }) => cost_usd > 0) ? (
        <Chart
          title="Cost per day"
          days={days}
          series={seriesOf(rows, days, by, ({ cost_usd }) => cost_usd)}
          valueText={(value) => moneyText(value)}
          axisText={(value) => moneyText(value)}
        />
      ) : (
        <section class="card chart" aria-label="Cost per day">
          <h2>Cost per day</h2>
          <p>{costOf(sumOf(rows))}</p>
        </section>
      )}
      <Chart
        title="Tokens per day"
        days={days}
        series={tokenSeries(rows, days)}
        valueText={numberText}
        axisText={shortNumber}
        areWhole
      />
      <Chart
        title="Requests per day"
        days={days}
        series={seriesOf(rows, days, by, ({ requests }) => requests)}
        valueText={numberText}
        axisText={shortNumber}
        areWhole
      />
    </div>
  );
}

/** The cost and use of models: by day, and by model or key. */
export default function UsagePage() {
  const chosen = groupingOf(query.value);
  const range = rangeOf(query.value, minuteClock.value);
  const only = query.value.get("only");
  const { data, error, reload, isLoading } = useResource(`usage:${range.from}:${range.to}:${chosen}`, async (signal) => {
    const group_by = ["day", chosen === "key" ? "credential" : "model"] as const;
    const { usage } = await api("GET /v1/usage", { signal, query: { start: range.from, end: range.to, group_by } });
    return { usage, by: chosen };
  });
  // The former report stays, with its own grouping, until the next one is here.
  const by = data?.by ?? chosen;
  const all: readonly UsageRow[] = data?.usage ?? [];
  const groups = groupsOf(all, by);
  const shown = groups.find(({ id }) => id === only);
  const rows = shown === undefined ? all : all.filter((row) => groupIdOf(row, by) === shown.id);
  const sum = sumOf(rows);
  const sentence = [
    costOf(sum),
    countText(sum.tokensIn + sum.tokensOut, "token"),
    countText(sum.requests, "request"),
    `${rangeText(range)} (UTC days)`,
  ].join(" · ");
  return (
    <>
      <PageHead title="Usage" sentence={data === undefined ? undefined : sentence}>
        {rows.length > 0 && <Button onClick={() => download("usage.csv", csvOf(rows, by), "text/csv")}>Download CSV</Button>}
      </PageHead>
      <Filters range={range} by={chosen} />
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="usage" />}
      {data !== undefined && all.length === 0 && (
        <Empty>
          <p>No model was called in these days.</p>
        </Empty>
      )}
      {all.length >= mostRows && <p class="notice">Shown up to 10,000 rows: choose fewer days.</p>}
      {shown !== undefined && (
        <p class="row">
          <span>
            Only <bdi>{shown.name}</bdi>
          </span>
          <Button small href={hrefOf("usage", { ...Object.fromEntries(query.value), only: undefined })}>
            Show all
          </Button>
        </p>
      )}
      {all.length > 0 && (
        <div class="usage">
          <Charts rows={rows} range={range} by={by} />
          <Groups groups={groups} by={by} isLoading={isLoading} />
        </div>
      )}
    </>
  );
}
