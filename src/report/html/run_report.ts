/** The report of a training run: how well the model learnt, how fast, and where the time went. */
import { basename } from "node:path";
import * as Plot from "@observablehq/plot";
import type { EvaluationEvent, LayoutEvent, MovedRows, PhasesEvent, ProgressEvent } from "../../events/events.ts";
import { readRunLog, type RunLog } from "../../run/run_log.ts";
import { cacheWith } from "../../run/run_cache.ts";
import { openData } from "../../run/run_data.ts";
import { readRun } from "../../run/run_record.ts";
import { ensureProfile } from "../../run/stages.ts";
import type { Dataset } from "../../dataset/dataset.ts";
import { growthOf } from "../../dataset/growth.ts";
import { bytes, count, localTime, percent, seconds } from "../../format.ts";
import { metricCells, metricNames, WEIGHTS_EXPLAINED } from "../tables.ts";
import { calibrationSection } from "./calibration.ts";
import { drawChart, drawSteps } from "./draw.ts";
import { details, escape, htmlTable, legend, type Page, type Section, writePage } from "./page.ts";
import { profileSections, wholePercent } from "./profile_report.ts";

/** More progress events than this are averaged in groups, so that curves stay readable and the file small. */
const MAX_POINTS = 400;

const BATCH_COLOURS = { hot: "var(--hot)", cold: "var(--cold)" } as const;

/**
 * Writes the report of a run as one HTML file. A run in progress is reported up to its last event. In mode fae the
 * report of its profile follows. Throws HotsetError if the directory is not a run, the run has no events yet, or its
 * dataset cannot be opened.
 */
export async function writeRunReport(directory: string, file: string, data?: string): Promise<void> {
  const { config } = readRun(directory);
  const log = readRunLog(directory);
  const dataset = await openData(directory, "report on", data);
  const profile = config.mode === "fae"
    ? (await ensureProfile(dataset, config, { cache: cacheWith(dataset.directory, directory) }, () => {})).body
    : undefined;
  const page = await runPage(directory, log, dataset);
  const ofProfile = profile === undefined ? [] : await profileSections(profile, dataset);
  const sections = [...await growthSections(dataset), ...ofProfile];
  writePage(file, { ...page, sections: [...page.sections, ...sections] });
}

/** The page about a run from its events; with its dataset, if that is at hand, also the upper bound of the AUC. */
export async function runPage(directory: string, log: RunLog, dataset: Dataset | undefined): Promise<Page> {
  const { config, started, data, dataset: recorded, datasetId } = readRun(directory);
  const of = dataset?.id === datasetId ? dataset : undefined;
  const bottom = of?.denseFeatures === 0 ? "no bottom MLP" : `bottom MLP ${config.bottom.join("-")}`;
  const model = `${bottom}, top MLP ${config.top.join("-")}, rows of ${config.dim} values`;
  const device = log.result === undefined ? "" : ` on ${log.result.device}`;
  return {
    title: `Training on ${data ?? basename(recorded)}`,
    subtitle: escape(
      `Run ${directory}${started === null ? "" : `, begun ${localTime(started)}`}. Mode ${config.mode}${device}: ` +
        `${model}, ${config.optimizer}, learning rate ${config.learningRate}, batches of ${count(config.batchSize)}, ` +
        `${config.epochs} epoch${config.epochs === 1 ? "" : "s"}, seed ${config.seed}.` +
        `${log.result === undefined ? " The run has not ended." : ""}`,
    ),
    tiles: tilesOf(log),
    generated: (of?.body.generated ?? null) !== null,
    sections: [
      ...await learningSections(log, of?.body.generated?.bestAuc),
      ...await calibrationSections(log),
      ...(log.layout === undefined ? [] : [await batchesSection(log.layout, log.progress)]),
      ...(log.progress.some(({ moved }) => moved !== undefined) ? [await cacheSection(log.progress)] : []),
      ...(log.phases.length === 0 ? [] : [await phasesSection(log.phases)]),
    ],
  };
}

