import { useEffect, useRef, useState } from "preact/hooks";
import { theme } from "../../preferences/preferences.ts";
import { Button } from "../../ui/button.tsx";
import type { DrawnChart } from "./draw-chart.ts";
import type { Series } from "./usage-groups.ts";
import { shortDay } from "./usage-range.ts";

const height = 160;

/** Draws again when the colours change. */
function useDrawing(days: readonly string[], series: readonly Series[], axisText: (value: number) => string, areWhole: boolean) {
  const box = useRef<HTMLDivElement>(null);
  const chosen = theme.value;
  const [isDark, setDark] = useState(() => matchMedia("(prefers-color-scheme: dark)").matches);
  useEffect(() => {
    const media = matchMedia("(prefers-color-scheme: dark)");
    const change = () => setDark(media.matches);
    media.addEventListener("change", change);
    return () => media.removeEventListener("change", change);
  }, []);
  const looks = JSON.stringify([days, series, chosen, isDark]);
  useEffect(() => {
    let isLeft = false;
    let drawn: DrawnChart | undefined;
    const sizes = new ResizeObserver(() => drawn?.resize(box.current?.clientWidth ?? 1));
    void import("./draw-chart.ts").then(({ drawChart }) => {
      if (isLeft || box.current === null) return;
      drawn = drawChart(box.current, days.map(shortDay), series, axisText, areWhole, height);
      sizes.observe(box.current);
    });
    return () => {
      isLeft = true;
      sizes.disconnect();
      drawn?.remove();
    };
  }, [looks]);
  return box;
}

/** Stacked bars for each day, with the same data as a table on demand. */
export function Chart(props: {
  readonly title: string;
  readonly days: readonly string[];
  readonly series: readonly Series[];
  readonly valueText: (value: number) => string;
  readonly axisText: (value: number) => string;
  /** The axis has whole numbers only. */
  readonly areWhole?: boolean;
}) {
  const { title, days, series, valueText, axisText, areWhole = false } = props;
  const box = useDrawing(days, series, axisText, areWhole);
  const [isTable, setTable] = useState(false);
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const parts = series.map(({ name, values }) => `${name} ${valueText(sum(values))}`).join(", ");
  return (
    <section class="card chart" aria-label={title}>
      <div class="chart-head">
        <h2>{title}</h2>
        <Button small kind="quiet" expanded={isTable} label={`${title}: show as table`} onClick={() => setTable(!isTable)}>
          Show as table
        </Button>
      </div>
      <div ref={box} class="chart-box" role="img" aria-label={`${title}, ${days.length} UTC days: ${parts}.`} />
      <ul class="chart-keys" aria-hidden="true">
        {series.map(({ name }, i) => (
          <li key={`${i} ${name}`}>
            <span class={`chart-key chart-key-${i + 1}`} />
            <bdi>{name}</bdi>
          </li>
        ))}
      </ul>
      {isTable && (
        <div class="table-box chart-table" tabIndex={0} role="region" aria-label={`${title}, as table`}>
          <table class="table">
            <caption class="visually-hidden">{title}</caption>
            <thead>
              <tr>
                <th scope="col">UTC day</th>
                {series.map(({ name }, i) => (
                  <th key={`${i} ${name}`} scope="col" class="number">
                    <bdi>{name}</bdi>
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {days.map((day, at) => (
                <tr key={day}>
                  <th scope="row">{day}</th>
                  {series.map(({ name, values }, i) => (
                    <td key={`${i} ${name}`} class="number">
                      {valueText(values[at] ?? 0)}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
