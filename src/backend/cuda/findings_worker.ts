/** Looks for CUDA on a thread of its own: loading its libraries takes longer than an event loop may wait. */
/// <reference lib="deno.worker" />
import { cudaFindings } from "./findings.ts";

self.onmessage = () => {
  self.postMessage(cudaFindings());
  self.close(); // libraries that a worker has loaded may crash when it is terminated
};
