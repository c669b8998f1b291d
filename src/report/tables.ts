/** Results as tables for the terminal. */
import Table from "cli-table3";
import type { ProfileBody } from "../profile/profile.ts";
import type { Diagnosis } from "../doctor.ts";
import type { TrainingPlan } from "../plan/plan_training.ts";
import type { DemoResult } from "../run/demo.ts";
import type { Split } from "../dataset/dataset.ts";
import type { Metrics } from "../events/metrics.ts";
import type { CheckpointMetrics, EvaluationEvent, ResultEvent } from "../events/events.ts";
import { bytes, count, percent, seconds, unknownText, wrapped } from "../format.ts";

const PLAIN = {
  chars: {
    "top": "",
    "top-mid": "",
    "top-left": "",
    "top-right": "",
    "bottom": "",
    "bottom-mid": "",
    "bottom-left": "",
    "bottom-right": "",
    "left": "",
    "left-mid": "",
    "mid": "",
    "mid-mid": "",
    "right": "",
    "right-mid": "",
    "middle": " ",
  },
  style: { "padding-left": 0, "padding-right": 1, head: [], border: [] },
};

/** Columns of text, the first one flush left and the others flush right. */
export function table(head: string[], rows: string[][]): string {
  const lines = new Table({ ...PLAIN, head, colAligns: head.map((_, i) => i === 0 ? "left" : "right") });
  lines.push(...rows);
  return lines.toString().split("\n").map((line) => line.trimEnd()).join("\n");
}

/**
 * What the demonstration's results mean: how good they could be, what less memory cost, and why hot rows make nothing faster
 * without a GPU.
 */
export function demoText({ results: [plain, compared], bestAuc, equal }: DemoResult): string {
  const bound = `Upper bound: the model that generated the labels scores AUC ${bestAuc.toFixed(4)} here.`;
  if (compared?.moved !== undefined) {
    const { slots, computed, read, written, diskBytes } = compared.moved;
    const checkpoints = equal === null
      ? ""
      : ` The checkpoints of both runs are ${equal ? "equal, bit for bit" : "NOT EQUAL"}.`;
    return `${bound}
In memory: ${count(plain.samplesPerSecond)} samples/s. With room for ${count(slots)} rows, all others on the disk: ${
      count(compared.samplesPerSecond)
    } samples/s, ${percent(compared.samplesPerSecond / plain.samplesPerSecond)} of that; ${
      count(computed)
    } rows were computed at first use, ${count(read)} read and ${count(written)} written (${
      bytes(diskBytes)
    } on the disk).
${checkpoints.trim()}`.trimEnd();
  }
  if (compared === undefined || compared.device !== plain.device) return bound;
  return `${bound}
No GPU was used: mode ${compared.mode} keeps hot rows where the compute is, and on a CPU all rows are there already, so there is little left to gain. FAE is meant for GPUs. The AUCs differ because batches contain other samples, in another order.`;
}

/** Head and rows of a table of what each budget covers. */
export function coverageTable(coverage: ProfileBody["coverage"]): [head: string[], rows: string[][]] {
  return [
    ["budget", "hot bytes", "lookups hot", "samples hot"],
    coverage.map(({ budget, hotBytes, lookupShare, sampleShare }) => [
      bytes(budget),
      bytes(hotBytes),
      percent(lookupShare),
      percent(sampleShare),
    ]),
  ];
}

