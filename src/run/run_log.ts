/** Reads the metrics of a run, for reports. */
import { join } from "node:path";
import { z } from "zod";
import { firstIssue } from "../storage/artifact.ts";
import { SPLITS } from "../dataset/dataset.ts";
import { HotsetError, messageOf } from "../errors.ts";
import type {
  EvaluationEvent,
  LayoutEvent,
  PhasesEvent,
  ProgressEvent,
  ResultEvent,
  SpentEvent,
} from "../events/events.ts";
import { METRICS_FILE } from "./run_metrics.ts";

/** The events of a run, in the order of its steps. */
export interface RunLog {
  readonly progress: readonly ProgressEvent[];
  readonly evaluations: readonly EvaluationEvent[];
  readonly phases: readonly PhasesEvent[];
  readonly layout: LayoutEvent | undefined;
  readonly spent: readonly SpentEvent[];
  /** Undefined while the run has not ended. */
  readonly result: ResultEvent | undefined;
  /** Why it diverged; undefined if it did not, or if it was resumed since. */
  readonly diverged: string | undefined;
}

/** JSON writes NaN as null. */
const figure = z.number().nullable().transform((value) => value ?? NaN);
const count = z.number().nonnegative();
/** Fields that are counts. */
const counts = <N extends string>(...names: N[]) =>
  Object.fromEntries(names.map((name) => [name, count])) as Record<N, typeof count>;
const metrics = {
  auc: figure,
  prAuc: figure.default(NaN),
  logloss: figure,
  accuracy: figure,
  calibration: figure,
  ne: figure,
  weighted: z.literal(true).optional(),
  byGroup: z.object({ gauc: figure, logloss: figure, ...counts("groups", "oneClass") }).optional(),
};
const checkpointMetrics = z.object({ step: count, ...metrics });
const spent = counts("samples", "seconds", "hostToDeviceBytes", "deviceToHostBytes", "bytesFromRanks");
const line = z.discriminatedUnion("event", [
  z.object({
    event: z.literal("progress"),
    ...counts("epoch", "step", "steps", "learningRate", "rate"),
    epochs: count.optional(),
    loss: figure,
    samplesPerSecond: figure,
    hotShare: figure,
    moved: z.object(counts("rows", "fetched", "read", "waitSeconds")).optional(),
  }),
  z.object({
    event: z.literal("evaluation"),
    split: z.enum(SPLITS),
    ...counts("epoch", "step"),
    ...metrics,
    deadUnits: z.record(z.string(), z.array(count)).default({}), // since 0.2
    deciles: z.array(z.object(counts("share", "predicted", "observed"))).default([]), // since 0.2
  }),
  z.object({
    event: z.literal("phases"),
    kind: z.enum(["hot", "cold"]),
    samples: count,
    phases: z.array(z.object({ name: z.string(), seconds: count })),
  }),
  z.object({
    event: z.literal("layout"),
    ...counts("samples", "hotSamples", "hotSampleShare", "hotBatches", "coldBatches", "bytes", "seconds"),
  }),
  z.object({
    event: z.literal("result"),
    command: z.literal("train"),
    mode: z.string(),
    device: z.string(),
    ...counts("ranks", "steps", "hotRows", "hotBytes", "peakRssBytes"),
    samplesPerSecond: figure,
    hotSampleShare: figure,
    launchesPerStep: z.object(counts("cold", "hot")),
    moved: z.object({
      ...counts("slots", "rows", "fetched", "computed", "read", "written"),
      ...counts("bytesRead", "bytesWritten", "diskBytes", "waitSeconds"),
      reads: count.default(0),
    }).optional(),
    run: z.string(),
    ended: z.enum(["epochs", "target", "patience", "stopped"]),
    split: z.enum(SPLITS).default("test"),
    best: checkpointMetrics.optional(),
    last: checkpointMetrics.optional(),
    ...spent,
    ...metrics,
  }),
  z.object({ event: z.literal("spent"), step: count, ...spent }),
  z.object({ event: z.literal("diverged"), reason: z.string() }),
  z.object({ event: z.literal("profile") }),
  z.object({ event: z.literal("checkpoint") }),
]);

/**
 * Reads a run's metrics. A run that was killed and resumed has some steps twice; the later ones count. Throws
 * HotsetError that names the line if the file is damaged.
 */
export function readRunLog(run: string): RunLog {
  const path = join(run, METRICS_FILE);
  const progress = new Map<number, ProgressEvent>();
  const evaluations = new Map<string, EvaluationEvent>();
  const phases = new Map<string, PhasesEvent>();
  const spent = new Map<number, SpentEvent>();
  let layout: LayoutEvent | undefined;
  let result: ResultEvent | undefined;
  let diverged: string | undefined;
  for (const event of readLines(path)) {
    diverged = event.event === "diverged" ? event.reason : undefined;
    if (event.event === "progress") progress.set(event.step, event);
    else if (event.event === "evaluation") evaluations.set(`${event.split} ${event.step}`, event);
    else if (event.event === "phases") phases.set(event.kind, event);
    else if (event.event === "spent") spent.set(event.step, event);
    else if (event.event === "layout") layout = event;
    else if (event.event === "result") result = { ...withCheckpoints(event), run }; // the run may have been moved
  }
  const byStep = <E extends { step: number }>(events: Iterable<E>) => [...events].sort((a, b) => a.step - b.step);
  return {
    progress: byStep(progress.values()),
    evaluations: byStep(evaluations.values()),
    phases: [...phases.values()],
    spent: byStep(spent.values()),
    layout,
    result,
    diverged,
  };
}

/** Runs of version 0.1 measured only their last checkpoint. */
function withCheckpoints(event: Extract<z.infer<typeof line>, { event: "result" }>): ResultEvent {
  const { auc, prAuc, logloss, accuracy, calibration, ne, weighted, byGroup, steps: step } = event;
  const measured = { step, auc, prAuc, logloss, accuracy, calibration, ne, weighted, byGroup };
  return { ...event, best: event.best ?? measured, last: event.last ?? measured };
}

function readLines(path: string): z.infer<typeof line>[] {
  let number = 0;
  try {
    const lines = Deno.readTextFileSync(path).split("\n");
    // A killed run may leave half a line at the end.
    const complete = lines.slice(0, -1);
    return complete.map((text) => {
      number++;
      const parsed = line.safeParse(JSON.parse(text));
      if (!parsed.success) throw new Error(firstIssue(parsed.error));
      return parsed.data;
    });
  } catch (error) {
    const where = number === 0 ? path : `${path} line ${number}`;
    throw new HotsetError(`Cannot read ${where}: ${messageOf(error)}`, { cause: error });
  }
}
