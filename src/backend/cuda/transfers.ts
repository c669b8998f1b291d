/**
 * Copies between host and device. An upload from any memory uses one of two slots: the words are copied to pinned
 * memory, then to the device on the copy stream, then on the device to the target, in the order of the operations. The
 * transfer therefore overlaps earlier operations, those on the target included. An upload from pinned memory, which is
 * how batches get to a device, is one copy on the copy stream.
 */
import { addressOf } from "../../../ffi/pointer.ts";
import { Cuda } from "../../../ffi/cudart.ts";
import { HotsetError } from "../../errors.ts";
import type { Upload } from "../backend.ts";
import type { CudaDevice } from "./device.ts";
import { type DeviceBuffer, own, type PinnedBuffer } from "./memory.ts";
import { SLOT_BYTES, UPLOAD_SLOTS } from "./sizes.ts";

interface Slot {
  readonly pinned: PinnedBuffer;
  readonly staging: DeviceBuffer;
  /** Reached when the copy from pinned memory is complete and the host may fill it again. */
  readonly copied: Deno.PointerValue;
  /** Reached when the copy on the device is complete and the slot's device memory may be overwritten. */
  readonly placed: Deno.PointerValue;
}

/** Copies between host and device. */
export class Transfers {
  readonly #device: CudaDevice;
  readonly #slots: readonly Slot[];
  #next = 0;
  /** `Upload`s' event of the one that began last: to be recorded when the next begins. */
  #lastUsed: Deno.PointerValue = null;

  /** Allocates 8 MiB of pinned memory and the same on the device. */
  constructor(device: CudaDevice) {
    this.#device = device;
    this.#slots = Array.from({ length: UPLOAD_SLOTS }, (_, number) => ({
      pinned: device.allocatePinned(SLOT_BYTES),
      staging: device.allocate(SLOT_BYTES / 4, `upload slot ${number}`),
      copied: device.makeEvent(false),
      placed: device.makeEvent(false),
    }));
    device.synchronize(); // the slots are zeroed on another stream than the one that fills them
  }

  /**
   * Copies the bytes of `source` to the beginning of `target`, after all operations so far. Returns when `source` may
   * be reused. Throws RangeError if they do not fit, and CudaError.
   */
  upload(source: Uint8Array, target: DeviceBuffer): void {
    this.#check("upload", source.length, target);
    const { runtime } = this.#device.libraries;
    const { stream, copyStream, counters } = this.#device;
    for (let first = 0; first < source.length; first += SLOT_BYTES) {
      const piece = source.length <= SLOT_BYTES ? source : source.subarray(first, first + SLOT_BYTES);
      const { pinned, staging, copied, placed } = this.#take();
      const bytes = BigInt(piece.length);
      pinned.bytes.set(piece);
      runtime.cudaStreamWaitEvent(copyStream, placed, 0);
      runtime.cudaMemcpyAsync(staging.address, pinned.address, bytes, Cuda.memcpyHostToDevice, copyStream);
      runtime.cudaEventRecord(copied, copyStream);
      runtime.cudaStreamWaitEvent(stream, copied, 0);
      const place = target.address + BigInt(first);
      runtime.cudaMemcpyAsync(place, staging.address, bytes, Cuda.memcpyDeviceToDevice, stream);
      runtime.cudaEventRecord(placed, stream);
      counters.bytesToDevice += piece.length;
    }
  }

  /**
   * Pins the sources, one or more parts of one memory, and what is between them, until the device is disposed. Returns
   * an upload from each, or why the system refuses to pin them. An upload throws RangeError if its words do not fit.
   */
  newUploads(sources: readonly Uint8Array[]): Upload[] | string {
    return this.#device.pin(sources) ?? sources.map((source) => this.#newUpload(source));
  }

  #newUpload(source: Uint8Array): Upload {
    const { libraries: { runtime }, stream, copyStream, counters } = this.#device;
    const address = addressOf(source);
    /** Reached when the copy is complete, and when the operations on its target are. */
    const copied = this.#device.makeEvent(false), used = this.#device.makeEvent(false);
    let isFirst = true;
    return {
      begin: (words, to) => {
        const target = own(to), bytes = 4 * words;
        if (bytes > source.length) throw new RangeError(`Cannot upload ${bytes} bytes of ${source.length}`);
        this.#check("upload", bytes, target);
        if (this.#lastUsed !== null) runtime.cudaEventRecord(this.#lastUsed, stream);
        if (isFirst) runtime.cudaEventRecord(used, stream); // the target is zeroed on that stream
        isFirst = false;
        this.#lastUsed = used;
        runtime.cudaStreamWaitEvent(copyStream, used, 0);
        runtime.cudaMemcpyAsync(target.address, address, BigInt(bytes), Cuda.memcpyHostToDevice, copyStream);
        runtime.cudaEventRecord(copied, copyStream);
        runtime.cudaStreamWaitEvent(stream, copied, 0);
        counters.bytesToDevice += bytes;
      },
      wait: () => runtime.cudaEventSynchronize(copied),
    };
  }

  /**
   * Fills `target` from the beginning of `source`, after all operations so far. Waits for the copy. Throws RangeError if
   * `source` is shorter, and CudaError, also of earlier operations.
   */
  download(source: DeviceBuffer, target: Uint8Array): void {
    this.#check("download", target.length, source);
    const { runtime } = this.#device.libraries;
    const { stream, counters } = this.#device;
    for (let first = 0; first < target.length; first += SLOT_BYTES) {
      const piece = target.subarray(first, first + SLOT_BYTES);
      const { pinned } = this.#take();
      const place = source.address + BigInt(first);
      runtime.cudaMemcpyAsync(pinned.address, place, BigInt(piece.length), Cuda.memcpyDeviceToHost, stream);
      this.#device.synchronize();
      piece.set(pinned.bytes.subarray(0, piece.length));
      counters.bytesToHost += piece.length;
    }
  }

  #check(verb: string, bytes: number, { label, words }: DeviceBuffer): void {
    if (bytes > 4 * words) throw new RangeError(`Cannot ${verb} ${bytes} bytes: ${label} has ${4 * words}`);
    if (this.#device.recording) throw new HotsetError(`Cannot ${verb} ${label}: a recorded sequence may not copy`);
  }

  /** The least recently used slot, after its pinned memory is free. */
  #take(): Slot {
    const slot = this.#slots[this.#next];
    this.#next = (this.#next + 1) % UPLOAD_SLOTS;
    this.#device.libraries.runtime.cudaEventSynchronize(slot.copied);
    return slot;
  }
}
