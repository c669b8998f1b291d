/** Groups of processes started by mpirun or srun. */
import type { Communicator, Mpi, Request } from "../../ffi/mpi.ts";
import { HostGroup } from "./host_group.ts";
import type { HostVector, ProcessGroup, RankParts, Work } from "./process_group.ts";

/** The rank of a process on its machine, and their number. */
export type LocalPlace = Pick<ProcessGroup, "localRank" | "localSize" | "sharesMemory">;

/** The processes of an MPI communicator. */
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
  /** Requests that are complete and can be reused. */
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

  /** Milliseconds to wait for other ranks before they count as failed. */
  set timeoutMs(timeoutMs: number) {
    this.#communicator.timeoutMs = timeoutMs;
  }

  barrier(): void {
    if (this.size > 1) this.#communicator.barrier(this.#request).wait();
  }

  allGather<W extends HostVector>(own: W, all: W, parts: RankParts): void {
    this.#communicator.allGather(own, all, parts, this.#request).wait();
    this.traffic.bytesSent += own.byteLength * (this.size - 1);
  }

  allToAll<W extends HostVector>(source: W, sent: RankParts, target: W, received: RankParts): Work {
    const exchange = this.#free.pop() ?? new Exchange(this.#communicator.request(), this.#free);
    this.#communicator.allToAll(source, sent, target, received, exchange.request);
    for (let r = 0; r < this.size; r++) {
      if (r !== this.rank) this.traffic.bytesSent += source.BYTES_PER_ELEMENT * sent.counts[r];
    }
    return exchange.begin();
  }

  /** Progresses pending operations: MPI libraries do so only inside calls. */
  poll(): void {
    this.#communicator.poll();
  }

  /** Ends all processes at once, including this one. */
  abort(): void {
    this.#mpi.abort(1);
  }
}

/** A pending exchange; its request is reused. */
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
