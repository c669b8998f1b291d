/** Runs as tables for the terminal: a list of them, and a few side by side. */
import { bytes, count, localTime, percent, seconds, wrapped } from "../format.ts";
import { differingOptions, type RunSummary, type UnreadableRun } from "../run/run_list.ts";
import type { CacheItem } from "../run/clean.ts";
import { table } from "./tables.ts";

/** Maximum width of a run's name in a list. */
const NAME_WIDTH = 30;

/** The one option whose value is an object. */
type Budget = NonNullable<RunSummary["config"]["memory"]>;

function budgetText(budget: Budget): string {
  return "share" in budget ? percent(budget.share) : bytes(budget.bytes);
}

/** A value of a configuration as text. */
function optionText(value: unknown): string {
  if (value === null) return "none";
  if (Array.isArray(value)) return value.join("-");
  return typeof value === "object" ? budgetText(value as Budget) : String(value);
}

/** A metric with four decimals; empty if there is none. */
function figure(value: number | undefined): string {
  return value === undefined || Number.isNaN(value) ? "" : value.toFixed(4);
}

/** When a run began; empty if that was not recorded. */
function startOf(started: string | null): string {
  return started === null ? "" : localTime(started);
}

/** The beginning of a text is left out if it is longer than `width`. */
function shortened(text: string, width: number): string {
  return text.length <= width ? text : `…${text.slice(1 - width)}`;
}

/** Parts joined by commas, in lines of at most `width` characters where the parts allow it. */
function filled(parts: readonly string[], width: number): string[] {
  const lines: string[] = [];
  for (const [i, part] of parts.entries()) {
    const text = i < parts.length - 1 ? `${part},` : part;
    const longer = `${lines.at(-1)} ${text}`;
    if (lines.length > 0 && longer.length <= width) lines[lines.length - 1] = longer;
    else lines.push(text);
  }
  return lines;
}

/**
 * Text of a list of runs: two lines or more for each, the second with its beginning, its data and the options in which the
 * runs differ, then why it diverged. With `width`, names are shortened and lines filled so that they fit.
 */
export function runList(runs: readonly (RunSummary | UnreadableRun)[], width?: number): string {
  const readable = runs.filter((run): run is RunSummary => !("error" in run));
  const unreadable = runs.filter((run): run is UnreadableRun => "error" in run);
  const keys = differingOptions(readable.map(({ config }) => config));
  const [head, ...lines] = table(
    ["run", "state", "val. AUC", "test AUC", "time", "size"],
    readable.map(({ run, state, validation, test, seconds: spent, bytes: size }) => [
      width === undefined ? run : shortened(run, NAME_WIDTH),
      state,
      figure(validation?.auc),
      figure(test?.auc),
      spent === null ? "" : seconds(spent),
      bytes(size),
    ]),
  ).split("\n").map((line) => line.trimEnd());
  const room = width === undefined ? Infinity : width - 2;
  const about = readable.map(({ started, data, config, diverged }) => {
    const options = keys.map((key) => `${key} ${optionText(config[key])}`);
    const parts = [...(started === null ? [] : [localTime(started)]), data, ...options];
    const why = diverged === null ? [] : wrapped(`diverged: ${diverged}`, room).split("\n");
    return [...filled(parts, room), ...why].map((line) => `  ${line}`);
  });
  return [
    ...(readable.length === 0 ? [] : [head]),
    ...lines.flatMap((line, i) => [line, ...about[i]]),
    ...unreadable.map(({ error }) => error),
  ].join("\n");
}

/** Names and values of the options in which runs differ, one value a run. */
export function optionRows(runs: readonly RunSummary[]): string[][] {
  const configs = runs.map(({ config }) => config);
  return differingOptions(configs).map((key) => [key, ...configs.map((config) => optionText(config[key]))]);
}

/** Names and values of the metrics of runs, one value a run; rows without any value are left out. */
export function metricRows(runs: readonly RunSummary[]): string[][] {
  const row = (name: string, value: (run: RunSummary) => string | undefined) => [
    name,
    ...runs.map((run) => value(run) ?? ""),
  ];
  const known = (value: number | null, text: (value: number) => string) => value === null ? "" : text(value);
  const split = (name: "validation" | "test") => [
    row(`${name} AUC`, (run) => figure(run[name]?.auc)),
    row(`${name} GAUC`, (run) => figure(run[name]?.byGroup?.gauc)),
    row(`${name} PR-AUC`, (run) => figure(run[name]?.prAuc)),
    row(`${name} logloss`, (run) => figure(run[name]?.logloss)),
    row(`${name} NE`, (run) => figure(run[name]?.ne)),
    row(`${name} accuracy`, (run) => run[name] === null ? "" : percent(run[name]!.accuracy)),
    row(`${name} calibration`, (run) => figure(run[name]?.calibration)),
  ];
  return [
    row("state", ({ state }) => state),
    row("started", ({ started }) => startOf(started)),
    row("data", ({ data }) => data),
    ...split("validation"),
    ...split("test"),
    row("best step", ({ validation, test }) => known((test ?? validation)?.step ?? null, count)),
    row("steps", ({ steps }) => count(steps)),
    row("training", ({ seconds: spent }) => known(spent, seconds)),
    row("samples/s", ({ samplesPerSecond }) => known(samplesPerSecond, count)),
    row("peak memory", ({ peakRssBytes }) => known(peakRssBytes, bytes)),
    row("size", ({ bytes: size }) => bytes(size)),
  ].filter(([, ...values]) => values.some((value) => value !== ""));
}

/** Text of runs side by side: options in which they differ, then metrics. With `width`, names are shortened to fit. */
export function comparisonText(runs: readonly RunSummary[], width?: number): string {
  const room = width === undefined ? Infinity : Math.max(8, Math.floor((width - 24) / runs.length) - 1);
  const names = runs.map(({ run }) => shortened(run, room));
  const options = optionRows(runs);
  const part = (title: string, rows: string[][]) =>
    table(
      [title, ...names],
      rows.map(([name, ...values]) => [
        name,
        ...values.map((value) => shortened(value, room)),
      ]),
    );
  return [
    options.length === 0 ? "The runs have equal options." : part("option", options),
    part("metric", metricRows(runs)),
  ].map((text) => text.split("\n").map((line) => line.trimEnd()).join("\n")).join("\n\n");
}

/** Notes about runs whose metrics do not compare. */
export function comparisonNotes(runs: readonly RunSummary[]): string[] {
  const others = runs.filter(({ datasetId }) => datasetId !== runs[0].datasetId).map(({ run }) => run);
  if (others.length === 0) return [];
  return [`${others.join(", ")}: on other data than ${runs[0].run}, so metrics are of different samples`];
}

/** Text of what is in caches: what is not needed first, then what is, with the reason. */
export function cacheList(items: readonly CacheItem[]): string {
  const rows = [...items].sort((a, b) => Number(a.kept !== null) - Number(b.kept !== null) || b.bytes - a.bytes)
    .map((
      { path, kind, bytes: size, written, kept },
    ) => [kind, bytes(size), localTime(written), kept ?? "not needed", path]);
  return columns(["what", "size", "written", "", "path"], rows);
}

/** Columns of text, all flush left. */
function columns(head: string[], rows: string[][]): string {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => row[i].length)));
  return all.map((row) => row.map((cell, i) => cell.padEnd(widths[i])).join("  ").trimEnd()).join("\n");
}
