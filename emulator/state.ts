/** The state of an emulated device, independent of the library of a call. */
import { CStrings, Handles } from "./marshal.ts";
import { closeSharedPages, type SharedPages } from "../ffi/shared_pages.ts";
import { DeviceMemory, EmulationError } from "./memory.ts";
import { PtxError } from "./ptx.ts";
import type { Event, Operation, Stream } from "./streams.ts";
import { Traffic } from "./traffic.ts";

/** Options of an emulated device. */
export interface EmulatedOptions {
  /** Memory in bytes; default 16 GiB. */
  readonly memoryBytes?: number;
  /** True to count sectors and bank conflicts, which slows kernels down. */
  readonly countTraffic?: boolean;
  /** True to run copies as early as allowed instead of as late: finds missing waits of the other direction. */
  readonly copiesFirst?: boolean;
  /** Number of GPUs that a program sees; it may make one of them current, and this device is that one. Default 1. */
  readonly devices?: number;
  /** Milliseconds for which ranks wait for each other before a missing rank is an error; default 60,000. */
  readonly timeoutMs?: number;
}

/** Operations of a device since it was created. */
export interface EmulatedCounters {
  /** Number of kernels run, including those of graphs. */
  kernels: number;
  /** Number of calls of cuBLAS, cuBLASLt, cuDNN and NCCL that compute. */
  libraryCalls: number;
  bytesToDevice: number;
  bytesToHost: number;
  /** Bytes received from other ranks. */
  bytesFromRanks: number;
}

/** Status of all runtime and driver calls after a fault: illegal address, as on a GPU. */
const FAULT = 700;

/** An error status of a call that does not break the device. */
class Refusal {
  readonly code: number;

  constructor(code: number) {
    this.code = code;
  }
}

/** Ends a call with a status, such as that of an invalid handle, without breaking the device. */
export function refuse(code: number): never {
  throw new Refusal(code);
}

/** The state behind the symbol tables of all libraries. */
export class DeviceState implements Disposable {
  readonly memory: DeviceMemory;
  readonly traffic: Traffic | undefined;
  readonly counters: EmulatedCounters = {
    kernels: 0,
    libraryCalls: 0,
    bytesToDevice: 0,
    bytesToHost: 0,
    bytesFromRanks: 0,
  };
  readonly strings: CStrings = new CStrings();
  readonly streams: Handles<Stream> = new Handles("streams", 0x10000000n);
  readonly events: Handles<Event> = new Handles("events", 0x20000000n);
  readonly graphs: Handles<Operation[]> = new Handles("graphs", 0x30000000n);
  readonly graphExecutables: Handles<Operation[]> = new Handles("instantiated graphs", 0x40000000n);
  /** All streams. A device-wide wait must reach them even after they are destroyed. */
  readonly allStreams: Stream[] = [];
  /** Pinned host memory by address. */
  readonly pinned: Map<bigint, Uint8Array<ArrayBuffer>> = new Map();
  readonly copiesFirst: boolean;
  readonly devices: number;
  readonly timeoutMs: number;
  /** Shared pages that were created for a communicator which not all ranks have joined yet, by file. */
  readonly pages: Map<number, SharedPages> = new Map();
  /** Communicators with other ranks, to be aborted if the device breaks. */
  readonly joinedCommunicators: { abort(): void }[] = [];
  /** The fault that broke the device; every later call fails. */
  fault: string | undefined;
  /** Handles of each library. */
  protected readonly libraryHandles: Readonly<
    Record<"blas" | "dnn" | "modules" | "communicators" | "blasLt", Handles<unknown>>
  > = {
    blas: new Handles<unknown>("cuBLAS handles", 0x50000000n),
    dnn: new Handles<unknown>("cuDNN objects", 0x60000000n),
    modules: new Handles<unknown>("modules", 0x70000000n),
    communicators: new Handles<unknown>("communicators", 0x80000000n),
    blasLt: new Handles<unknown>("cuBLASLt objects", 0x90000000n),
  };

  constructor(options: EmulatedOptions = {}) {
    this.memory = new DeviceMemory(options.memoryBytes ?? 16 * 2 ** 30);
    this.traffic = options.countTraffic ? new Traffic() : undefined;
    this.copiesFirst = options.copiesFirst ?? false;
    this.devices = options.devices ?? 1;
    this.timeoutMs = options.timeoutMs ?? 60_000;
  }

  /** Runs the body of a call. A fault in it breaks the device, and the call returns `fault`. */
  call(body: () => number | void, fault = FAULT): number {
    if (this.fault !== undefined) return fault;
    try {
      return body() ?? 0;
    } catch (error) {
      if (error instanceof Refusal) return error.code;
      if (!(error instanceof EmulationError || error instanceof PtxError)) throw error;
      this.fault = error.message;
      return fault;
    }
  }

  /** Queues an operation on a stream. Throws EmulationError if the stream does not exist. */
  enqueue(stream: Deno.PointerValue, operation: Operation, doing: string): void {
    this.stream(stream, doing).enqueue(operation);
  }

  stream(handle: Deno.PointerValue, doing: string): Stream {
    const stream = this.streams.get(handle);
    if (stream === undefined) throw new EmulationError(`${doing} uses a stream that does not exist`);
    return stream;
  }

  /** Runs all queued operations. */
  drainAll(): void {
    for (const stream of this.allStreams) stream.drain();
  }

  /** Describes what was neither freed nor destroyed. */
  leaks(): string[] {
    const handles = [
      this.streams,
      this.events,
      this.graphs,
      this.graphExecutables,
      ...Object.values(this.libraryHandles),
    ];
    return [
      ...this.memory.leaks(),
      ...[...this.pinned.values()].map((memory) => `pinned memory of ${memory.length} bytes`),
      ...handles.flatMap((kind) => kind.leaks()),
    ];
  }

  /** Closes the handle of shared pages that were created here. */
  closePages(file: number): void {
    const pages = this.pages.get(file);
    if (pages === undefined || !this.pages.delete(file)) return;
    closeSharedPages(pages);
  }

  /**
   * Aborts communicators of a broken device, so that other ranks stop waiting. Throws EmulationError if the device has
   * no fault but leaks memory or handles.
   */
  [Symbol.dispose](): void {
    for (const file of this.pages.keys()) this.closePages(file);
    if (this.fault !== undefined) { for (const communicator of this.joinedCommunicators) communicator.abort(); }
    const leaks = this.fault === undefined ? this.leaks() : [];
    if (leaks.length > 0) throw new EmulationError(`leaked: ${leaks.join("; ")}`);
  }
}