/** Text of a profile: embedding tables, coverage of each budget, and a summary. */
export function profileTables(profile: ProfileBody): string {
  const { rows, hotRows, hotBytes, hotMemory, hotLookupShare, hotSampleShare, sampleRate } = profile;
  const tables = table(
    ["table", "rows", "hot rows", "lookups hot", "at the threshold: estimated", "exact"],
    profile.tables.map(({ name, rows, hotRows, whole, lookupShare, estimate, exact }) => [
      name,
      count(rows),
      whole ? "all" : count(hotRows),
      percent(lookupShare),
      whole ? "" : `${count(estimate.value)} (${count(estimate.low)} to ${count(estimate.high)})`,
      whole ? "" : count(exact),
    ]),
  );
  const coverage = table(...coverageTable(profile.coverage));
  const summary =
    `${count(hotRows)} of ${count(rows)} rows are hot, chosen by ${
      sampleRate === 100 ? "all counts" : `${sampleRate} % of the samples`
    }: ${bytes(hotBytes)} of the budget of ${bytes(hotMemory)}. They receive ${
      percent(hotLookupShare)
    } of the lookups, ` +
    `and about ${percent(hotSampleShare)} of the samples are all hot.`;
  return `${tables}\n\n${coverage}\n\n${summary}`;
}

/** Text of a plan: tables, coverage of the budget, memory of each mode, and advice for modes that do not fit. */
export function planText(plan: TrainingPlan): string {
  const { tables, placements, machine, hotSampleShare, advice } = plan;
  const total = (key: "bytes" | "stateBytes") => tables.reduce((sum, planned) => sum + planned[key], 0);
  const samples = hotSampleShare === null ? "" : ` and about ${percent(hotSampleShare)} of the samples`;
  const rows = tables.length === 0 ? [] : [
    table(
      ["table", "rows", "weights", "state", "hot rows", "lookups hot"],
      [
        ...tables.map(({ name, rows, bytes: weights, stateBytes, hotRows, lookupShare }) => [
          name,
          count(rows),
          bytes(weights),
          bytes(stateBytes),
          count(hotRows),
          percent(lookupShare),
        ]),
        ["all", count(plan.rows), bytes(total("bytes")), bytes(total("stateBytes")), count(plan.hotRows), ""],
      ],
    ),
    "",
    `A budget of ${bytes(plan.hotMemory)} is expected to make ${
      percent(plan.hotLookupShare)
    } of the lookups${samples} hot.`,
    "",
  ];
  const budgets = tables.length === 0 ? [] : [
    "",
    "Mode cpu within less memory, other rows on a disk (an estimate):",
    "",
    table(
      ["--memory", "host memory", "disk at most", "rows of a batch fetched", "samples/s"],
      plan.budgets.map(({ share, host, disk, fetchShare, readShare, samplesPerSecond }) => [
        `${Math.round(100 * share)}%`,
        bytes(host),
        disk === 0 ? "" : bytes(disk),
        `${percent(fetchShare)}${readShare === null || share === 1 ? "" : ` (${percent(readShare)} read)`}`,
        samplesPerSecond === null ? "" : count(samplesPerSecond),
      ]),
    ),
  ];
  return [
    `${plan.source}: ${tables.length} tables, ${count(plan.rows)} rows`,
    "",
    ...rows,
    table(
      ["mode", "host memory", "device memory", "fits this machine's host memory"],
      placements.map(({ mode, onDevice, host, device, fits }) => [
        onDevice ? `${mode} with a device` : `${mode} on the CPU`,
        bytes(host),
        onDevice ? bytes(device) : "",
        fits ? "yes" : "no",
      ]),
    ),
    "",
    `Available memory: ${bytes(machine.available)} of ${bytes(machine.total)}.`,
    ...timesText(plan),
    ...budgets,
    "",
    ...advice,
  ].join("\n");
}

