/** Runs fuzz cases in a worker, so that the main thread can detect a case that hangs. */
/// <reference lib="deno.worker" />
import fc from "fast-check";
import { TemporaryDirectory } from "../support/temporary.ts";
import { fuzzTargets } from "./targets.ts";

/** What the worker is sent. */
export interface FuzzOrder {
  readonly cases: number;
  readonly seed: number;
  /** Two words: the target in work and its cases so far. */
  readonly progress: Int32Array;
}

/** What it sends back: the targets' names before the first case, each target's cases, and the first failure. */
export type FuzzNews =
  | { readonly kind: "targets"; readonly names: string[] }
  | { readonly kind: "done"; readonly cases: number; readonly failure: string | undefined };

/** What failed, how to see it again, and on what as far as it fits a screen. */
function report(
  name: string,
  { seed, counterexamplePath, counterexample, errorInstance }: fc.RunDetails<unknown>,
): string {
  const error = errorInstance instanceof Error ? errorInstance.stack : errorInstance;
  return `${name}, seed ${seed}, path ${counterexamplePath}: ${error}\nfor ${
    fc.stringify(counterexample).slice(0, 4000)
  }`;
}

self.onmessage = async ({ data }: MessageEvent<FuzzOrder>) => {
  const { cases, seed, progress } = data;
  const send = (news: FuzzNews) => self.postMessage(news);
  using directory = new TemporaryDirectory();
  const targets = await fuzzTargets(directory.path);
  send({ kind: "targets", names: targets.map(({ name }) => name) });
  const shares = targets.reduce((sum, { share }) => sum + share, 0);
  let done = 0;
  for (const [i, { name, share, property }] of targets.entries()) {
    Atomics.store(progress, 0, i);
    Atomics.store(progress, 1, 0);
    const run = property.run.bind(property);
    property.run = (value) => {
      Atomics.add(progress, 1, 1);
      return run(value);
    };
    const details = await fc.check(property, { numRuns: Math.ceil(cases * share / shares), seed });
    done += details.numRuns;
    if (details.failed) return send({ kind: "done", cases: done, failure: report(name, details) });
  }
  send({ kind: "done", cases: done, failure: undefined });
};
