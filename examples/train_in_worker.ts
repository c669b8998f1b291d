/**
 * Trains in a worker, so that whatever a run waits for, the program does not: deno run -A examples/train_in_worker.ts
 * DATASET run
 *
 * SIGINT ends the run with a checkpoint, from which `resume` continues.
 */
import type { RunEvent } from "@hotset/hotset/train";

const [dataset, out] = Deno.args;

const worker = new Worker(new URL("training_worker.ts", import.meta.url), { type: "module" });
Deno.addSignalListener("SIGINT", () => worker.postMessage("stop"));

/** What a server would do meanwhile: here, it measures how long a request would wait at most. */
let longest = 0, last = performance.now();
const timer = setInterval(() => {
  const now = performance.now();
  longest = Math.max(longest, now - last);
  last = now;
}, 1);

const ended = await new Promise<string>((resolve) => {
  worker.onerror = ({ message }) => resolve(message);
  worker.onmessage = ({ data }: MessageEvent<RunEvent | { event: "failed"; text: string }>) => {
    if (data.event === "progress") console.log(`step ${data.step}: loss ${data.loss.toFixed(4)}`);
    if (data.event === "failed") resolve(data.text);
    if (data.event === "result") resolve(`test AUC ${data.auc.toFixed(4)}, logloss ${data.logloss.toFixed(4)}`);
  };
  worker.postMessage({ dataset, out });
});
clearInterval(timer);
console.log(ended);
console.error(`the event loop waited ${longest.toFixed(0)} ms at most`);
Deno.exit(ended.startsWith("test AUC") ? 0 : 1);
