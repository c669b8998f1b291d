/** What a run reports while it goes on. The same objects are the lines of `--json`. */
import type { Split } from "../dataset/dataset.ts";
import type { UnknownShare } from "../dataset/unknown_values.ts";
import type { LineAccount } from "../dataset/read_account.ts";
import type { BatchKind } from "../layout/layout.ts";
import type { DeadUnits } from "./dead_units.ts";
import type { Metrics } from "./metrics.ts";

/** How far a long stage is. */
export interface StageEvent {
  /** Kind of event. */
  readonly event: "stage";
  /** Name of the stage. */
  readonly stage: string;
  /** 0 to 1. */
  readonly fraction: number;
}

/** Something a person should know; never an error. */
export interface NoteEvent {
  /** Kind of event. */
  readonly event: "note";
  /** The words. */
  readonly text: string;
}

/** A dataset is ready. */
export interface DatasetEvent {
  /** Kind of event. */
  readonly event: "dataset";
  /** Where it lies. */
  readonly directory: string;
  /** Samples. */
  readonly samples: Readonly<Record<Split, number>>;
  /** Embedding tables. */
  readonly tables: number;
  /** Rows of all tables. */
  readonly rows: number;
  /** Malformed rows that were left out. */
  readonly skippedRows: number;
  /** Of the test split: share of the lookups that met a value without a row of its own, by table; {} without samples. */
  readonly unknownShare: UnknownShare;
  /** The same of the validation split. */
  readonly validationUnknownShare: UnknownShare;
  /** What became of the lines of its text files; null if there were none. */
  readonly lines: LineAccount | null;
  /** Time it took. */
  readonly seconds: number;
}

/** New rows are encoded with the dictionary of a run, to be predicted. */
export interface EncodedEvent {
  /** Kind of event. */
  readonly event: "encoded";
  /** Rows. */
  readonly samples: number;
  /** Malformed rows that were left out. */
  readonly skippedRows: number;
  /** Share of the lookups that met a value without a row of its own, by table. */
  readonly unknownShare: UnknownShare;
}

/** A profile is ready. */
export interface ProfileEvent {
  /** Kind of event. */
  readonly event: "profile";
  /** Percent of the train samples that were logged; 100 for exact counts. */
  readonly sampleRate: number;
  /**
   * Share of its table's accesses from which on every row is hot; null where all are, or none. What the budget still
   * holds is filled with the most used rows below it.
   */
  readonly threshold: number | null;
  /** Hot rows. */
  readonly hotRows: number;
  /** Bytes of the hot rows with their optimizer state. */
  readonly hotBytes: number;
  /** Bytes of the rows that reach the threshold, by exact counts. */
  readonly hotBytesExact: number;
  /** The same, estimated from the log. */
  readonly hotBytesEstimate: { readonly low: number; readonly value: number; readonly high: number };
  /** Share of lookups that go to hot rows. */
  readonly hotLookupShare: number;
  /** Embedding tables. */
  readonly tables: readonly { name: string; rows: number; hotRows: number; whole: boolean }[];
  /** Time it took. */
  readonly seconds: number;
}

/** A layout is ready. */
export interface LayoutEvent {
  /** Kind of event. */
  readonly event: "layout";
  /** Samples. */
  readonly samples: number;
  /** Samples whose lookups are all hot. */
  readonly hotSamples: number;
  /** Their share. */
  readonly hotSampleShare: number;
  /** Batches of hot samples. */
  readonly hotBatches: number;
  /** Batches of the others. */
  readonly coldBatches: number;
  /** Bytes of all batches. */
  readonly bytes: number;
  /** Time it took. */
  readonly seconds: number;
}

/** Training goes on. */
export interface ProgressEvent {
  /** Kind of event. */
  readonly event: "progress";
  /** Epochs that are complete. */
  readonly epoch: number;
  /** Steps since the beginning of the run. */
  readonly step: number;
  /** Steps of the whole run. */
  readonly steps: number;
  /** Mean loss of the samples since the last progress event. */
  readonly loss: number;
  /** Samples trained on in a second of training. */
  readonly samplesPerSecond: number;
  /** Share of hot samples since the last progress event. */
  readonly hotShare: number;
  /** Learning rate of the last step. */
  readonly learningRate: number;
  /** The scheduler's rate, in percent. */
  readonly rate: number;
}

/** A split was scored. */
export interface EvaluationEvent extends Metrics {
  /** Kind of event. */
  readonly event: "evaluation";
  /** The split. */
  readonly split: Split;
  /** Epochs that are complete. */
  readonly epoch: number;
  /** Steps since the beginning of the run. */
  readonly step: number;
  /** Units of hidden layers that are 0 for every sample of the split. */
  readonly deadUnits: DeadUnits;
  /** From evaluate: share of the split's lookups that met a value without a row of its own, by table. */
  readonly unknownShare?: UnknownShare;
}

