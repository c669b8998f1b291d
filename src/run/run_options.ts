/** Options of a training run, and how its processes divide the work on files. */
import { breaks } from "../breaks.ts";
import type { OnEvaluation, Report } from "../events/events.ts";
import { stops } from "../loop/early_stopping.ts";
import { ALONE } from "../parallel/host_group.ts";
import type { MpiWorld } from "../parallel/mpi_world.ts";
import { inTurn as ranksInTurn, type ProcessGroup } from "../parallel/process_group.ts";
import { onSharedDisk } from "../parallel/shared_disk.ts";
import type { LearningRateSchedule } from "../schedule/learning_rate.ts";
import { cacheOf } from "./run_cache.ts";

/** Options of a training run. */
export interface RunOptions {
  /** Directory of the run. */
  readonly out: string;
  /** True if the caller holds the lock of `out`, as a ClaimedRun does. */
  readonly claimed?: boolean | undefined;
  /**
   * Directory of the datasets, profiles and layouts that are made for the run; runs with the same one share them. Default:
   * the directory that contains `out`.
   */
  readonly cache?: string | undefined;
  /** Receives events. */
  readonly report: Report;
  /**
   * Aborting it while the run trains saves the run and ends it with Interrupted, whose cause is the signal's reason. A
   * function is called when training begins.
   */
  readonly signal?: AbortSignal | (() => AbortSignal);
  /** Directory of the dataset of a resumed run, if its position relative to the run has changed. */
  readonly data?: string | undefined;
  /** A run, packed or not, or a checkpoint whose model and optimizer state the new run begins with; undefined for a new model. */
  readonly from?: string | undefined;
  /**
   * The learning rate by step, counted from 1, instead of the configuration's, whose warm-up and decay must be 0. A
   * resumed run needs the same function again. With several processes each passes it.
   */
  readonly schedule?: LearningRateSchedule | undefined;
  /**
   * Called after every evaluation during training, so never without a validation or test split; returning "stop" ends
   * the run as if it were complete, with its result (`ended` is "stopped"). With several processes each passes a
   * function, and one that returns "stop" ends all.
   */
  readonly onEvaluation?: OnEvaluation | undefined;
  /** True to measure the phases of a step after training. */
  readonly phases?: boolean | undefined;
  /** The processes that train together, each of which makes the same call; undefined to train in this one. */
  readonly world?: MpiWorld | undefined;
}

/** The options with a report that adds the run to every event. */
export function namingRun(options: RunOptions): RunOptions {
  const { out, report } = options;
  return { ...options, report: (event) => report({ run: out, ...event }) };
}

/** The function that may end the run, with one answer in all processes. */
export function agreedStop({ onEvaluation, world }: RunOptions): OnEvaluation | undefined {
  if (onEvaluation === undefined || world === undefined) return onEvaluation;
  return (metrics) => world.gather(stops(onEvaluation, metrics)).includes(true) ? "stop" : undefined;
}

/** Runs work that creates or opens files. With several processes, they run it one after the other. */
export async function inTurn<T>({ world }: RunOptions, work: () => T | Promise<T>): Promise<T> {
  if (breaks.due) await breaks.take();
  return await ranksInTurn(world ?? ALONE, work);
}

/** Runs work of all processes together that creates files in the cache. */
export async function onDisk<T>(
  { world, out, cache = cacheOf(out) }: RunOptions,
  work: (group: ProcessGroup, cache: string) => T | Promise<T>,
): Promise<T> {
  return world === undefined
    ? await work(ALONE, cache)
    : await onSharedDisk(world, [cache], (group) => work(group, cache));
}
