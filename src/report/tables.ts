/** Results as tables for the terminal. */
import Table from "cli-table3";
import type { ProfileBody } from "../profile/profile.ts";
import type { Diagnosis } from "../doctor.ts";
import type { EvaluationEvent, ResultEvent } from "../train/events.ts";
import { bytes, count, percent, seconds } from "./format.ts";

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

function table(head: string[], rows: string[][]): string {
  const lines = new Table({ ...PLAIN, head, colAligns: head.map((_, i) => i === 0 ? "left" : "right") });
  lines.push(...rows);
  return lines.toString();
}

/** A profile: its embedding tables, then what each doubling of the budget covers. */
export function profileTables(profile: ProfileBody): string {
  const tables = table(
    ["table", "rows", "hot rows", "lookups hot", "estimate", "exact"],
    profile.tables.map(({ name, rows, hotRows, whole, lookupShare, estimate, exact }) => [
      name,
      count(rows),
      whole ? "all" : count(hotRows),
      percent(lookupShare),
      whole ? "" : `${count(estimate.value)} (${count(estimate.low)} to ${count(estimate.high)})`,
      whole ? "" : count(exact),
    ]),
  );
  const coverage = table(
    ["budget", "hot bytes", "lookups hot", "samples hot"],
    profile.coverage.map(({ budget, hotBytes, lookupShare, sampleShare }) => [
      bytes(budget),
      bytes(hotBytes),
      percent(lookupShare),
      percent(sampleShare),
    ]),
  );
  return `${tables}\n\n${coverage}`;
}

/** Results of runs side by side. */
export function resultTable(results: readonly ResultEvent[]): string {
  return table(
    ["mode", "samples/s", "training", "AUC", "logloss", "accuracy", "samples hot", "hot rows"],
    results.map((result) => [
      result.mode,
      count(result.samplesPerSecond),
      seconds(result.seconds),
      result.auc.toFixed(4),
      result.logloss.toFixed(4),
      percent(result.accuracy),
      percent(result.hotSampleShare),
      `${count(result.hotRows)} (${bytes(result.hotBytes)})`,
    ]),
  );
}

/** What a machine offers, and what to do about what is missing. */
export function diagnosisText({ findings, copyGbPerSecond, cores, kaggleLimit }: Diagnosis): string {
  const lines = findings.map(({ name, found, detail }) => `${found ? "ok     " : "missing"}  ${name}: ${detail}`);
  return [
    ...lines,
    "",
    `Copying takes place at ${
      copyGbPerSecond.toFixed(0)
    } GB/s on one core. The matrix products of the kaggle model alone`,
    `would allow ${count(kaggleLimit)} samples/s on ${cores} cores.`,
  ].join("\n");
}

/** Metrics of splits. */
export function evaluationTable(events: readonly EvaluationEvent[]): string {
  return table(
    ["split", "AUC", "logloss", "accuracy", "calibration", "NE"],
    events.map(({ split, auc, logloss, accuracy, calibration, ne }) => [
      split,
      auc.toFixed(4),
      logloss.toFixed(4),
      percent(accuracy),
      calibration.toFixed(3),
      ne.toFixed(4),
    ]),
  );
}
