/**
 * The report of several runs: their options, their metrics, their learning curves in one chart, and if some of them
 * stored rows on disk, their speed by the memory for rows.
 */
import * as Plot from "@observablehq/plot";
import { count } from "../../format.ts";
import { readRunLog, type RunLog } from "../../run/run_log.ts";
import type { RunSummary } from "../../run/run_list.ts";
import { comparisonNotes, metricRows, optionRows } from "../run_tables.ts";
import { drawChart, drawSteps, FRAME } from "./draw.ts";
import { escape, htmlTable, type Section, writePage } from "./page.ts";
import { thinned } from "./run_report.ts";

/** Colours of lines, by run; after the last one they repeat with dashes. */
const COLOURS = ["hot", "cold", "third", "ink", "muted"];

/** One point of a learning curve. */
interface Point {
  /** Index of the run. */
  readonly run: number;
  readonly step: number;
  readonly value: number;
}

/** Writes the comparison of runs as one HTML file. Throws HotsetError if it cannot be written or a log not be read. */
export async function writeComparison(runs: readonly RunSummary[], file: string): Promise<void> {
  const logs = runs.map(({ run }) => readRunLog(run));
  const losses = logs.flatMap(({ progress }, run) =>
    thinned(progress).map(({ step, loss }): Point => ({ run, step, value: loss }))
  );
  const evaluated = (["validation", "test"] as const).find((split) =>
    logs.some(({ evaluations }) => evaluations.some((event) => event.split === split))
  );
  const aucs = logs.flatMap(({ evaluations }, run) =>
    evaluations.filter(({ split, auc }) => split === evaluated && Number.isFinite(auc))
      .map(({ step, auc }): Point => ({ run, step, value: auc }))
  );
  const names = runs.map(({ run }) => run);
  const options = optionRows(runs);
  const notes = comparisonNotes(runs).map((text) => `${text}.`).join(" ");
  writePage(file, {
    title: `Comparison of ${runs.length} runs`,
    subtitle: escape([...names].join(", ")),
    tiles: [],
    generated: false,
    sections: [
      {
        title: "Options",
        text: options.length === 0 ? "All options are equal." : "The options in which the runs differ.",
        body: options.length === 0 ? "" : htmlTable(["option", ...names], options),
      },
      {
        title: "Metrics",
        text: escape(`Of each run's best checkpoint. ${notes}`),
        body: htmlTable(["metric", ...names], metricRows(runs)),
      },
      await curves("Training loss", "Mean since the previous point.", names, losses),
      ...(evaluated === undefined ? [] : [await curves("AUC", `Of the ${evaluated} split.`, names, aucs)]),
      ...await speedSections(names, logs),
    ],
  });
}

/** The colour of a run, in all charts. */
const colour = ({ run }: Pick<Point, "run">) => `var(--${COLOURS[run % COLOURS.length]})`;

function legendOf(names: readonly string[]): string {
  const key = names.map((name, run) => `<span><i style="background: ${colour({ run })}"></i>${escape(name)}</span>`);
  return `<p class="legend">${key.join("")}</p>`;
}

async function curves(
  title: string,
  text: string,
  names: readonly string[],
  points: readonly Point[],
): Promise<Section> {
  const last = Math.max(1, ...points.map(({ step }) => step));
  const marks = names.flatMap((_, run) => {
    const own = points.filter((point) => point.run === run);
    const dash = run < COLOURS.length ? {} : { strokeDasharray: "5 3" };
    return [
      Plot.line(own, { x: "step", y: "value", stroke: colour({ run }), strokeWidth: 2, ...dash }),
      ...(own.length <= 20 ? [Plot.dot(own, { x: "step", y: "value", fill: colour({ run }), r: 3 })] : []),
    ];
  });
  const chart = await drawSteps(`${title} over steps`, last, { ticks: 5, zero: false, nice: true }, marks);
  return { title, text, body: `${legendOf(names)}${chart}` };
}

/** Speed by the rows in memory of the runs that have ended; nothing if none of them stored rows on disk. */
async function speedSections(names: readonly string[], logs: readonly RunLog[]): Promise<Section[]> {
  const ended = logs.flatMap(({ result }, run) =>
    result === undefined ? [] : [{ run, speed: result.samplesPerSecond, rows: result.moved?.slots }]
  );
  const onDisk = ended.filter(({ rows }) => rows !== undefined);
  if (onDisk.length === 0) return [];
  const rows = onDisk.map(({ rows }) => rows!);
  const chart = await drawChart("Speed by rows in memory", (_, narrow) => ({
    ...FRAME,
    height: narrow ? 220 : 260,
    x: {
      ...{ type: "log", domain: [Math.min(...rows) / 1.3, Math.max(...rows) * 1.3], ticks: [...new Set(rows)] },
      ...{ tickFormat: count, label: "rows in memory →", labelOffset: 34 },
    },
    y: { label: "samples/s", grid: true, ticks: 5, zero: true },
    marks: [
      Plot.ruleY(ended.filter(({ rows }) => rows === undefined), {
        ...{ y: "speed", stroke: colour, strokeWidth: 2, strokeDasharray: "5 3" },
      }),
      Plot.dot(onDisk, { x: "rows", y: "speed", fill: colour, r: 5 }),
    ],
  }));
  return [{
    title: "Speed by memory",
    text: "Samples/s in training, by the number of rows that fit in memory. Dashed: runs with no rows on disk.",
    body: `${legendOf(names)}${chart}`,
  }];
}
