/** Times of work on a CUDA device between two events of its stream. */
import type { CudaBackend } from "../src/backend/cuda/backend.ts";

/** Measures the time of the device without that of the host. */
export class DeviceClock {
  readonly #backend: CudaBackend;
  readonly #begin: Deno.PointerValue;
  readonly #end: Deno.PointerValue;
  readonly #elapsed = new Float32Array(1);

  constructor(backend: CudaBackend) {
    this.#backend = backend;
    this.#begin = backend.device.makeEvent(true);
    this.#end = backend.device.makeEvent(true);
  }

  /** Microseconds that the device takes for `work`, called `repeats` times. */
  time(repeats: number, work: () => void): number {
    const { device } = this.#backend;
    const { runtime } = device.libraries;
    runtime.cudaEventRecord(this.#begin, device.stream);
    for (let i = 0; i < repeats; i++) work();
    runtime.cudaEventRecord(this.#end, device.stream);
    device.synchronize();
    runtime.cudaEventElapsedTime(this.#elapsed, this.#begin, this.#end);
    return 1000 * this.#elapsed[0];
  }

  /** Microseconds per call: the median of measurements of at least `milliseconds` in total, after one warm-up call. */
  perCall(milliseconds: number, work: () => void): number {
    const once = this.time(1, work);
    const repeats = Math.max(1, Math.round(1000 * milliseconds / MEASUREMENTS / Math.max(once, 1)));
    const times = Array.from({ length: MEASUREMENTS }, () => this.time(repeats, work) / repeats);
    return times.sort((a, b) => a - b)[MEASUREMENTS >> 1];
  }
}

const MEASUREMENTS = 5;
