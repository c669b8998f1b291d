/** Events that a run reports. The same objects are the lines of `--json`. */
import type { Split } from "../dataset/dataset.ts";
import type { TableGrowth } from "../dataset/growth.ts";
import type { UnknownShare } from "../dataset/unknown_values.ts";
import type { LineAccount } from "../dataset/read_account.ts";
import type { BatchKind } from "../layout/layout.ts";
import type { DeadUnits } from "./dead_units.ts";
import type { Decile } from "./deciles.ts";
import type { Metrics } from "./metrics.ts";

/** Progress of a long stage. */
export interface StageEvent {
  /** Kind of event. */
  readonly event: "stage";
  /** Name of the stage. */
  readonly stage: string;
  /** Completed share of the stage, 0 to 1. */
  readonly fraction: number;
}

/** Something that the user should know; never an error. */
export interface NoteEvent {
  /** Kind of event. */
  readonly event: "note";
  /** The text. */
  readonly text: string;
}

/** A dataset is ready. */
export interface DatasetEvent {
  /** Kind of event. */
  readonly event: "dataset";
  /** Its directory. */
  readonly directory: string;
  /** Samples of each split. */
  readonly samples: Readonly<Record<Split, number>>;
  /** Number of embedding tables. */
  readonly tables: number;
  /** Number of rows of all tables. */
  readonly rows: number;
  /** Malformed rows that were skipped. */
  readonly skippedRows: number;
  /** Negatives that were drawn, and those that could not be since their users chose all items; null without any. */
  readonly negatives: { readonly drawn: number; readonly missing: number } | null;
  /** Share of the test split's lookups with a value that has no row of its own, by table; {} without samples. */
  readonly unknownShare: UnknownShare;
  /** The same of the validation split. */
  readonly validationUnknownShare: UnknownShare;
  /** Known and new rows of each table, if it was encoded with the dictionary of a model (`train --from`); else null. */
  readonly growth: readonly TableGrowth[] | null;
  /** What became of the lines of its text files; null if there were none. */
  readonly lines: LineAccount | null;
  /** Seconds that it took. */
  readonly seconds: number;
}

/** New rows are encoded with the dictionary of a run, for predictions. */
export interface EncodedEvent {
  /** Kind of event. */
  readonly event: "encoded";
  /** Rows that were encoded. */
  readonly samples: number;
  /** Malformed rows that were skipped. */
  readonly skippedRows: number;
  /** Share of the lookups with a value that has no row of its own, by table. */
  readonly unknownShare: UnknownShare;
}

/** A profile is ready. */
export interface ProfileEvent {
  /** Kind of event. */
  readonly event: "profile";
  /** Percent of the train samples that were logged; 100 for exact counts. */
  readonly sampleRate: number;
  /**
   * Minimum share of its table's accesses that makes a row hot; null if all rows are hot, or none. The rest of the
   * budget is filled with the most frequent rows below the threshold.
   */
  readonly threshold: number | null;
  /** Number of hot rows. */
  readonly hotRows: number;
  /** Bytes of the hot rows with their optimizer state. */
  readonly hotBytes: number;
  /** Bytes of the rows that reach the threshold, by exact counts. */
  readonly hotBytesExact: number;
  /** The same, estimated from the log. */
  readonly hotBytesEstimate: { readonly low: number; readonly value: number; readonly high: number };
  /** Share of the train split's lookups that are of hot rows, 0 to 1. */
  readonly hotLookupShare: number;
  /** The embedding tables: number of rows and of hot rows, and whether every row is hot. */
  readonly tables: readonly { name: string; rows: number; hotRows: number; whole: boolean }[];
  /** Seconds that it took. */
  readonly seconds: number;
}

/** A layout is ready. */
export interface LayoutEvent {
  /** Kind of event. */
  readonly event: "layout";
  /** Samples of the train split. */
  readonly samples: number;
  /** Samples whose lookups are all hot. */
  readonly hotSamples: number;
  /** Their share, 0 to 1. */
  readonly hotSampleShare: number;
  /** Batches of hot samples. */
  readonly hotBatches: number;
  /** Batches of the others. */
  readonly coldBatches: number;
  /** Bytes of all batches. */
  readonly bytes: number;
  /** Seconds that it took. */
  readonly seconds: number;
}

