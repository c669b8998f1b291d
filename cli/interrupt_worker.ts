/** Listens to signals while other threads work. */
/// <reference lib="deno.worker" />
import { type Watch, watchSignals } from "./interrupt.ts";

self.onmessage = ({ data }: MessageEvent<Watch>) => watchSignals(data, () => postMessage(null));
