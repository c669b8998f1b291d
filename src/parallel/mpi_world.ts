/** The processes of a run started by mpirun or srun: their number, their hosts, and which share memory. */
import { type Communicator, type Mpi, MpiError, openMpi } from "../../ffi/mpi.ts";
import { LibraryError } from "../../ffi/library.ts";
import { HotsetError } from "../errors.ts";
import { MpiGroup } from "./mpi.ts";
import { canShareMemory } from "./node_memory.ts";
import { consecutive, type ProcessGroup, type ProcessGroups } from "./process_group.ts";

/** Environment variable with the host name of a process, instead of the machine's name. */
const HOST_VARIABLE = "HOTSET_HOST";
const HOST_BYTES = 256;
/** Seconds without an answer after which other ranks count as failed; version 0.1 had the second name. */
const TIMEOUT_VARIABLES = ["HOTSET_MPI_TIMEOUT", "HOTSET_MPI_PATIENCE"];
const TIMEOUT_SECONDS = 120;

/** All processes, numbered machine by machine, and the groups that this one belongs to. */
export interface MpiWorld extends ProcessGroup, Disposable {
  /** The processes that share memory with this one: those of its machine, or only itself. */
  readonly node: ProcessGroup;
  /** The processes with the same rank within their nodes, one of each node. */
  readonly peers: ProcessGroup;
  /** The processes of this machine, whether they share memory or not. */
  readonly machine: ProcessGroup;
  /** The groups of a training rank. */
  readonly groups: ProcessGroups;
  /** Name of the MPI library. */
  readonly library: string;
  /** Why processes of one machine do not share memory; undefined if they do. */
  readonly isolationReason: string | undefined;
  /** The same processes, without shared memory. Collective. */
  withoutSharedMemory(because: string): MpiWorld;
  /** Whether waits have a timeout: true while all ranks work on the same thing. */
  expectsAnswers(on: boolean): void;
  /** Progresses pending operations: MPI libraries do so only inside calls. */
  poll(): void;
  /** Bytes of gradients and rows that all ranks have sent to other nodes so far. Collective. */
  bytesSent(): number;
}

/**
 * Joins the processes that were started together. Throws HotsetError if there is no MPI, or another MPI than that of
 * mpirun.
 */
export function openWorld(): MpiWorld {
  try {
    const mpi = openMpi();
    const position = positionOf(mpi.world, Deno.env.get(HOST_VARIABLE) || mpi.host);
    if (!position.equal) return new World(mpi, position, "hosts have different numbers of ranks");
    const world = new World(mpi, position);
    return canShareMemory(world.groups) ? world : world.withoutSharedMemory("their host does not permit it");
  } catch (error) {
    if (!(error instanceof LibraryError || error instanceof MpiError)) throw error;
    throw new HotsetError(`Cannot join other processes: ${error.message}`, { cause: error });
  }
}

class World extends MpiGroup implements MpiWorld {
  readonly node: MpiGroup;
  readonly peers: MpiGroup;
  readonly machine: MpiGroup;
  readonly library: string;
  readonly isolationReason: string | undefined;
  readonly #mpi: Mpi;
  readonly #position: ProcessPosition;

  constructor(mpi: Mpi, position: ProcessPosition, isolationReason?: string) {
    const { machine, localRank, localSize } = position;
    const sharesMemory = isolationReason === undefined;
    const all = sharesMemory ? mpi.world.split(0, machine * localSize + localRank) : mpi.world.split(0, mpi.world.rank);
    const local = { localRank, localSize, sharesMemory };
    super(mpi, all, local);
    const alone = { localRank: 0, localSize: 1, sharesMemory };
    this.machine = new MpiGroup(mpi, all.split(machine, localRank), local);
    const [node, inNode] = sharesMemory ? [machine, localRank] : [all.rank, 0];
    this.node = new MpiGroup(mpi, all.split(node, inNode), sharesMemory ? local : alone);
    this.peers = new MpiGroup(mpi, all.split(inNode, node), sharesMemory ? alone : local);
    this.library = mpi.version;
    this.isolationReason = isolationReason;
    this.#mpi = mpi;
    this.#position = position;
  }

  withoutSharedMemory(because: string): MpiWorld {
    const world = new World(this.#mpi, this.#position, because);
    world.peers.traffic = this.peers.traffic;
    return world;
  }

  get groups(): ProcessGroups {
    return { world: this, node: this.node, peers: this.peers, devices: undefined };
  }

  expectsAnswers(on: boolean): void {
    const timeoutMs = on ? 1000 * timeoutSeconds() : Infinity;
    for (const group of [this, this.node, this.peers, this.machine]) group.timeoutMs = timeoutMs;
  }

  bytesSent(): number {
    return this.gather(this.peers.traffic.bytesSent).reduce((sum, bytes) => sum + bytes, 0);
  }

  [Symbol.dispose](): void {
    this.#mpi.finalize();
  }
}

function timeoutSeconds(): number {
  const name = TIMEOUT_VARIABLES.find((variable) => Deno.env.has(variable));
  if (name === undefined) return TIMEOUT_SECONDS;
  const set = Deno.env.get(name);
  if (Number(set) > 0) return Number(set);
  throw new HotsetError(`Cannot use ${name}=${set}: it must be a number of seconds above 0`);
}

/** Position of a process among all. */
interface ProcessPosition {
  readonly machine: number;
  readonly localRank: number;
  readonly localSize: number;
  /** True if all machines have the same number of processes. */
  readonly equal: boolean;
}

/** Computes a process's position from the machine names of all processes. */
function positionOf(world: Communicator, name: string): ProcessPosition {
  const own = new Uint8Array(HOST_BYTES);
  new TextEncoder().encodeInto(name, own);
  const all = new Uint8Array(HOST_BYTES * world.ranks);
  const parts = consecutive(new Array(world.ranks).fill(HOST_BYTES));
  world.allGather(own, all, parts, world.request()).wait();
  const names = Array.from(
    { length: world.ranks },
    (_, r) => all.subarray(r * HOST_BYTES, (r + 1) * HOST_BYTES).join(),
  );
  const distinct = [...new Set(names)];
  const on = (machine: string) => names.filter((other) => other === machine).length;
  const mine = names[world.rank];
  return {
    machine: distinct.indexOf(mine),
    localRank: names.slice(0, world.rank).filter((other) => other === mine).length,
    localSize: on(mine),
    equal: distinct.every((machine) => on(machine) === on(mine)),
  };
}
