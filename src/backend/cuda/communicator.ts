/**
 * NCCL between the devices of several ranks, on the stream of the operations, so that a recorded step contains the
 * exchanges.
 */
import { Collectives } from "../../../ffi/nccl.ts";
import { pointerAt } from "../../../ffi/pointer.ts";
import type { Buffer, DeviceCollectives } from "../backend.ts";
import type { CudaDevice } from "./device.ts";
import { DeviceBuffer } from "./memory.ts";

/** One device's side of a communicator. It lives as long as the device. */
export class CudaCommunicator implements DeviceCollectives {
  readonly #rank: number;
  readonly #ranks: number;
  readonly #device: CudaDevice;
  readonly #handle: Deno.PointerValue;
  #left = false;

  /** Returns when all ranks have joined. */
  constructor(device: CudaDevice, id: Uint8Array, rank: number, ranks: number) {
    const nccl = device.libraries.nccl();
    this.#rank = rank;
    this.#ranks = ranks;
    this.#device = device;
    this.#handle = pointerAt(device.made((out) => nccl.ncclCommInitRank(out, ranks, new Uint8Array(id), rank)));
    device.own(() => {
      if (!this.#left) nccl.ncclCommDestroy(this.#handle);
    });
  }

  allReduce(words: number, buffer: Buffer): void {
    const { address } = this.#check(buffer, words);
    const { libraries, stream } = this.#device;
    const { float32, sum } = Collectives;
    libraries.nccl().ncclAllReduce(address, address, BigInt(words), float32, sum, this.#handle, stream);
    // Assumes a ring or a tree: each word is summed on one rank, which receives it from all others and sends them the
    // sum.
    const rank = this.#rank, ranks = this.#ranks;
    const share = Math.floor(words * (rank + 1) / ranks) - Math.floor(words * rank / ranks);
    this.#count(4 * ((ranks - 1) * share + words - share));
  }

  allGather(own: Buffer, all: Buffer): void {
    const { words } = own;
    const [source, target] = [this.#check(own, words), this.#check(all, this.#ranks * words)];
    const { libraries, stream } = this.#device;
    const { float32 } = Collectives;
    libraries.nccl().ncclAllGather(source.address, target.address, BigInt(words), float32, this.#handle, stream);
    this.#count(4 * (this.#ranks - 1) * words);
  }

  abort(): void {
    if (this.#left) return;
    this.#left = true;
    try {
      this.#device.libraries.nccl().ncclCommAbort(this.#handle);
    } catch {
      // An error of a broken device, which is the reason for leaving.
    }
  }

  #check(buffer: Buffer, words: number): DeviceBuffer {
    if (!(buffer instanceof DeviceBuffer)) throw new TypeError("Cannot exchange a buffer that is not on the device");
    if (words > buffer.words) {
      throw new RangeError(`Cannot exchange ${words} words of ${buffer.label}: it has ${buffer.words}`);
    }
    return buffer;
  }

  #count(bytes: number): void {
    if (this.#device.recording) {
      this.#device.recordedBytesFromRanks += bytes;
    } else {
      this.#device.counters.launches++;
      this.#device.counters.bytesFromRanks += bytes;
    }
  }
}
