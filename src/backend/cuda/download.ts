/** A copy from the device that overlaps later operations. */
import { Cuda } from "../../../ffi/cudart.ts";
import type { CudaDevice } from "./device.ts";
import type { DeviceBuffer, PinnedBuffer } from "./memory.ts";

/** Copies to pinned memory of its own, on the stream of downloads. */
export class CudaDownload {
  readonly #device: CudaDevice;
  readonly #pinned: PinnedBuffer;
  readonly #floats: Float32Array<ArrayBuffer>;
  /** Reached when the words to copy are computed, and when they are copied. */
  readonly #computed: Deno.PointerValue;
  readonly #copied: Deno.PointerValue;

  constructor(device: CudaDevice, words: number) {
    this.#device = device;
    this.#pinned = device.allocatePinned(4 * Math.max(words, 1));
    const { buffer, byteOffset } = this.#pinned.bytes;
    this.#floats = new Float32Array(buffer, byteOffset, words);
    this.#computed = device.makeEvent(false);
    this.#copied = device.makeEvent(false);
  }

  begin(source: DeviceBuffer, words: number): void {
    const { libraries: { runtime }, stream, downloadStream, counters } = this.#device;
    runtime.cudaEventRecord(this.#computed, stream);
    runtime.cudaStreamWaitEvent(downloadStream, this.#computed, 0);
    const bytes = BigInt(4 * words);
    runtime.cudaMemcpyAsync(this.#pinned.address, source.address, bytes, Cuda.memcpyDeviceToHost, downloadStream);
    runtime.cudaEventRecord(this.#copied, downloadStream);
    counters.bytesToHost += 4 * words;
  }

  wait(): Float32Array<ArrayBuffer> {
    this.#device.libraries.runtime.cudaEventSynchronize(this.#copied);
    return this.#floats;
  }
}
