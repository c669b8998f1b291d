/** What a run reports while it goes on. The same objects are the lines of `--json`. */
import type { Split } from "../dataset/dataset.ts";
import type { Metrics } from "./metrics.ts";

/** How far a long stage is. */
export interface StageEvent {
  readonly event: "stage";
  readonly stage: string;
  /** 0 to 1. */
  readonly fraction: number;
}

/** Something a person should know; never an error. */
export interface NoteEvent {
  readonly event: "note";
  readonly text: string;
}

/** A dataset is ready. */
export interface DatasetEvent {
  readonly event: "dataset";
  readonly directory: string;
  readonly samples: Readonly<Record<Split, number>>;
  readonly tables: number;
  readonly rows: number;
  readonly skippedRows: number;
  readonly seconds: number;
}

/** A profile is ready. */
export interface ProfileEvent {
  readonly event: "profile";
  readonly sampleRate: number;
  readonly threshold: number | null;
  readonly hotRows: number;
  readonly hotBytes: number;
  readonly hotBytesEstimate: { readonly low: number; readonly value: number; readonly high: number };
  readonly hotLookupShare: number;
  readonly tables: readonly { name: string; rows: number; hotRows: number; whole: boolean }[];
  readonly seconds: number;
}

/** A layout is ready. */
export interface LayoutEvent {
  readonly event: "layout";
  readonly samples: number;
  readonly hotSamples: number;
  readonly hotSampleShare: number;
  readonly hotBatches: number;
  readonly coldBatches: number;
  readonly bytes: number;
  readonly seconds: number;
}

/** Training goes on. */
export interface ProgressEvent {
  readonly event: "progress";
  readonly epoch: number;
  readonly step: number;
  /** Steps of the whole run. */
  readonly steps: number;
  /** Mean loss of the samples since the last progress event. */
  readonly loss: number;
  readonly samplesPerSecond: number;
  /** Share of hot samples since the last progress event. */
  readonly hotShare: number;
  readonly learningRate: number;
  /** The scheduler's rate, in percent. */
  readonly rate: number;
}

/** A split was scored. */
export interface EvaluationEvent extends Metrics {
  readonly event: "evaluation";
  readonly split: Split;
  readonly epoch: number;
  readonly step: number;
}

/** A run is over. */
export interface ResultEvent extends Metrics {
  readonly event: "result";
  readonly command: "train";
  readonly mode: string;
  readonly device: string;
  readonly ranks: number;
  readonly samples: number;
  readonly steps: number;
  /** Time spent in training steps alone. */
  readonly seconds: number;
  readonly samplesPerSecond: number;
  readonly hotSampleShare: number;
  readonly hotRows: number;
  readonly hotBytes: number;
  readonly hostToDeviceBytes: number;
  readonly deviceToHostBytes: number;
  readonly peakRssBytes: number;
  readonly run: string;
  /** Why training ended: all epochs done, the target AUC reached, or no improvement for too long. */
  readonly ended: "epochs" | "target" | "patience";
}

/** Anything a run reports. */
export type RunEvent =
  | StageEvent
  | NoteEvent
  | DatasetEvent
  | ProfileEvent
  | LayoutEvent
  | ProgressEvent
  | EvaluationEvent
  | ResultEvent;

/** Takes what a run reports. */
export type Report = (event: RunEvent) => void;