function tilesOf({ result, progress, evaluations }: RunLog): Page["tiles"] {
  const scored = result ?? evaluations.at(-1);
  const trained = result ?? progress.at(-1);
  const last = result === undefined ? progress.at(-1) : undefined;
  return [
    ...(last === undefined ? [] : [
      { value: percent(last.step / last.steps), label: `step ${count(last.step)} of ${count(last.steps)}` },
      { value: last.loss.toFixed(4), label: "training loss" },
    ]),
    ...(scored === undefined ? [] : [
      { value: scored.auc.toFixed(4), label: "AUC" },
      { value: scored.logloss.toFixed(4), label: "logloss" },
      ...(scored.byGroup === undefined ? [] : [{ value: scored.byGroup.gauc.toFixed(4), label: "GAUC" }]),
    ]),
    ...(trained === undefined ? [] : [{ value: count(trained.samplesPerSecond), label: "samples/s in training" }]),
    ...(result === undefined ? [] : [
      { value: percent(result.hotSampleShare), label: "of the samples hot" },
      { value: seconds(result.seconds), label: `for ${count(result.steps)} steps` },
      { value: bytes(result.peakRssBytes), label: "peak memory" },
    ]),
    ...(result?.moved === undefined ? [] : movedTiles(result.moved)),
  ];
}

/** Calibration of the checkpoint that later commands use, or of the last evaluation of a run that has not ended. */
async function calibrationSections({ result, evaluations }: RunLog): Promise<Section[]> {
  const scored = result === undefined
    ? evaluations.at(-1)
    : evaluations.find(({ split, step }) => split === result.split && step === result.best.step);
  return scored === undefined || scored.deciles.length === 0 ? [] : [await calibrationSection(scored)];
}

/** How popularity moved since the model that the run began with, if its tables have grown. */
async function growthSections(dataset: Dataset): Promise<Section[]> {
  const growth = await growthOf(dataset);
  if (growth === undefined) return [];
  return [{
    title: "Known and new values",
    text: "The rows of the model that the run began with, those of them that its train split does not look up, those " +
      "that were dropped (--expire), the rows of new values, and the share of the lookups that new values have: how far " +
      "popularity moved since then.",
    body: htmlTable(
      ["table", "known rows", "not looked up", "dropped", "new rows", "lookups of new rows"],
      growth.map(({ table, knownRows, unseenRows, droppedRows, newRows, newShare }) => [
        ...[table, count(knownRows), count(unseenRows), count(droppedRows), count(newRows), percent(newShare)],
      ]),
    ),
  }];
}

/** Tiles of a run with rows on disk. */
function movedTiles({ rows, fetched, read, written, bytesRead, bytesWritten, waitSeconds }: MovedRows): Page["tiles"] {
  return [
    { value: percent(1 - fetched / Math.max(1, rows)), label: "of the batches' rows were in memory" },
    { value: count(read), label: `rows read from disk (${bytes(bytesRead)})` },
    { value: count(written), label: `rows written to disk (${bytes(bytesWritten)})` },
    { value: seconds(waitSeconds), label: "waited for rows" },
  ];
}

async function learningSections(
  log: RunLog,
  bestAuc: Readonly<Record<string, number>> | undefined,
): Promise<Section[]> {
  const { progress, evaluations } = log;
  const points = thinned(progress);
  const last = Math.max(1, progress.at(-1)?.step ?? 0, evaluations.at(-1)?.step ?? 0);
  const losses = await drawSteps("Loss over steps", last, { ticks: 5, zero: false }, [
    Plot.line(points, { x: "step", y: "loss", stroke: "var(--muted)", strokeWidth: 2 }),
    ...evaluationMarks(evaluations, "logloss"),
  ]);
  const sections: Section[] = [{
    title: "Loss",
    text: "Training loss (mean since the previous point) and logloss of each evaluation." +
      (evaluations.some(({ weighted }) => weighted) ? ` ${WEIGHTS_EXPLAINED}` : ""),
    body: legend({ muted: "training", ...splitColours(evaluations) }) + losses,
  }];
  if (evaluations.length > 0) sections.push(await aucSection(evaluations, bestAuc, last));
  const alternates = log.layout !== undefined && log.layout.hotBatches > 0 && log.layout.coldBatches > 0;
  const learningRates = new Set(progress.map(({ learningRate }) => learningRate));
  if (alternates) {
    const y = { domain: [0, 100], ticks: 4, tickFormat: (rate: number) => `${rate} %` };
    sections.push({
      title: "The scheduler's rate",
      text:
        "The share of an epoch's batches of one kind that runs before the switch to the other kind. It halves when " +
        "the held-out loss rises, and doubles when the loss fell four times in a row.",
      body: await drawSteps("The scheduler's rate over steps", last, y, [
        Plot.line(points, { x: "step", y: "rate", stroke: "var(--third)", strokeWidth: 2.5, curve: "step-before" }),
      ], 170),
    });
  }
  if (learningRates.size > 1) {
    sections.push({
      title: "Learning rate",
      text: "It rises over the warm-up steps and falls over the decay steps.",
      body: await drawSteps("Learning rate over steps", last, { ticks: 4, zero: true }, [
        Plot.line(points, { x: "step", y: "learningRate", stroke: "var(--third)", strokeWidth: 2.5 }),
      ], 150),
    });
  }
  return sections;
}

