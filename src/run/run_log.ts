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
const metrics = {
  auc: figure,
  prAuc: figure.default(NaN),
  logloss: figure,
  accuracy: figure,
  calibration: figure,
  ne: figure,
  weighted: z.literal(true).optional(),
  byGroup: z.object({ gauc: figure, logloss: figure, groups: count, oneClass: count }).optional(),
};
const checkpointMetrics = z.object({ step: count, ...metrics });
const spent = {
  samples: count,
  seconds: count,
  hostToDeviceBytes: count,
  deviceToHostBytes: count,
  bytesFromRanks: count,
};
const line = z.discriminatedUnion("event", [
  z.object({
    event: z.literal("progress"),
    epoch: count,
    epochs: count.optional(),
    step: count,
    steps: count,
    loss: figure,
    samplesPerSecond: figure,
    hotShare: figure,
    learningRate: count,
    rate: count,
    moved: z.object({ rows: count, fetched: count, read: count, waitSeconds: count }).optional(),
  }),
  z.object({
    event: z.literal("evaluation"),
    split: z.enum(SPLITS),
    epoch: count,
    step: count,
    ...metrics,
    deadUnits: z.record(z.string(), z.array(count)).default({}), // since 0.2
    deciles: z.array(z.object({ share: count, predicted: count, observed: count })).default([]), // since 0.2
  }),
  z.object({
    event: z.literal("phases"),
    kind: z.enum(["hot", "cold"]),
    samples: count,
    phases: z.array(z.object({ name: z.string(), seconds: count })),
  }),
  z.object({
    event: z.literal("layout"),
    samples: count,
    hotSamples: count,
    hotSampleShare: count,
    hotBatches: count,
    coldBatches: count,
    bytes: count,
    seconds: count,
  }),
  z.object({
    event: z.literal("result"),
    command: z.literal("train"),
    mode: z.string(),
    device: z.string(),
    ranks: count,
    steps: count,
    samplesPerSecond: figure,
    hotSampleShare: figure,
    hotRows: count,
    hotBytes: count,
    launchesPerStep: z.object({ cold: count, hot: count }),
    peakRssBytes: count,
    moved: z.object({
      ...{ slots: count, rows: count, fetched: count, computed: count, read: count, written: count },
      ...{ reads: count.default(0), bytesRead: count, bytesWritten: count, diskBytes: count, waitSeconds: count },
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
