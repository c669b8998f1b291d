/** Groups of processes that mpirun or srun started together. */
import type { Communicator, Mpi, Request } from "../../ffi/mpi.ts";
import { HostGroup } from "./host_group.ts";
import type { HostVector, Parts, ProcessGroup, Work } from "./process_group.ts";

/** Where a process is among those of its machine. */
export type LocalPlace = Pick<ProcessGroup, "localRank" | "localSize" | "sharesMemory">;

/** The processes of a communicator. */
export class MpiGroup extends HostGroup {
  readonly rank: number;
  readonly size: number;
  readonly localRank: number;
  readonly localSize: number;
  readonly sharesMemory: boolean;
  readonly #mpi: Mpi;
  readonly #communicator: Communicator;
  readonly #request: Request;
  /** Bytes that this rank has sent to others in vectors. */
  traffic = { bytesSent: 0 };
  /** Requests of exchanges that are complete. */
  readonly #free: Exchange[] = [];

  constructor(mpi: Mpi, communicator: Communicator, { localRank, localSize, sharesMemory }: LocalPlace) {
    super();
    this.#mpi = mpi;
    this.rank = communicator.rank;
    this.size = communicator.ranks;
    this.localRank = localRank;
    this.localSize = localSize;
    this.sharesMemory = sharesMemory;
    this.#communicator = communicator;
    this.#request = communicator.request();
  }

  /** How long to wait for the others, in milliseconds, before they count as gone. */
  set timeoutMs(timeoutMs: number) {
    this.#communicator.timeoutMs = timeoutMs;
  }

  barrier(): void {
    if (this.size > 1) this.#communicator.barrier(this.#request).wait();
  }

  allGather<W extends HostVector>(own: W, all: W, parts: Parts): void {
    this.#communicator.allGather(own, all, parts, this.#request).wait();
    this.traffic.bytesSent += own.byteLength * (this.size - 1);
  }

  allToAll<W extends HostVector>(source: W, sent: Parts, target: W, received: Parts): Work {
    const exchange = this.#free.pop() ?? new Exchange(this.#communicator.request(), this.#free);
    this.#communicator.allToAll(source, sent, target, received, exchange.request);
    for (let r = 0; r < this.size; r++) {
      if (r !== this.rank) this.traffic.bytesSent += source.BYTES_PER_ELEMENT * sent.counts[r];
    }
    return exchange.begin();
  }

  /** Moves on what is under way: libraries do so only while they are asked something. */
  poll(): void {
    this.#communicator.poll();
  }

  /** Ends all processes at once, this one included. */
  abort(): void {
    this.#mpi.abort(1);
  }
}

/** An exchange under way; its request is used again. */
class Exchange implements Work {
  readonly request: Request;
  readonly #free: Exchange[];
  #underWay = false;

  constructor(request: Request, free: Exchange[]) {
    this.request = request;
    this.#free = free;
  }

  begin(): this {
    this.#underWay = true;
    return this;
  }

  wait(): void {
    if (!this.#underWay) return;
    this.request.wait();
    this.#underWay = false;
    this.#free.push(this);
  }
}
