/**
 * One rank that trains with rows in another kind of storage; started by memory.ts:
 *
 *     deno run -A bench/memory/train_over.ts mapped DATASET CONFIG FOLDER SECONDS         tables in a mapped file
 *     deno run -A bench/memory/train_over.ts lmdb DATASET CONFIG FOLDER SECONDS SHARE     cached rows, all others in lmdb
 *
 * CONFIG is JSON. The page cache decides which part of a mapped file stays in memory; everything else is as in training
 * in memory. With lmdb everything but the store is as with the log of rows. Ends after SECONDS of training and prints
 * samples/s without the first steps, as JSON.
 */
import { closeSync, existsSync, openSync } from "node:fs";
import { join } from "node:path";
import { openLibc } from "../../ffi/libc.ts";
import { mapSharedPages } from "../../ffi/shared_pages.ts";
import { cpuOptions, openHost } from "../../src/backend/open.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { StoreThread } from "../../src/embedding/stores/store_thread.ts";
import { Interrupted } from "../../src/errors.ts";
import { peakRssBytes } from "../../src/loop/peak_rss.ts";
import { Trainer } from "../../src/loop/trainer.ts";
import { CachedRanks } from "../../src/ranks/cached_ranks.ts";
import { LocalRank, type RankGroup } from "../../src/ranks/rank_group.ts";
import { sizeCache } from "../../src/ranks/tier.ts";
import { allocateTrainState, type TrainState } from "../../src/ranks/train_state.ts";
import { planFor } from "../../src/run/run.ts";
import { ensureLayout } from "../../src/run/stages.ts";

/** Steps before the first that counts: what is compiled and mapped at first use. */
const WARMUP = 3;
/** Advice to the system: accesses are random, so that it reads no pages around the one that is missed. */
const RANDOM = 1;

const [way, directory, json, folder, seconds, share] = Deno.args;
const layer: Partial<TrainConfig> = JSON.parse(json);
const config = resolveConfig("kaggle", layer, { mode: "cpu", ranks: 1, save: false });
const dataset = Dataset.open(directory);
const plan = planFor(config, dataset);
using layout = await ensureLayout(dataset, undefined, config, { cache: folder }, () => {});
const { shape: batchShape, hotRows, body: { mostDistinct } } = layout;
const host = await openHost(await cpuOptions("auto"));
const options = { plan, batchShape, hotRows, mostDistinct, ranks: 1, host, device: host };
using opened = new DisposableStack();

function overMappedFile(): RankGroup {
  const path = join(folder, "mapped-tables");
  const file = openSync(path, "w+");
  opened.defer(() => closeSync(file));
  let memory: TrainState | undefined;
  const pages = host.pagesOf(() => memory = allocateTrainState(options));
  Deno.truncateSync(path, pages.length);
  Deno.removeSync(path);
  mapSharedPages({ process: Deno.pid, file }, pages);
  const { madvise } = openLibc({ madvise: { parameters: ["buffer", "usize", "i32"], result: "i32" } });
  if (madvise(pages as Uint8Array<ArrayBuffer>, BigInt(pages.length), RANDOM) !== 0) throw new Error("no advice taken");
  return new LocalRank(memory!);
}

async function overLmdb(): Promise<RankGroup> {
  const { slots, batchRows, lookAhead } = sizeCache(plan, options, { memory: { share: Number(share) } }, 0)!;
  const { dim, optimizer, tableRows } = plan.shape;
  const rows = join(folder, "lmdb");
  if (existsSync(rows)) Deno.removeSync(rows, { recursive: true }); // of a process that was killed
  Deno.mkdirSync(rows);
  opened.defer(() => Deno.removeSync(rows, { recursive: true }));
  const store = opened.use(
    await StoreThread.start(
      { directory: rows, tableRows, dim, optimizer },
      { jobs: lookAhead + 1, rows: batchRows },
      new URL("./lmdb_worker.ts", import.meta.url),
    ),
  );
  const memory = allocateTrainState({ ...options, fullRows: slots + batchShape.lookupCapacity });
  const none = { [Symbol.dispose]() {} };
  return new CachedRanks(new LocalRank(memory), { store, slots, batchRows, lookAhead }, none);
}

const group = way === "mapped" ? overMappedFile() : await overLmdb();
const stop = new AbortController();
/** When each step began, in milliseconds. */
const begun: number[] = [];
const trainer = new Trainer({
  ...{ config, dataset, layout, group, out: folder, runId: "bench", checkpoint: undefined, report: () => {} },
  schedule() {
    begun.push(performance.now());
    if (begun.at(-1)! - begun[0] > 1000 * Number(seconds)) stop.abort();
    return config.learningRate;
  },
  signal: stop.signal,
});
const result = await trainer.run().catch((error) => {
  if (error instanceof Interrupted) return undefined;
  throw error;
});
const steps = begun.length - 1 - WARMUP;
const elapsed = (begun.at(-1)! - begun[WARMUP]) / 1000;
console.log(JSON.stringify({
  samplesPerSecond: result?.samplesPerSecond ?? steps * config.batchSize / elapsed,
  ...{ seconds: result?.seconds ?? elapsed, steps: result?.steps ?? steps, peakRssBytes: peakRssBytes() },
  ...(group instanceof CachedRanks ? { moved: group.moved } : {}),
}));
await group[Symbol.asyncDispose]();