function timesText({ on, placements, hotSampleShare }: TrainingPlan): string[] {
  if (on === null) return [];
  const { machine, times } = on;
  const deviceBytes = (mode: string) => placements.find((plan) => plan.onDevice && plan.mode === mode)!.device;
  const ms = (step: { readonly total: number } | null) => step === null ? "" : (1000 * step.total).toPrecision(3);
  return [
    "",
    `On ${machine.name}, by the peaks of its data sheet; without reading and syncs (docs/time_model.md):`,
    "",
    table(
      ["mode", "ms a hot step", "a cold step", "of it host", "copies", "samples/s", "fits on device"],
      times.map(({ mode, onDevice, ranks, hot, cold, samplesPerSecond }) => [
        `${mode} on ${count(ranks)} ${onDevice ? "device" : "core"}${ranks === 1 ? "" : "s"}`,
        ms(mode === "gpu" ? cold : hot),
        mode === "gpu" ? "" : ms(cold),
        mode === "gpu" ? "" : (1000 * cold.host).toPrecision(3),
        onDevice ? (1000 * cold.copies).toPrecision(3) : "",
        samplesPerSecond === null ? "" : count(Math.round(samplesPerSecond)),
        !onDevice ? "" : deviceBytes(mode) <= 1e9 * machine.deviceGb ? "yes" : "no",
      ]),
    ),
    ...(hotSampleShare === null ? ["", "The share of hot samples is unknown for this data."] : []),
  ];
}

const RANKING_EXPLAINED =
  "AUC: share of pairs of a positive and a negative sample that the model orders correctly; 0.5 is chance. logloss: mean " +
  "cross-entropy in nats.";
const PROBABILITY_EXPLAINED =
  "PR-AUC: average precision, for rare positives; chance is the click rate. calibration: mean prediction divided by click rate; 1 is calibrated. NE (normalised entropy): logloss relative to always " +
  "predicting the click rate; below 1 is better.";

/** What weights of samples change, for tables and reports. */
export const WEIGHTS_EXPLAINED = "Samples have weights: the loss and all metrics count each sample with its weight.";
const GROUPS_EXPLAINED =
  "GAUC: mean AUC of the groups, weighted by their samples. logloss by group: mean of the groups, each counted once.";

/**
 * Results of runs side by side, in 80 columns: metrics of the best checkpoint, then those of the last one if it is
 * another; below, hot rows and work with devices. Text is wrapped to `columns`.
 */
export function resultTable(results: readonly ResultEvent[], columns = Infinity): string {
  const grouped = results.some(({ byGroup }) => byGroup !== undefined);
  const metrics = ({ auc, logloss, accuracy, byGroup }: CheckpointMetrics) => [
    auc.toFixed(4),
    logloss.toFixed(4),
    percent(accuracy),
    ...(grouped ? [byGroup?.gauc.toFixed(4) ?? ""] : []),
  ];
  const rows = results.flatMap((result) => {
    const { best, last } = result;
    const isOne = best.step === last.step;
    return [
      [
        placementOf(result),
        count(result.samplesPerSecond),
        seconds(result.seconds),
        `${isOne ? "" : "best "}${count(best.step)}`,
        ...metrics(best),
      ],
      ...(isOne ? [] : [["", "", "", `last ${count(last.step)}`, ...metrics(last)]]),
    ];
  });
  const splits = [...new Set(results.map(({ split }) => split))].join(", ");
  const head = ["mode", "samples/s", "training", "step", "AUC", "logloss", "accuracy", ...(grouped ? ["GAUC"] : [])];
  const text = [
    ...results.flatMap(workOf),
    `Figures of the ${splits} split. evaluate, predict and export use the best checkpoint.`,
    RANKING_EXPLAINED,
    ...countedLines(results),
  ].join("\n");
  return `${table(head, rows)}\n\n${wrapped(text, columns)}`;
}

function placementOf({ mode, moved }: ResultEvent): string {
  return moved === undefined ? mode : `${mode}+disk`;
}

/** Lines about hot rows and a device, if a run had them. */
function workOf(result: ResultEvent): string[] {
  const { mode, hotRows, hotBytes, hotSampleShare, hostToDeviceBytes, deviceToHostBytes, launchesPerStep } = result;
  const { hot, cold } = launchesPerStep;
  return [
    ...(hotRows === 0
      ? []
      : [`${mode}: ${count(hotRows)} hot rows (${bytes(hotBytes)}), ${percent(hotSampleShare)} of the samples hot.`]),
    ...(hostToDeviceBytes === 0 ? [] : [
      `${mode}: ${bytes(hostToDeviceBytes)} copied to the device, ${
        bytes(deviceToHostBytes)
      } to the host; launches a ` +
      `hot step ${hot.toFixed(1)}, a cold one ${cold.toFixed(1)}.`,
    ]),
  ];
}