async function aucSection(
  evaluations: readonly EvaluationEvent[],
  bestAuc: Readonly<Record<string, number>> | undefined,
  last: number,
): Promise<Section> {
  const best = bestAuc?.[evaluations.at(-1)!.split];
  const chart = await drawSteps("AUC over steps", last, { ticks: 5, zero: false, nice: true }, [
    Plot.ruleY(best === undefined ? [] : [best], { stroke: "var(--ink)", strokeDasharray: "4 3" }),
    ...evaluationMarks(evaluations, "auc"),
  ]);
  return {
    title: "AUC",
    text: "Area under the ROC curve of each evaluated split." +
      (best === undefined ? "" : ` Dashed: upper bound, the model that generated the labels (${best.toFixed(4)}).`),
    body: legend(splitColours(evaluations)) + chart +
      details(
        "The numbers",
        htmlTable(
          ["step", "split", ...metricNames(evaluations)],
          evaluations.map((event) => [count(event.step), event.split, ...metricCells(event)]),
        ),
      ),
  };
}

const SPLIT_COLOURS = { train: "muted", validation: "cold", test: "hot" } as const;

function splitColours(evaluations: readonly EvaluationEvent[]): Record<string, string> {
  return Object.fromEntries(evaluations.map(({ split }) => [SPLIT_COLOURS[split], split]));
}

function evaluationMarks(evaluations: readonly EvaluationEvent[], metric: "auc" | "logloss"): Plot.Markish[] {
  const scored = evaluations.filter((event) => Number.isFinite(event[metric]));
  const colour = ({ split }: EvaluationEvent) => `var(--${SPLIT_COLOURS[split]})`;
  return [
    Plot.line(scored, { x: "step", y: metric, z: "split", stroke: colour, strokeWidth: 2 }),
    Plot.dot(scored, {
      x: "step",
      y: metric,
      fill: colour,
      r: 4,
      title: (event: EvaluationEvent) => `${event.split} after step ${count(event.step)}: ${event[metric].toFixed(4)}`,
    }),
  ];
}

/** Consecutive events in at most MAX_POINTS groups. */
function inGroups(progress: readonly ProgressEvent[]): ProgressEvent[][] {
  const group = Math.ceil(progress.length / MAX_POINTS);
  const groups = Math.ceil(progress.length / Math.max(1, group));
  return Array.from({ length: groups }, (_, i) => progress.slice(i * group, (i + 1) * group));
}

/** Means of groups of events. */
export function thinned(progress: readonly ProgressEvent[]): ProgressEvent[] {
  return inGroups(progress).map((events) => ({
    ...events.at(-1)!,
    loss: events.reduce((sum, { loss }) => sum + loss, 0) / events.length,
  }));
}

/** Draws shares, 0 to 1, over the steps of a run. */
async function drawShares(
  label: string,
  progress: readonly ProgressEvent[],
  marks: Plot.Markish[],
  height: number,
): Promise<string> {
  const y = { domain: [0, 1], ticks: 4, tickFormat: wholePercent };
  return await drawSteps(label, progress.at(-1)?.step ?? 1, y, marks, height);
}