/** What the steps of a run have taken, over all processes that trained it; steps that a kill undid do not count. */
export interface Spent {
  /** Samples trained on. */
  readonly samples: number;
  /** Time spent in training steps alone. */
  readonly seconds: number;
  /** Bytes copied to the device. */
  readonly hostToDeviceBytes: number;
  /** Bytes copied from the device. */
  readonly deviceToHostBytes: number;
  /** Bytes that devices received from those of other ranks. */
  readonly bytesFromRanks: number;
}

/** A checkpoint begins: what was spent until then. A resumed run counts on from it, as checkpoints hold no such figures. */
export interface SpentEvent extends Spent {
  /** Kind of event. */
  readonly event: "spent";
  /** The step whose state the checkpoint holds. */
  readonly step: number;
}

/** A checkpoint is complete. */
export interface CheckpointEvent {
  /** Kind of event. */
  readonly event: "checkpoint";
  /** The step whose state it holds. */
  readonly step: number;
  /** Its bytes. */
  readonly bytes: number;
  /** From the snapshot until all of it was on the disk; training goes on meanwhile. */
  readonly seconds: number;
  /** How long training stood still for it. */
  readonly pauseSeconds: number;
}

/** Where the time of a step goes, measured after training. */
export interface PhasesEvent {
  /** Kind of event. */
  readonly event: "phases";
  /** Kind of the measured batches. */
  readonly kind: "hot" | "cold";
  /** Samples of a measured step. */
  readonly samples: number;
  /** Mean time of each phase in one step on one rank, in the order in which they first ran. */
  readonly phases: readonly { readonly name: string; readonly seconds: number }[];
}

/** What moved between memory and disk in the process that ended a run whose rows do not all lie in memory. */
export interface MovedRows {
  /** Rows that had room in memory. */
  readonly slots: number;
  /** Distinct rows of the batches that were trained on. */
  readonly rows: number;
  /** Of those, the rows that were not in memory. */
  readonly fetched: number;
  /** Rows that were used for the first time, whose initial value was computed. */
  readonly computed: number;
  /** Rows read from the disk, evaluations included. */
  readonly read: number;
  /** Rows written to the disk. */
  readonly written: number;
  /** Bytes read. */
  readonly bytesRead: number;
  /** Bytes written. */
  readonly bytesWritten: number;
  /** Bytes that the rows take on the disk at the end. */
  readonly diskBytes: number;
  /** How long training waited for rows. */
  readonly waitSeconds: number;
}

/** What a checkpoint's model reaches on the split that a result is of. */
export interface CheckpointMetrics extends Metrics {
  /** The step whose state the checkpoint holds. */
  readonly step: number;
}

/**
 * A run is over. Metrics are those of the best checkpoint, which evaluate, predict and export use. Other figures are those of the whole run, over all processes that trained it, unless they say otherwise. A run
 * that is resumed after its end reports the result that it recorded.
 */
export interface ResultEvent extends Metrics, Spent {
  /** Kind of event. */
  readonly event: "result";
  /** The command. */
  readonly command: "train";
  /** Where rows and MLPs lived. */
  readonly mode: string;
  /** What computed. */
  readonly device: string;
  /** Workers. */
  readonly ranks: number;
  /** Steps. */
  readonly steps: number;
  /** The split that the metrics are of. */
  readonly split: Split;
  /** The metrics again, with their step; where nothing was saved, those of the last step. */
  readonly best: CheckpointMetrics;
  /** Those of the last step. */
  readonly last: CheckpointMetrics;
  /** Samples trained on in a second of training. */
  readonly samplesPerSecond: number;
  /** Share of the samples whose lookups are all hot. */
  readonly hotSampleShare: number;
  /** Hot rows. */
  readonly hotRows: number;
  /** Bytes of the hot rows with their optimizer state. */
  readonly hotBytes: number;
  /**
   * Mean launches of a step on a device, by kind of batch, in the process that ended the run; a replayed graph is one. 0 on
   * the CPU or without such.
   */
  readonly launchesPerStep: Readonly<Record<BatchKind, number>>;
  /** The most memory that was resident in that process. */
  readonly peakRssBytes: number;
  /** What moved between memory and disk; only of a run whose rows do not all lie in memory. */
  readonly moved?: MovedRows | undefined;
  /** Directory of the run. */
  readonly run: string;
  /** Why training ended: all epochs done, the target AUC reached, or no improvement for too long. */
  readonly ended: "epochs" | "target" | "patience";
}

/** The demonstration is over. */
export interface DemoEvent {
  /** Kind of event. */
  readonly event: "demo";
  /** AUC on the test split of the model that drew the labels: the best that any model can reach on average. */
  readonly bestAuc: number;
  /** Whether the last checkpoints of training in memory and with rows on a disk are equal; null where none are compared. */
  readonly equal: boolean | null;
}

/** Anything a run reports. */
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

/** Takes what a run reports. */
export type Report = (event: RunEvent) => void;
