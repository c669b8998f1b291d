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

/** What a device has done. */
export interface EmulatedCounters {
  /** Kernels run, those of graphs included. */
  kernels: number;
  /** Calls of cuBLAS, cuDNN and NCCL that compute. */
  libraryCalls: number;
  bytesToDevice: number;
  bytesToHost: number;
  /** Bytes that exchanges between ranks brought here. */
  bytesFromRanks: number;
}

/** What the runtime and the driver answer once the device is broken: an illegal address, as on a GPU. */
const FAULT = 700;

/** A status that a call answers with, without harm to the device. */
class Refusal {
  readonly code: number;

  constructor(code: number) {
    this.code = code;
  }
}

/** Ends a call with a status that leaves the device as it is, such as a wrong handle. */
export function refuse(code: number): never {
  throw new Refusal(code);
}

/** The state behind the symbol tables. */
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
  /** Every stream and event, as a device-wide wait has to reach them. */
  readonly allStreams: Stream[] = [];
  /** Pinned host memory by address. */
  readonly pinned: Map<bigint, Uint8Array<ArrayBuffer>> = new Map();
  readonly copiesFirst: boolean;
  readonly devices: number;
  readonly timeoutMs: number;
  /** Pages made for ranks to meet in that not all of them have yet, by file. */
  readonly pages: Map<number, SharedPages> = new Map();
  /** Every meeting with other ranks; to be ended when the device is broken. */
  readonly meetings: { abort(): void }[] = [];
  /** What broke the device; every later call fails with it. */
  fault: string | undefined;
  /** Handles of each library. */
  protected readonly libraryHandles = {
    blas: new Handles<unknown>("cuBLAS handles", 0x50000000n),
    dnn: new Handles<unknown>("cuDNN objects", 0x60000000n),
    modules: new Handles<unknown>("modules", 0x70000000n),
    communicators: new Handles<unknown>("communicators", 0x80000000n),
  } as const;

  constructor(options: EmulatedOptions = {}) {
    this.memory = new DeviceMemory(options.memoryBytes ?? 16 * 2 ** 30);
    this.traffic = options.countTraffic ? new Traffic() : undefined;
    this.copiesFirst = options.copiesFirst ?? false;
    this.devices = options.devices ?? 1;
    this.timeoutMs = options.timeoutMs ?? 60_000;
  }

  /** Runs the body of a call; a finding inside it breaks the device and is answered with a fault. */
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

  /** Queues an operation on a stream. Throws EmulationError for a stream that does not exist. */
  enqueue(stream: Deno.PointerValue, operation: Operation, doing: string): void {
    this.stream(stream, doing).enqueue(operation);
  }

  stream(handle: Deno.PointerValue, doing: string): Stream {
    const stream = this.streams.get(handle);
    if (stream === undefined) throw new EmulationError(`${doing} uses a stream that does not exist`);
    return stream;
  }

  /** Runs everything that is queued. */
  drainAll(): void {
    for (const stream of this.allStreams) stream.drain();
  }

  /** What was neither freed nor destroyed, in words. */
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

  /** Gives up the handle of pages made here. */
  closePages(file: number): void {
    const pages = this.pages.get(file);
    if (pages === undefined || !this.pages.delete(file)) return;
    closeSharedPages(pages);
  }

  /** Ranks that wait for a broken device go on waiting no more. Throws EmulationError if a device without a fault was left with leaks. */
  [Symbol.dispose](): void {
    for (const file of this.pages.keys()) this.closePages(file);
    if (this.fault !== undefined) { for (const meeting of this.meetings) meeting.abort(); }
    const leaks = this.fault === undefined ? this.leaks() : [];
    if (leaks.length > 0) throw new EmulationError(`leaked: ${leaks.join("; ")}`);
  }
}
