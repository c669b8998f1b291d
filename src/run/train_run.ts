/** Training of a run that has begun: its layout, ranks, record and metrics, and the trainer. */
import { basename, resolve } from "node:path";
import { breaks } from "../breaks.ts";
import { checkpointBytes, IMPORTED } from "../checkpoint/checkpoint.ts";
import { roomForCheckpoints } from "../checkpoint/checkpoint_room.ts";
import type { TrainConfig } from "../config/config.ts";
import type { Dataset } from "../dataset/dataset.ts";
import { HotsetError } from "../errors.ts";
import type { Report, ResultEvent, RunEvent } from "../events/events.ts";
import { bytes } from "../format.ts";
import { Diverged } from "../loop/end_errors.ts";
import { measurePhases } from "../loop/phases.ts";
import { Trainer } from "../loop/trainer.ts";
import type { ModelPlan } from "../model/shape.ts";
import { CachedRanks } from "../ranks/cached_ranks.ts";
import { DeviceCachedRanks } from "../ranks/device_cached_ranks.ts";
import { openRanks } from "../ranks/placement.ts";
import { tierOf } from "../ranks/tier.ts";
import type { Beginning } from "./beginning.ts";
import { mayUseDisk } from "./expectations.ts";
import { isFile } from "./packed_run.ts";
import { roomForRows } from "./row_room.ts";
import { runIdOf } from "./run_id.ts";
import { RunMetrics } from "./run_metrics.ts";
import { dataNotes, movedNotes } from "./run_notes.ts";
import { agreedStop, inTurn, onDisk, type RunOptions } from "./run_options.ts";
import { recordRun } from "./run_record.ts";
import { ensureLayout, ensureProfile } from "./stages.ts";

const NEVER = new AbortController().signal;

/**
 * Trains a run to its end. What fails before training begins leaves no run behind, so the same command can be repeated.
 * Throws HotsetError, and Interrupted if the signal is aborted.
 */
export async function trainRun(
  config: TrainConfig,
  plan: ModelPlan,
  dataset: Dataset,
  { from, checkpoint, record: begun, spent, result: recorded }: Beginning,
  options: RunOptions,
): Promise<ResultEvent> {
  const { out, report, signal = NEVER, phases, world, schedule: own } = options;
  const trains = recorded === undefined;
  const onADisk = mayUseDisk(config);
  let room = config.save && trains && !onADisk
    ? await inTurn(options, () => roomForCheckpoints(out, config, checkpointBytes(plan)))
    : undefined;
  const before: RunEvent[] = [];
  const keep: Report = (event) => {
    before.push(event);
    report(event);
  };
  using layout = await onDisk(options, async (group, cache) => {
    // With the profile's hot rows in mode fae, without hot rows in the others.
    const profile = config.mode === "fae" ? await ensureProfile(dataset, config, { cache }, keep, group) : undefined;
    return await ensureLayout(dataset, profile, config, { cache }, keep, group);
  });
  if (breaks.due) await breaks.take();
  const runId = runIdOf(config, layout, from ?? begun?.from ?? undefined, own);
  if (checkpoint !== undefined && checkpoint.body.run !== runId && checkpoint.body.run !== IMPORTED) {
    throw new HotsetError(
      `Cannot resume ${out}: its checkpoint was made with other data or options, or by another version of Hotset; start a ` +
        `new run from its model with --from ${out}`,
    );
  }
  // They read samples: before ranks and caches take the memory that is left in the budget.
  const notes = await dataNotes(config, dataset, layout);
  if (breaks.due) await breaks.take();
  const tier = tierOf(out, config.memory, (checkpoint ?? from)?.savedRows?.numbers?.bytes);
  const batches = { batchShape: layout.shape, hotRows: layout.hotRows, mostDistinct: layout.body.mostDistinct };
  await using group = await openRanks(config, plan, batches, { report, world, tier });
  if (trains && group instanceof CachedRanks) {
    const found = await inTurn(options, () => roomForRows(out, config, plan, dataset, from, world?.peers.size));
    report({ event: "note", text: `Rows take at most ${bytes(found.bytes)} of the disk of ${out}` });
    if (checkpoint === undefined && from?.body.rowLog !== undefined && from.savedRows === undefined) {
      const reason = "so many rows were dropped between them that their numbers would take much memory";
      report({ event: "note", text: `Rows of ${from.directory} are copied, not shared: ${reason}` });
    }
    room = found;
  } else if (config.save && trains && onADisk) {
    room = await inTurn(options, () => roomForCheckpoints(out, config, checkpointBytes(plan)));
  }
  if (room?.note !== undefined) report({ event: "note", text: room.note });
  const writes = (world?.rank ?? 0) === 0;
  const { device, blas, ranks } = group;
  const schedule = own === undefined ? "config" : "function";
  if (writes && begun === undefined) {
    const place = options.from !== undefined && isFile(options.from) ? options.from : from?.directory;
    const start = from === undefined ? null : { directory: resolve(place!), id: from.id };
    await recordRun(out, config, dataset, { layoutId: layout.id, from: start, device, blas, ranks, schedule });
  } else if (writes && begun?.device === null) { // an imported model, which is trained for the first time
    await recordRun(out, begun.config, dataset, { layoutId: null, from: null, device, blas, ranks, schedule });
  } else if (begun !== undefined && begun.device !== device) {
    const text = `Continuing with ${device} instead of ${begun.device}: the last bits of products, and results that ` +
      `depend on them, may differ from those of an uninterrupted run`;
    report({ event: "note", text });
  }
  using metrics = writes ? new RunMetrics(out) : undefined;
  const record: Report = (event) => metrics?.write(event);
  before.forEach(record);
  const recordAndReport: Report = (event) => {
    record(event);
    report(event);
  };
  for (const text of notes) report({ event: "note", text });
  const trainer = new Trainer({
    config: { ...config, keep: room?.keep ?? config.keep },
    dataset,
    layout,
    group,
    out,
    runId,
    // An imported model is not yet in any run.
    from: checkpoint?.body.run === IMPORTED ? checkpoint : from,
    checkpoint: checkpoint?.body.run === IMPORTED ? undefined : checkpoint,
    spent,
    schedule: own,
    onEvaluation: agreedStop(options),
    report: recordAndReport,
    signal: typeof signal === "function" ? signal() : signal,
  });
  const trained = await trainer.run().catch((error) => {
    if (error instanceof Diverged) metrics?.write({ event: "diverged", reason: error.reason });
    throw error;
  });
  for (const text of movedNotes(group, world)) report({ event: "note", text });
  const caches = group instanceof CachedRanks || group instanceof DeviceCachedRanks;
  const oneMemory = world === undefined && group.memory.mirror === undefined && !caches;
  if (phases && oneMemory) { for (const event of measurePhases(layout, group.memory)) recordAndReport(event); }
  if (phases && !oneMemory) {
    const where = caches ? "where rows are cached" : "on several devices";
    report({ event: "note", text: `Phases of a step are not measured ${where}` });
  }
  const { moved } = group;
  const measured = { ...trained, ...(moved === undefined ? {} : { moved }) };
  if (recorded === undefined) record({ ...measured, run: basename(resolve(out)) }); // a run may be moved
  const result = recorded ?? measured;
  report(result);
  return result;
}
