/** Groups of ranks with a GPU each. NCCL carries vectors on devices, the ranks' own group everything else. */
import type { Buffer, DeviceBackend, DeviceCollectives } from "../backend/backend.ts";
import type { HostVector, ProcessGroup, RankParts, Work } from "./process_group.ts";

/** One rank's side of a group of GPUs. */
export class NcclGroup implements ProcessGroup<Buffer> {
  readonly #world: ProcessGroup;
  readonly #devices: DeviceCollectives;

  private constructor(world: ProcessGroup, devices: DeviceCollectives) {
    this.#world = world;
    this.#devices = devices;
  }

  /** Connects the devices of all ranks; returns when all have joined. */
  static connect(world: ProcessGroup, device: DeviceBackend): NcclGroup {
    const id = world.broadcast(world.rank === 0 ? [...device.communicatorId()] : []);
    return new NcclGroup(world, device.connect(Uint8Array.from(id), world.rank, world.size));
  }

  get rank(): number {
    return this.#world.rank;
  }
  get size(): number {
    return this.#world.size;
  }
  get localRank(): number {
    return this.#world.localRank;
  }
  get localSize(): number {
    return this.#world.localSize;
  }
  get sharesMemory(): boolean {
    return this.#world.sharesMemory;
  }
  get failure(): unknown {
    return this.#world.failure;
  }

  barrier(): void {
    this.#world.barrier();
  }

  /** Vectors on devices are summed in the order of the device's stream, like its other operations. */
  allReduce(vector: Float32Array | Uint32Array | Buffer): void {
    if (ArrayBuffer.isView(vector)) this.#world.allReduce(vector);
    else this.#devices.allReduce(vector.words, vector);
  }

  /** On devices, all parts have the same size and are consecutive. */
  allGather<W extends HostVector | Buffer>(own: W, all: W, parts: RankParts): void {
    if (ArrayBuffer.isView(own)) this.#world.allGather<HostVector>(own, all as HostVector, parts);
    else this.#devices.allGather(own, all as Buffer);
  }

  allToAll<W extends HostVector>(source: W, sent: RankParts, target: W, received: RankParts): Work {
    return this.#world.allToAll(source, sent, target, received);
  }

  broadcast<T>(value: T): T {
    return this.#world.broadcast(value);
  }

  gather<T>(value: T): T[] {
    return this.#world.gather(value);
  }

  agree(error?: unknown): void {
    this.#world.agree(error);
  }

  abort(error: unknown): void {
    this.#world.abort(error); // report the error before others notice that the device is gone
    this.#devices.abort();
  }
}
