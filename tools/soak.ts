/**
 * Trains for a long time and checks that neither memory grows nor throughput falls:
 *
 *     deno task soak --minutes 30
 *
 * Generated data, modes cpu and fae for half of the time each, a checkpoint every minute (or 12 times in a shorter
 * soak). Memory is the resident memory at each checkpoint after the first third of the time, in which caches fill;
 * throughput is that of the steps between two checkpoints. Writes one JSON object; exit status 1 if memory grows by
 * more than 2 % or throughput falls by more than 5 % between the first and the second half of these checkpoints.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { generateDataset } from "../src/dataset/generate.ts";
import { Terminal } from "../src/report/terminal.ts";
import { resolveConfig } from "../src/config/config.ts";
import type { ResultEvent } from "../src/events/events.ts";
import { startRun } from "../src/run/run.ts";

const MAX_MEMORY_CHANGE = 0.02;
const MAX_THROUGHPUT_CHANGE = 0.05;
/** Share of the beginning that is not evaluated. */
const WARM_UP_SHARE = 1 / 3;

interface Sample {
  readonly at: number;
  readonly step: number;
  readonly bytes: number;
}

/** Trains for this time and returns the measurements of every checkpoint. */
async function soak(mode: "cpu" | "fae", minutes: number): Promise<Sample[]> {
  using terminal = new Terminal();
  const folder = Deno.makeTempDirSync({ prefix: "hotset-soak-" });
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), 60_000 * minutes);
  const samples: Sample[] = [];
  const begin = performance.now();
  try {
    const fractions = { validation: 0.02, test: 0 };
    const dataset = await generateDataset(join(folder, "clicks"), { samples: 200_000, seed: 1, scale: 20, fractions });
    const config = resolveConfig("kaggle", {
      mode,
      device: "cpu",
      batchSize: 2048,
      epochs: 1_000_000,
      learningRate: 0.01,
      ...(mode === "fae" ? { hotMemory: 8 * 2 ** 20 } : {}),
      checkpointMinutes: Math.min(1, minutes / 12),
    });
    await startRun(config, dataset, {
      out: join(folder, "run"),
      signal: () => controller.signal,
      report: (event) => {
        if (event.event !== "checkpoint") return;
        const at = performance.now();
        samples.push({ at, step: event.step, bytes: Deno.memoryUsage().rss });
        terminal.report({ event: "stage", stage: `soak in mode ${mode}`, fraction: (at - begin) / 60_000 / minutes });
      },
    }).catch((error) => {
      if (!controller.signal.aborted) throw error;
      return undefined as ResultEvent | undefined;
    });
  } finally {
    clearTimeout(timer);
    Deno.removeSync(folder, { recursive: true });
  }
  return samples;
}

const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Relative difference between the means of the second and the first half. */
function change(values: number[]): number {
  const middle = Math.floor(values.length / 2);
  return mean(values.slice(-middle)) / mean(values.slice(0, middle)) - 1;
}

const { values } = parseArgs({ options: { minutes: { type: "string", default: "30" } } });
const minutes = Number(values.minutes);
const results = [];
for (const mode of ["cpu", "fae"] as const) {
  const all = await soak(mode, minutes / 2);
  const samples = all.slice(Math.floor(all.length * WARM_UP_SHARE));
  const speeds = samples.slice(1).map(({ at, step }, i) =>
    (step - samples[i].step) / (at - samples[i].at) * 1000 * 2048
  );
  results.push({
    mode,
    minutes: minutes / 2,
    checkpoints: all.length,
    megabytes: Math.round(mean(samples.map(({ bytes }) => bytes)) / 1e6),
    memoryChange: change(samples.map(({ bytes }) => bytes)),
    samplesPerSecond: Math.round(mean(speeds)),
    throughputChange: change(speeds),
  });
}
console.log(JSON.stringify(results, null, 1));
const good = results.every(({ memoryChange, throughputChange }) =>
  memoryChange <= MAX_MEMORY_CHANGE && throughputChange >= -MAX_THROUGHPUT_CHANGE
);
Deno.exit(good ? 0 : 1);
