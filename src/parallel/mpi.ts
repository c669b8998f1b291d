/** Groups of processes started by mpirun or srun. */
import type { Communicator, Mpi, Request } from "../../ffi/mpi.ts";
import { type GroupPlace, HostGroup } from "./host_group.ts";
import type { HostVector, RankParts, Work } from "./process_group.ts";

/** The rank of a process on its machine, and their number. */
type LocalPlace = Omit<GroupPlace, "rank" | "size">;

/** The processes of an MPI communicator. */
export class MpiGroup extends HostGroup {
  readonly #mpi: Mpi;
  readonly #communicator: Communicator;
  readonly #request: Request;
  /** Bytes that this rank has sent to others in vectors. */
  traffic = { bytesSent: 0 };
  /** Requests of exchanges. */
  readonly #exchanges: Request[] = [];

  constructor(mpi: Mpi, communicator: Communicator, local: LocalPlace) {
    super({ ...local, rank: communicator.rank, size: communicator.ranks });
    this.#mpi = mpi;
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
    let request = this.#exchanges.find(({ pending }) => !pending);
    if (request === undefined) this.#exchanges.push(request = this.#communicator.request());
    for (let r = 0; r < this.size; r++) {
      if (r !== this.rank) this.traffic.bytesSent += source.BYTES_PER_ELEMENT * sent.counts[r];
    }
    return this.#communicator.allToAll(source, sent, target, received, request);
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