/** Training progress. */
export interface ProgressEvent {
  /** Kind of event. */
  readonly event: "progress";
  /** Complete epochs. */
  readonly epoch: number;
  /** Epochs of the whole run; absent from runs of version 0.1. */
  readonly epochs?: number | undefined;
  /** Steps since the beginning of the run. */
  readonly step: number;
  /** Steps of the whole run. */
  readonly steps: number;
  /** Mean loss in nats of the samples since the last progress event. */
  readonly loss: number;
  /** Training samples per second, without the time of evaluations and checkpoints. */
  readonly samplesPerSecond: number;
  /** Share of hot samples since the last progress event, 0 to 1. */
  readonly hotShare: number;
  /** Learning rate of the last step. */
  readonly learningRate: number;
  /** The scheduler's rate, in percent. */
  readonly rate: number;
  /** Rows moved between memory and disk since the last progress event; only of a run with rows on disk. */
  readonly moved?: Pick<MovedRows, "rows" | "fetched" | "read" | "waitSeconds"> | undefined;
}

/** A split was scored. */
export interface EvaluationEvent extends Metrics {
  /** Kind of event. */
  readonly event: "evaluation";
  /** The split. */
  readonly split: Split;
  /** Complete epochs. */
  readonly epoch: number;
  /** Steps since the beginning of the run. */
  readonly step: number;
  /** Units of hidden layers that are 0 for every sample of the split. */
  readonly deadUnits: DeadUnits;
  /** Predicted probabilities beside observed clicks; empty in the metrics of runs before version 0.2. */
  readonly deciles: readonly Decile[];
  /** From evaluate: share of the split's lookups with a value that has no row of its own, by table. */
  readonly unknownShare?: UnknownShare;
}

/**
 * Time, samples and bytes of the steps of a run, over all processes that trained it; steps that a kill undid do not
 * count.
 */
export interface Spent {
  /** Samples trained on. */
  readonly samples: number;
  /** Seconds of training steps alone. */
  readonly seconds: number;
  /** Bytes copied from hosts to devices. */
  readonly hostToDeviceBytes: number;
  /** Bytes copied from devices to hosts. */
  readonly deviceToHostBytes: number;
  /** Bytes that devices received from those of other ranks. */
  readonly bytesFromRanks: number;
}

/**
 * A checkpoint begins: the totals until then. A resumed run continues them, because checkpoints do not contain them.
 */
export interface SpentEvent extends Spent {
  /** Kind of event. */
  readonly event: "spent";
  /** The step of the checkpoint. */
  readonly step: number;
}

/** A checkpoint is complete. */
export interface CheckpointEvent {
  /** Kind of event. */
  readonly event: "checkpoint";
  /** The step of the checkpoint. */
  readonly step: number;
  /** Its size in bytes. */
  readonly bytes: number;
  /** Seconds from the snapshot until the checkpoint was on disk; training continued meanwhile. */
  readonly seconds: number;
  /** Seconds for which training stopped for it. */
  readonly pauseSeconds: number;
}

/** The time of each phase of a step, measured after training. */
export interface PhasesEvent {
  /** Kind of event. */
  readonly event: "phases";
  /** Kind of the measured batches. */
  readonly kind: "hot" | "cold";
  /** Samples of a measured step. */
  readonly samples: number;
  /** Mean seconds of each phase in one step on one rank, in the order in which they first ran. */
  readonly phases: readonly { readonly name: string; readonly seconds: number }[];
}

