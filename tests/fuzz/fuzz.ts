/**
 * Fuzzes all readers of files: each returns a value or an error that a user can act on, in bounded time and memory.
 *
 *     deno task fuzz --cases 1000000 --seed 7
 */
import process from "node:process";
import { Command } from "commander";
import type { FuzzNews, FuzzOrder } from "./fuzz_worker.ts";

/** A case that takes longer hangs, also on a machine that others load. */
const MAX_SECONDS = 60;
/** Memory of the process that fuzzing may not exceed. */
const MAX_BYTES = 3 * 2 ** 30;

/** How fuzzing ended. */
export interface FuzzResult {
  readonly cases: number;
  readonly targets: number;
  /** What went wrong first, with the seed and path that show it again. */
  readonly failure: string | undefined;
}

/** Runs so many cases, shared out over all targets. */
export async function fuzz(cases: number, seed: number): Promise<FuzzResult> {
  const progress = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(new URL("fuzz_worker.ts", import.meta.url), { type: "module" });
  let names: string[] = [];
  let timer: ReturnType<typeof setInterval> | undefined;
  try {
    return await new Promise<FuzzResult>((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<FuzzNews>) => {
        if (data.kind === "targets") names = data.names;
        else resolve({ cases: data.cases, targets: names.length, failure: data.failure });
      };
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(`the fuzzing worker failed: ${event.message}`));
      };
      let seen = [-1, -1];
      let since = performance.now();
      timer = setInterval(() => {
        const now = [Atomics.load(progress, 0), Atomics.load(progress, 1)];
        const where = `${names[now[0]] ?? "the beginning"}, case ${now[1]}, seed ${seed}`;
        const { rss } = process.memoryUsage();
        if (rss > MAX_BYTES) reject(new Error(`${rss} bytes of memory are in use after ${where}`));
        if (names.length === 0 || now.some((count, i) => count !== seen[i])) [seen, since] = [now, performance.now()];
        else if (performance.now() - since > 1000 * MAX_SECONDS) reject(new Error(`${where} hangs`));
      }, 200);
      const order: FuzzOrder = { cases, seed, progress };
      worker.postMessage(order);
    });
  } finally {
    clearInterval(timer);
    worker.terminate();
  }
}

if (import.meta.main) {
  const { cases, seed } = new Command("fuzz")
    .option("--cases <n>", "cases of all targets together", Number, 1_000_000)
    .option("--seed <n>", "seed of the damage", Number, Date.now() % 2 ** 31)
    .parse(Deno.args, { from: "user" }).opts<{ cases: number; seed: number }>();
  const begin = performance.now();
  const result = await fuzz(cases, seed);
  const seconds = ((performance.now() - begin) / 1000).toFixed(1);
  console.log(`${result.cases} cases of ${result.targets} targets with seed ${seed} in ${seconds} s`);
  if (result.failure !== undefined) {
    console.error(result.failure);
    process.exitCode = 1;
  }
}
