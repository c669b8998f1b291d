/**
 * What the host needs for a training step when the device takes no time: microseconds on the thread that trains, by mode
 * and batch size, with batches read ahead as in training. CUDA's libraries are the stand-ins of tests/cuda_standin, which
 * check the product's own calls and do nothing of what these queue; a driver's time for a call is not included.
 *
 *     deno bench -A bench/cuda_host_bench.ts
 *     deno run -A bench/cuda_host_bench.ts [--batch-sizes 128,2048,65536] [--tiny] [--folder DIR] [--json]
 *
 * Other work on the machine only adds to a time, so the fastest of several series of steps counts.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { resolveConfig, type TrainConfig } from "../src/config/config.ts";
import { writeStep } from "../src/optimizer/optimizers.ts";
import type { Dataset } from "../src/dataset/dataset.ts";
import { ReadAhead, readThreads } from "../src/layout/read_ahead.ts";
import { standInAbsent, standInEnvironment } from "../tests/support/cuda_standin.ts";
import { KAGGLE_STEPS, openStepRanks, stepDataset, stepLayout, type StepSizes, TINY_STEPS } from "./cuda_steps.ts";

const MODES = ["gpu", "cached"] as const;
/** Duration of a series of steps in milliseconds, at least STEPS of them, and number of series. */
const SERIES_MS = 60;
const STEPS = 16;
const SERIES = 25;
/** Time for threads to start. */
const START_MS = 500;

/** Microseconds of a step. */
interface HostTime {
  readonly mode: TrainConfig["mode"];
  readonly batchSize: number;
  /** In all. */
  readonly step: number;
  /** Until the batch is there: the thread waits for a slot or for the batch, or reads batches itself. */
  readonly read: number;
  /** To queue the step: upload, plan and launches. */
  readonly queue: number;
}

/** Times the steps of a mode over full batches. */
async function timeSteps(
  mode: TrainConfig["mode"],
  batchSize: number,
  { model }: Pick<StepSizes, "model">,
  dataset: Dataset,
  folder: string,
): Promise<HostTime> {
  const how = { optimizer: "sgd", device: "cuda", batchSize, learningRate: 0.01 } as const;
  const config = resolveConfig("kaggle", model, how, { mode });
  using layout = await stepLayout(config, dataset, folder);
  await using group = await openStepRanks(config, dataset, layout);
  using reading = new ReadAhead(layout, group.batches, readThreads(layout, group.freeCores));
  const batches = Math.floor(layout.body.samples / batchSize);
  await new Promise((resolve) => setTimeout(resolve, START_MS));
  let best = { step: Infinity, read: 0, queue: 0 };
  for (let series = 0, asked = 0; series < SERIES; series++) {
    const begin = performance.now();
    let steps = 0, read = 0, now = begin;
    for (; steps < STEPS || now - begin < SERIES_MS; steps++) {
      const before = now;
      while (reading.waiting < reading.depth) reading.ask(group.acquire(), "cold", asked++ % batches);
      const slot = reading.take();
      read += performance.now() - before;
      writeStep(config.optimizer, group.batches[slot].floats, config.learningRate);
      group.train(slot);
      now = performance.now();
    }
    const us = (milliseconds: number) => 1000 * milliseconds / steps;
    const step = us(now - begin);
    if (step < best.step) best = { step, read: us(read), queue: step - us(read) };
  }
  while (reading.waiting > 0) reading.take(); // a slot must not be written while it is used again
  group.drain();
  return { mode, batchSize, ...best };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      "batch-sizes": { type: "string", default: "128,2048,65536" },
      tiny: { type: "boolean", default: false },
      folder: { type: "string", default: join("hotset", "bench") },
      json: { type: "boolean", default: false },
    },
  });
  if (standInAbsent !== undefined) {
    console.log(`No times of the host beside a device here: ${standInAbsent}`);
    return;
  }
  for (const [name, value] of Object.entries(standInEnvironment({ idle: true }))) Deno.env.set(name, value);
  const sizes = values.tiny ? TINY_STEPS : KAGGLE_STEPS;
  const dataset = await stepDataset(values.folder, sizes);
  if (!values.json) console.log("microseconds of a step     step     read    queue   M samples/s");
  for (const batchSize of values["batch-sizes"].split(",").map(Number)) {
    for (const mode of MODES) {
      const time = await timeSteps(mode, batchSize, sizes, dataset, values.folder);
      const us = [time.step, time.read, time.queue].map((value) => value.toFixed(0).padStart(8)).join(" ");
      const rate = (batchSize / time.step).toFixed(2).padStart(13);
      console.log(
        values.json ? JSON.stringify({ event: "host", ...time }) : `${`${batchSize} ${mode}`.padEnd(22)} ${us} ${rate}`,
      );
    }
  }
}

// The steps depend on each other, so `deno bench` runs this file without its own clock.
if (Deno.mainModule === import.meta.url) await main();
