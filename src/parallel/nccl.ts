/** Groups of ranks with a GPU each. NCCL carries vectors on devices, the ranks' own group everything else. */
import type { Buffer, DeviceBackend, DeviceCollectives } from "../backend/backend.ts";
import { HostGroup } from "./host_group.ts";
import type { HostVector, ProcessGroup, RankParts, Work } from "./process_group.ts";

/** One rank's side of a group of GPUs. */
export class NcclGroup extends HostGroup implements ProcessGroup<Buffer> {
  readonly #world: ProcessGroup;
  readonly #devices: DeviceCollectives;

  private constructor(world: ProcessGroup, devices: DeviceCollectives) {
    super(world);
    this.#world = world;
    this.#devices = devices;
  }

  /** Connects the devices of all ranks; returns when all have joined. */
  static connect(world: ProcessGroup, device: DeviceBackend): NcclGroup {
    const id = world.broadcast(world.rank === 0 ? [...device.communicatorId()] : []);
    return new NcclGroup(world, device.connect(Uint8Array.from(id), world.rank, world.size));
  }

  barrier(): void {
    this.#world.barrier();
  }

  /** Vectors on devices are summed in the order of the device's stream, like its other operations. */
  override allReduce(vector: Float32Array | Uint32Array | Buffer): void {
    if (ArrayBuffer.isView(vector)) super.allReduce(vector);
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

  abort(error: unknown): void {
    this.#world.abort(error); // report the error before others notice that the device is gone
    this.#devices.abort();
  }
}