async function batchesSection(layout: LayoutEvent, progress: readonly ProgressEvent[]): Promise<Section> {
  const { hotBatches, coldBatches, hotSampleShare } = layout;
  const kinds = [{ kind: "hot", batches: hotBatches }, { kind: "cold", batches: coldBatches }]
    .filter(({ batches }) => batches > 0);
  const bar = await drawChart("Hot and cold batches of an epoch", () => ({
    height: 64,
    marginLeft: 4,
    marginRight: 4,
    x: { domain: [0, hotBatches + coldBatches], label: null, ticks: 5, tickFormat: count },
    marks: [
      Plot.barX(kinds, {
        x: "batches",
        fill: ({ kind }: typeof kinds[number]) => BATCH_COLOURS[kind as "hot" | "cold"],
        insetLeft: 1,
        title: ({ kind, batches }: typeof kinds[number]) => `${count(batches)} ${kind} batches`,
      }),
    ],
  }));
  const alternates = hotBatches > 0 && coldBatches > 0;
  const over = !alternates ? "" : await drawShares("Share of hot samples over steps", progress, [
    Plot.areaY(thinned(progress), {
      x: "step",
      y: "hotShare",
      fill: "var(--hot)",
      fillOpacity: 0.35,
      curve: "step-before",
    }),
    Plot.line(thinned(progress), { x: "step", y: "hotShare", stroke: "var(--hot)", curve: "step-before" }),
  ], 150);
  return {
    title: "Hot and cold batches",
    text: escape(
      `An epoch has ${count(hotBatches)} hot and ${count(coldBatches)} cold batches; ${
        percent(hotSampleShare)
      } of the ` +
        `samples are hot.${alternates ? " Below: the share of hot samples during training." : ""}`,
    ),
    body: legend({ hot: "hot batches", cold: "cold batches" }) + bar + over,
  };
}

/** Use of the cache of rows over the steps of a run with rows on disk. */
async function cacheSection(progress: readonly ProgressEvent[]): Promise<Section> {
  const points = inGroups(progress).flatMap((events) => {
    const sum = (name: "rows" | "fetched" | "read") => events.reduce((sum, { moved }) => sum + (moved?.[name] ?? 0), 0);
    const rows = sum("rows");
    if (rows === 0) return [];
    return [{ step: events.at(-1)!.step, inMemory: 1 - sum("fetched") / rows, read: Math.min(1, sum("read") / rows) }];
  });
  const marks = ([["inMemory", "hot"], ["read", "cold"]] as const).map(([y, colour]) =>
    Plot.line(points, { x: "step", y, stroke: `var(--${colour})`, strokeWidth: 2 })
  );
  return {
    title: "Rows in memory",
    text:
      "Shares of the rows of the batches that were in memory, and that were read from disk. The others were used for " +
      "the first time: their initial values were computed.",
    body: legend({ hot: "in memory", cold: "read from disk" }) +
      await drawShares("Rows in memory over steps", progress, marks, 170),
  };
}

async function phasesSection(events: readonly PhasesEvent[]): Promise<Section> {
  const bars = events.flatMap(({ kind, phases }) =>
    phases.map(({ name, seconds }) => ({ kind, name, ms: 1000 * seconds }))
  );
  const names = [...new Set(bars.map(({ name }) => name))];
  const total = ({ phases }: PhasesEvent) => 1000 * phases.reduce((sum, { seconds }) => sum + seconds, 0);
  const chart = await drawChart("Time of each phase of a step", () => ({
    height: names.length * (events.length > 1 ? 38 : 26) + 30,
    marginLeft: 96,
    marginRight: 64,
    marginTop: 6,
    x: { label: null, axis: null },
    fy: { domain: names, label: null, axis: "left", padding: 0.2, tickSize: 0 },
    y: { domain: events.map(({ kind }) => kind), axis: null, padding: 0.1 },
    marks: [
      Plot.barX(bars, {
        x: "ms",
        y: "kind",
        fy: "name",
        fill: ({ kind }: typeof bars[number]) => BATCH_COLOURS[kind],
        rx: 2,
      }),
      Plot.text(bars, {
        x: "ms",
        y: "kind",
        fy: "name",
        text: ({ ms }: typeof bars[number]) => `${ms.toFixed(ms < 0.1 ? 3 : 2)} ms`,
        textAnchor: "start",
        dx: 5,
      }),
    ],
  }));
  const totals = events.map((event) => `${total(event).toFixed(1)} ms for a ${event.kind} batch`).join(", ");
  return {
    title: "Phases of a step",
    text: escape(
      `Mean of the full steps measured after training on one rank, each operation timed by itself: ${totals}.`,
    ),
    body: legend(Object.fromEntries(events.map(({ kind }) => [kind, `${kind} batches`]))) + chart,
  };
}
