import UPlot from "uplot";
import { type Series, stacked, tickStep } from "./usage-groups.ts";

/** A drawn chart. */
export interface DrawnChart {
  resize(width: number): void;
  remove(): void;
}

/** Draws bars for each day, stacked, with the colours that the style sheet has now. */
export function drawChart(
  box: HTMLElement,
  labels: readonly string[],
  series: readonly Series[],
  valueText: (value: number) => string,
  areWhole: boolean,
  height: number,
): DrawnChart {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const font = `12px ${colour("--font")}`;
  const axis = { stroke: colour("--ink-2"), font, ticks: { show: false } };
  const sums = stacked(series);
  const step = tickStep(Math.max(0, ...(sums.at(-1) ?? [])), areWhole);
  const bars = UPlot.paths.bars?.({ size: [0.8, 32] });
  // The tallest bars are behind, so that each shorter one leaves only its own part of them to see.
  const behind = series.map((_, i) => series.length - 1 - i);
  // A part of nothing has no bar: it would be the one below it again.
  const heightsOf = (i: number) => (sums[i] ?? []).map((sum, day) => (series[i]?.values[day] === 0 ? null : sum));
  const chart = new UPlot(
    {
      width: Math.max(1, box.clientWidth),
      height,
      legend: { show: false },
      cursor: { show: false },
      padding: [8, 8, 0, 0],
      scales: { x: { time: false, range: [-0.6, labels.length - 0.4] }, y: { range: [0, step * 3.1] } },
      axes: [
        {
          ...axis,
          grid: { show: false },
          size: 28,
          space: 64,
          incrs: [1, 2, 7, 14, 30, 60, 120],
          values: (_chart, splits) => splits.map((at) => labels[at] ?? ""),
        },
        {
          ...axis,
          size: 84,
          grid: { stroke: colour("--line"), width: 1 },
          splits: () => [0, step, step * 2, step * 3],
          values: (_chart, splits) => splits.map(valueText),
        },
      ],
      series: [
        {},
        ...behind.map((i) => ({
          fill: colour(`--chart-${i + 1}`),
          stroke: colour("--bg"),
          width: 1,
          points: { show: false },
          ...(bars === undefined ? {} : { paths: bars }),
        })),
      ],
    },
    [labels.map((_, i) => i), ...behind.map((i) => heightsOf(i))],
    box,
  );
  return {
    resize: (width) => chart.setSize({ width: Math.max(1, width), height }),
    remove: () => chart.destroy(),
  };
}