/** Rows and bytes moved between memory and disk by the process that ended a run with rows on disk. */
export interface MovedRows {
  /** Rows that fit in memory. */
  readonly slots: number;
  /** Distinct rows of the batches that were trained on. */
  readonly rows: number;
  /** Of those, the rows that were not in memory. */
  readonly fetched: number;
  /** Rows that were used for the first time, so that their initial value was computed. */
  readonly computed: number;
  /** Rows read from the disk, evaluations included. */
  readonly read: number;
  /** Rows written to the disk. */
  readonly written: number;
  /** Reads of the disk, each of one page or of several adjacent ones. */
  readonly reads: number;
  /** Bytes read. */
  readonly bytesRead: number;
  /** Bytes written. */
  readonly bytesWritten: number;
  /** Bytes of the rows on disk at the end. */
  readonly diskBytes: number;
  /** Seconds that training waited for rows. */
  readonly waitSeconds: number;
}

/** Metrics of a checkpoint's model on the split of a result. */
export interface CheckpointMetrics extends Metrics {
  /** The step whose state the checkpoint holds. */
  readonly step: number;
}

/**
 * A run has ended. Metrics are those of the best checkpoint, which evaluate, predict and export use. Other figures
 * cover the whole run, over all processes that trained it, unless stated otherwise. A run that is resumed after its end
 * reports the result that it recorded.
 */
export interface ResultEvent extends Metrics, Spent {
  /** Kind of event. */
  readonly event: "result";
  /** The command. */
  readonly command: "train";
  /** Placement of rows and MLPs. */
  readonly mode: string;
  /** What computed. */
  readonly device: string;
  /** Number of ranks. */
  readonly ranks: number;
  /** Training steps of the run. */
  readonly steps: number;
  /** The split of the metrics. */
  readonly split: Split;
  /** The metrics again, with their step; those of the last step if nothing was saved. */
  readonly best: CheckpointMetrics;
  /** Metrics of the last step. */
  readonly last: CheckpointMetrics;
  /** Training samples per second, without the time of evaluations and checkpoints. */
  readonly samplesPerSecond: number;
  /** Share of the train split's samples whose lookups are all hot, 0 to 1. */
  readonly hotSampleShare: number;
  /** Hot rows. */
  readonly hotRows: number;
  /** Bytes of the hot rows with their optimizer state. */
  readonly hotBytes: number;
  /**
   * Mean launches of a step on a device, by kind of batch, in the process that ended the run; a replayed graph is one
   * launch. 0 on the CPU and for kinds without steps.
   */
  readonly launchesPerStep: Readonly<Record<BatchKind, number>>;
  /** Maximum resident memory of that process, in bytes. */
  readonly peakRssBytes: number;
  /** Rows and bytes moved between memory and disk; only of a run with rows on disk. */
  readonly moved?: MovedRows | undefined;
  /** Directory of the run. */
  readonly run: string;
  /**
   * Why training ended: all epochs done, the target AUC reached, no improvement for too long, or `onEvaluation` of the
   * caller returned "stop".
   */
  readonly ended: "epochs" | "target" | "patience" | "stopped";
}

/** Training diverged; only in the metrics of the run, since the command ends with the same as an error. */
export interface DivergedEvent {
  /** Kind of event. */
  readonly event: "diverged";
  /** What was not a number, and where. */
  readonly reason: string;
}

/** The demonstration has ended. */
export interface DemoEvent {
  /** Kind of event. */
  readonly event: "demo";
  /** AUC on the test split of the model that generated the labels: on average no model can exceed it. */
  readonly bestAuc: number;
  /** Whether the last checkpoints of training in memory and with rows on disk are equal; null if none were compared. */
  readonly equal: boolean | null;
}

/** Any event of a run. */
export type RunEvent =
  | StageEvent
  | NoteEvent
  | DatasetEvent
  | EncodedEvent
  | ProfileEvent
  | LayoutEvent
  | ProgressEvent
  | EvaluationEvent
  | SpentEvent
  | CheckpointEvent
  | PhasesEvent
  | ResultEvent
  | DemoEvent;

/** What every event of training a run has. */
export interface OfRun {
  /** Directory of the run. */
  readonly run?: string | undefined;
}

/** A function that receives the events of a run. */
export type Report = (event: RunEvent & OfRun) => void;

/**
 * Called with the metrics of every evaluation during training on the split that selects the best checkpoint. Returning
 * "stop" ends the run as if it were complete.
 */
export type OnEvaluation = (metrics: CheckpointMetrics) => "stop" | undefined | void;
