/// <reference lib="deno.worker" />
/** The worker of train_in_worker.ts: trains on the dataset it is told, posts the events of the run, and ends. */
import { Dataset } from "@hotset/hotset/dataset";
import { resolveConfig, startRun } from "@hotset/hotset/train";

const stop = new AbortController();

self.onmessage = async ({ data }: MessageEvent<{ dataset: string; out: string } | "stop">) => {
  if (data === "stop") return stop.abort();
  // Rows on disk: every step waits for the one before it, which a server could not afford.
  const config = resolveConfig("default", { mode: "cpu", bottom: [64, 16], top: [64, 1], memory: { share: 0.1 } });
  const options = { out: data.out, report: (event: unknown) => self.postMessage(event), signal: () => stop.signal };
  try {
    await startRun(config, Dataset.open(data.dataset), options);
  } catch (error) {
    self.postMessage({ event: "failed", text: String(error) });
  }
  self.close();
};
