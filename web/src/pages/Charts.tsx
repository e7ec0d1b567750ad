// Depth, throughput, latency and money of the newest runs, by uPlot.

import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import UPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import { plainAmount, type Unit } from "@/amount";
import type { Run } from "@/api/gateway";
import { useApp } from "@/app";
import { hasEnded, useUnit } from "@/data";
import { texts } from "@/texts";
import { Card, Empty, Failure, Skeleton } from "@/ui";

const t = texts.operator.charts;

export interface Series {
  title: string;
  names: string[];
  /** Unix seconds, then one list for each name. */
  data: number[][];
  /** Whether a value holds until the next one. */
  isStepped?: boolean;
  /** Whether values are counts, between which nothing is. */
  isCount?: boolean;
}

/** Distances of an axis' marks where only whole numbers have a meaning. */
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500];

const seconds = (at: string) => Date.parse(at) / 1000;

/** What the runs say of the service; times in their order. */
export function seriesOf(runs: Run[], unit: Unit): Series[] {
  const ended = runs.filter(hasEnded).sort((a, b) => seconds(a.updatedAt) - seconds(b.updatedAt));

  // A run adds one when it is asked for, and takes one away when it has ended.
  const steps = runs.flatMap((run) => [
    [seconds(run.createdAt), 1] as const,
    ...(hasEnded(run) ? [[seconds(run.updatedAt), -1] as const] : []),
  ]);
  steps.sort(([a], [b]) => a - b);
  let depth = 0;
  const depths = steps.map(([at, change]) => {
    depth += change;
    return [at, depth] as const;
  });

  const minutes = new Map<number, number>();
  for (const run of ended) {
    const minute = Math.floor(seconds(run.updatedAt) / 60) * 60;
    minutes.set(minute, (minutes.get(minute) ?? 0) + 1);
  }

  const paid = ended.filter((run) => run.receipt);
  const coins = (stroops: string | undefined) => Number(plainAmount(BigInt(stroops ?? "0"), unit));
  return [
    {
      title: t.depth,
      names: [t.depth],
      data: [depths.map(([at]) => at), depths.map(([, n]) => n)],
      isStepped: true,
      isCount: true,
    },
    {
      title: t.throughput,
      names: [t.throughput],
      data: [[...minutes.keys()], [...minutes.values()]],
      isCount: true,
    },
    {
      title: t.latency,
      names: [t.latency],
      data: [
        ended.map((run) => seconds(run.updatedAt)),
        ended.map((run) => (Date.parse(run.updatedAt) - Date.parse(run.createdAt)) / 1000),
      ],
    },
    {
      title: t.fees(unit.name),
      names: [t.charge, t.fee],
      data: [
        paid.map((run) => seconds(run.updatedAt)),
        paid.map((run) => coins(run.receipt?.actualCharge)),
        paid.map((run) => coins(run.receipt?.runnerFee)),
      ],
    },
  ];
}

export function Charts() {
  const { gateway } = useApp();
  const runs = useQuery({ queryKey: ["operator", "charts"], queryFn: () => gateway.runs(500) });
  const unit = useUnit();
  if (runs.isPending || !unit) return <Skeleton lines={6} />;
  if (runs.error) return <Failure error={runs.error} onRetry={() => runs.refetch()} />;
  if (runs.data.length === 0) return <Empty title={t.empty} />;
  return (
    <div className="grid">
      {seriesOf(runs.data, unit).map((series) => (
        <div className="span-6" key={series.title}>
          <Card title={series.title} about={t.about}>
            <Chart series={series} />
            <Numbers series={series} />
          </Card>
        </div>
      ))}
    </div>
  );
}

function Chart({ series }: { series: Series }) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const style = getComputedStyle(element);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--muted"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { stroke: colour("--line"), width: 1 },
    };
    const strokes = [colour("--accent"), colour("--warn")];
    const chart = new UPlot(
      {
        width: element.clientWidth,
        height: 200,
        axes: [axis, { ...axis, ...(series.isCount && { incrs: WHOLE }) }],
        scales: { y: { range: (_chart, _least, most) => [0, most > 0 ? most * 1.1 : 1] } },
        // Names alone: the values are in the table below.
        legend: { show: series.names.length > 1, live: false },
        series: [
          { label: t.time },
          ...series.names.map((label, index) => ({
            label,
            stroke: strokes[index] ?? colour("--ink"),
            width: 2,
            ...(series.isStepped && { paths: UPlot.paths.stepped!({ align: 1 }) }),
            points: { show: series.data[0]!.length < 60 },
          })),
        ],
      },
      series.data as UPlot.AlignedData,
      element,
    );
    const resize = new ResizeObserver(() =>
      chart.setSize({ width: element.clientWidth, height: 200 }),
    );
    resize.observe(element);
    return () => {
      resize.disconnect();
      chart.destroy();
    };
  }, [series]);
  return <div className="chart" ref={place} aria-hidden="true" />;
}

/** For readers of screens, and for exact numbers. */
function Numbers({ series }: { series: Series }) {
  const [times = [], ...values] = series.data;
  const first = Math.max(0, times.length - 20);
  return (
    <details className="disclosure">
      <summary>{t.table}</summary>
      <div className="table-scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">{t.time}</th>
              {series.names.map((name) => (
                <th key={name} scope="col" className="number">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {times.slice(first).map((at, index) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: two runs may end at the same moment
              <tr key={index}>
                <td>{new Date(at * 1000).toLocaleTimeString("en")}</td>
                {values.map((list, column) => (
                  <td key={series.names[column]} className="number">
                    {list[first + index]?.toLocaleString("en", { maximumSignificantDigits: 15 })}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}