/** The text of a finding without its indented lines, which list all attempts. */
function shortened(detail: string): string {
  return detail.replace(": none of these could be opened", "").split("\n").filter((line) => !/^ {2}/.test(line)).join(
    "\n",
  );
}

/** Text of a diagnosis: what is available, what is optional and absent, and the expected speed. */
export function diagnosisText({ findings, copyGbPerSecond, cores, kaggleLimit, kaggleSpeed }: Diagnosis): string {
  const width = Math.max(...findings.map(({ name }) => name.length));
  const indent = "\n" + " ".repeat("optional".length + width + 4);
  const lines = findings.map(({ name, found, detail }) =>
    `${found ? "ok      " : "optional"}  ${name.padEnd(width)}  ${shortened(detail).replaceAll("\n", indent)}`
  );
  const gpu = findings.some(({ name, found }) => /^GPU \d+$/.test(name) && found);
  return [
    ...lines,
    "",
    "What is optional was not found. Training works without it; most of it is faster, or more choice.",
    ...(gpu ? [] : ["Without an NVIDIA GPU the CPU computes, and CUDA is not needed. --json lists all attempts."]),
    `One core copies ${copyGbPerSecond.toFixed(0)} GB/s. Expect about ${
      count(kaggleSpeed)
    } samples/s of the kaggle model ` +
    `at batch 2,048 on ${cores} cores; its matrix products alone would allow ${count(kaggleLimit)}.`,
  ].join("\n");
}

/** Names of the columns of `metricCells`. */
export function metricNames(events: readonly EvaluationEvent[]): string[] {
  const names = ["AUC", "PR-AUC", "logloss", "accuracy", "calibration", "NE"];
  return events.some(({ byGroup }) => byGroup !== undefined) ? [...names, "GAUC", "logloss by group"] : names;
}

/** Cells of a split's metrics. */
export function metricCells({ auc, prAuc, logloss, accuracy, calibration, ne, byGroup }: EvaluationEvent): string[] {
  return [
    auc.toFixed(4),
    prAuc.toFixed(4),
    logloss.toFixed(4),
    percent(accuracy),
    calibration.toFixed(3),
    ne.toFixed(4),
    ...(byGroup === undefined ? [] : [byGroup.gauc.toFixed(4), byGroup.logloss.toFixed(4)]),
  ];
}

/** What the metrics count differently: the weights of samples, and groups; empty without both. */
function countedLines(
  events: readonly (Pick<Metrics, "weighted" | "byGroup"> & { readonly split: Split })[],
): string[] {
  const weighted = events.some(({ weighted }) => weighted) ? [WEIGHTS_EXPLAINED] : [];
  const lines = events.flatMap(({ split, byGroup }) =>
    byGroup === undefined ? [] : [
      `The ${split} split has ${count(byGroup.groups)} groups; ${
        count(byGroup.oneClass)
      } with labels of one class are ` +
      "left out of the GAUC",
    ]
  );
  return [...weighted, ...(lines.length === 0 ? [] : [GROUPS_EXPLAINED, ...lines])];
}

/** Metrics of splits; text is wrapped to `columns`. */
export function evaluationTable(events: readonly EvaluationEvent[], columns = Infinity): string {
  const metrics = table(["split", ...metricNames(events)], events.map((event) => [event.split, ...metricCells(event)]));
  const unknown = events.map(({ split, unknownShare = {} }) => `The ${split} split has ${unknownText(unknownShare)}`);
  const text = [RANKING_EXPLAINED, PROBABILITY_EXPLAINED, ...countedLines(events), "", ...unknown].join("\n");
  return `${metrics}\n\n${wrapped(text, columns)}`;
}
