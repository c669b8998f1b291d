/**
 * The cost of checkpoints during the training of a large model, on generated data in the shape of Criteo Kaggle (33.8
 * million rows):
 *
 *     deno run -A bench/checkpoint_beside_training.ts --dim 64 --samples 1200000 --folder DIR
 *
 * Writes one JSON object: bytes of the model, write speed of the disk and of checkpoints, the time for which training
 * stopped, peak memory, and the throughput of training alone, during a checkpoint, and during `dd`, which writes zeros
 * with direct I/O as fast as the disk permits (the cost of any writer). DIR should be on the disk to be measured; files
 * written there are removed.
 */
import type { OptimizerName } from "../src/optimizer/optimizers.ts";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { OutputFile } from "../src/storage/output_file.ts";
import { alignedBytes, createFile } from "../src/storage/direct_file.ts";
import { generateDataset } from "../src/dataset/generate.ts";
import { resolveConfig } from "../src/config/config.ts";
import type { CheckpointEvent } from "../src/events/events.ts";
import { startRun } from "../src/run/run.ts";

const { values } = parseArgs({
  options: {
    dim: { type: "string", default: "64" },
    samples: { type: "string", default: "1200000" },
    mode: { type: "string", default: "fae" },
    optimizer: { type: "string", default: "sgd" },
    ranks: { type: "string" },
    "batch-size": { type: "string", default: "2048" },
    folder: { type: "string", default: "." },
  },
});
const dim = Number(values.dim);
const samples = Number(values.samples);
const batchSize = Number(values["batch-size"]);
const folder = Deno.makeTempDirSync({ dir: values.folder, prefix: "checkpoint-bench-" });

/** Bytes per second that the disk accepts from a single writer, with direct I/O or through the page cache. */
function measureDisk(create: (path: string) => OutputFile, bytes = 4 * 2 ** 30): number {
  const path = join(folder, "disk");
  const chunk = alignedBytes(1 << 20);
  for (let at = 0; at < chunk.length; at += 65536) crypto.getRandomValues(chunk.subarray(at, at + 65536));
  const begin = performance.now();
  const file = create(path);
  for (let done = 0; done < bytes; done += chunk.length) file.writeSync(chunk);
  file.syncDataSync();
  file.close();
  const seconds = (performance.now() - begin) / 1000;
  Deno.removeSync(path);
  return bytes / seconds;
}

try {
  const steps = Math.floor(samples * 0.998 / batchSize);
  const fractions = { validation: 0, test: 0.002 };
  const dataset = await generateDataset(join(folder, "clicks"), {
    shape: "kaggle",
    samples,
    seed: 1,
    scale: 1,
    fractions,
  });
  const config = resolveConfig("kaggle", {
    mode: values.mode as "cpu" | "fae",
    device: "cpu",
    dim,
    bottom: [512, 256, dim],
    batchSize,
    optimizer: values.optimizer as OptimizerName,
    learningRate: 0.02,
    ranks: values.ranks === undefined ? null : Number(values.ranks),
    printFreq: 5,
    checkpointSteps: Math.floor(steps * 0.6),
    keep: 0,
  });
  /** Duration of each window of steps, in seconds. */
  const windows: { begin: number; end: number; steps: number }[] = [];
  /** `dd`, which writes from a tenth to a third of the steps. */
  const bare = { path: join(folder, "bare"), begin: NaN, end: NaN, bytes: 0 };
  let writer: Deno.ChildProcess | undefined;
  const checkpoints: (CheckpointEvent & { begin: number; end: number })[] = [];
  let last = { step: 0, at: NaN };
  const result = await startRun(config, dataset, {
    out: join(folder, "run"),
    report: (event) => {
      const now = performance.now() / 1000;
      if (event.event === "progress") {
        if (last.step > 0) windows.push({ begin: last.at, end: now, steps: event.step - last.step });
        last = { step: event.step, at: now };
        if (writer === undefined && event.step > steps / 10) {
          writer = new Deno.Command("dd", {
            args: ["if=/dev/zero", `of=${bare.path}`, "bs=4M", "oflag=direct", "status=none"],
          }).spawn();
          bare.begin = now;
        } else if (Number.isNaN(bare.end) && event.step > steps / 3) {
          writer?.kill("SIGKILL");
          bare.end = now;
          bare.bytes = Deno.statSync(bare.path).size;
          Deno.removeSync(bare.path);
        }
      } else if (event.event === "checkpoint") checkpoints.push({ ...event, begin: now - event.seconds, end: now });
    },
  });
  const speed = (chosen: typeof windows) =>
    batchSize * chosen.reduce((sum, { steps }) => sum + steps, 0) /
    chosen.reduce((sum, { begin, end }) => sum + end - begin, 0);
  // The last checkpoint is written after training.
  const beside = checkpoints.slice(0, -1);
  const overlaps = (window: (typeof windows)[0]) =>
    beside.some(({ begin, end, pauseSeconds }) => window.end > begin - pauseSeconds && window.begin < end);
  const besideBare = (window: (typeof windows)[0]) => window.end > bare.begin && window.begin < bare.end;
  const during = speed(windows.filter(overlaps));
  const duringBare = speed(windows.filter(besideBare));
  const without = speed(windows.filter((window) => !overlaps(window) && !besideBare(window)));
  const writeSpeed = beside.reduce((sum, { bytes }) => sum + bytes, 0) /
    beside.reduce((sum, { seconds }) => sum + seconds, 0);
  const disk = measureDisk(createFile);
  const cached = measureDisk((path) => Deno.openSync(path, { write: true, createNew: true }));
  console.log(JSON.stringify(
    {
      bytes: beside[0].bytes,
      diskBytesPerSecond: Math.round(disk),
      diskBytesPerSecondThroughCache: Math.round(cached),
      checkpointBytesPerSecond: Math.round(writeSpeed),
      shareOfDisk: writeSpeed / disk,
      checkpoints: checkpoints.map(({ step, seconds, pauseSeconds }) => ({ step, seconds, pauseSeconds })),
      pauseShare: Math.max(...beside.map(({ pauseSeconds, seconds }) => pauseSeconds / seconds)),
      samplesPerSecondBeside: Math.round(during),
      samplesPerSecondWithout: Math.round(without),
      throughputShare: during / without,
      bareWriterBytesPerSecond: Math.round(bare.bytes / (bare.end - bare.begin)),
      throughputShareBesideBareWriter: duringBare / without,
      hotSampleShare: result.hotSampleShare,
      peakRssBytes: result.peakRssBytes,
      device: result.device,
      ranks: result.ranks,
    },
    null,
    1,
  ));
} finally {
  Deno.removeSync(folder, { recursive: true });
}
