/** The processes of a run that mpirun or srun started: how many there are, which hosts they are on, and how they agree. */
import { existsSync } from "node:fs";
import { type Communicator, consecutive, type Mpi, MpiError, openMpi, type Request } from "../../ffi/mpi.ts";
import { LibraryError } from "../../ffi/library.ts";
import { closeSharedPages, createSharedPages, mapSharedPages, type SharedPages } from "../../ffi/shared_pages.ts";
import { HotsetError, messageOf } from "../errors.ts";
import { PeerFailed, type Team, together } from "../team.ts";
import { ClusterTeam } from "./cluster_team.ts";

/** The largest of the flags that ranks agree on, each a bit. */
const MOST_FLAG = 2;
/** Names the host of a process, in place of the machine's own name. */
const HOST_VARIABLE = "HOTSET_HOST";
const HOST_BYTES = 256;
/** Seconds without an answer after which the other ranks count as gone. */
const PATIENCE_VARIABLE = "HOTSET_MPI_PATIENCE";
const PATIENCE_SECONDS = 120;
/** What is mapped to find out whether the processes of a host can share memory. */
const PROBE_BYTES = 65_536;

/** How the processes of a cluster talk: for the rest of this folder. */
export interface Communicators {
  /** All processes, by rank. */
  readonly world: Communicator;
  /** The processes of this host, by `local`. */
  readonly neighbours: Communicator;
  /** The processes with the same `local` of all hosts, by `host`. */
  readonly peers: Communicator;
  /** The processes of this machine, whether they share memory or not. */
  readonly machine: Communicator;
}

/** The communicators of a cluster. */
export let communicatorsOf: (cluster: Cluster) => Communicators;

/** One process's place among all. Ranks are numbered host by host. */
export class Cluster implements Disposable {
  /** This process, from 0 to `ranks - 1`. */
  readonly rank: number;
  /** Processes. */
  readonly ranks: number;
  /** This process's host, from 0 to `hosts - 1`. */
  readonly host: number;
  /** Groups of processes that share memory: machines, or single processes where they cannot. */
  readonly hosts: number;
  /** This process on its host, from 0 to `locals - 1`. */
  readonly local: number;
  /** Processes of each host; the same number on all. */
  readonly locals: number;
  /** This process among those of its machine, whether they share memory or not; its machine is a number. */
  readonly machine: { readonly number: number; readonly local: number; readonly locals: number };
  /** What computes the messages, for people. */
  readonly library: string;
  /** Why each process counts as a host of its own; undefined if they do not. */
  readonly apartBecause: string | undefined;
  static {
    communicatorsOf = (cluster) => cluster.#communicators;
  }
  readonly #communicators: Communicators;
  readonly #mpi: Mpi;
  readonly #traffic: { bytesSent: number };
  readonly #request: Request;
  readonly #hostRequest: Request;
  readonly #flag = new Float32Array(1);
  readonly #anyFlag = new Float32Array(1);
  #knownError: unknown;

  private constructor(
    mpi: Mpi,
    place: Place,
    machine: Cluster["machine"],
    apartBecause?: string,
    traffic = { bytesSent: 0 },
  ) {
    const { host, hosts, local, locals } = place;
    this.machine = machine;
    this.#mpi = mpi;
    this.#traffic = traffic;
    this.library = mpi.version;
    this.apartBecause = apartBecause;
    this.host = host;
    this.hosts = hosts;
    this.local = local;
    this.locals = locals;
    this.rank = host * locals + local;
    this.ranks = mpi.world.ranks;
    const world = mpi.world.split(0, this.rank);
    this.#communicators = {
      world,
      neighbours: world.split(host, local),
      peers: world.split(local, host),
      machine: world.split(machine.number, machine.local),
    };
    this.#request = world.request();
    this.#hostRequest = this.#communicators.neighbours.request();
  }

  /** Joins the processes that were started together. Throws HotsetError where there is no MPI, or a wrong one. */
  static open(): Cluster {
    try {
      const mpi = openMpi();
      const place = placeOf(mpi.world, Deno.env.get(HOST_VARIABLE) || mpi.host);
      const machine = { number: place.host, local: place.local, locals: place.locals };
      const cluster = place.equal
        ? new Cluster(mpi, place, machine)
        : Cluster.#apart(mpi, machine, "hosts have different numbers of ranks");
      if (cluster.locals === 1) return cluster;
      return cluster.anyone(!cluster.#sharesMemory()) ? cluster.apart("their host does not let them") : cluster;
    } catch (error) {
      if (!(error instanceof LibraryError || error instanceof MpiError)) throw error;
      throw new HotsetError(`Cannot join other processes: ${error.message}`, { cause: error });
    }
  }

  static #apart(mpi: Mpi, machine: Cluster["machine"], because: string, traffic?: { bytesSent: number }): Cluster {
    const { rank, ranks } = mpi.world;
    return new Cluster(mpi, { host: rank, hosts: ranks, local: 0, locals: 1 }, machine, because, traffic);
  }

  /** The same processes, each a host of its own: none shares memory with another. All must call it. */
  apart(because: string): Cluster {
    return Cluster.#apart(this.#mpi, this.machine, because, this.#traffic);
  }

  /** True on the one rank that prints and writes what exists once. */
  get first(): boolean {
    return this.rank === 0;
  }

  /** Whether waiting ends after some time without an answer: while all ranks are at work on the same. */
  expectsAnswers(on: boolean): void {
    const patienceMs = on ? 1000 * patienceSeconds() : Infinity;
    for (const communicator of Object.values(this.#communicators)) communicator.patienceMs = patienceMs;
  }

  /** Returns once all ranks have called it. */
  barrier(): void {
    this.#communicators.world.barrier(this.#request).wait();
  }

  /** Returns once all ranks of this host have called it; what they wrote to shared memory is then visible. */
  hostBarrier(): void {
    if (this.locals > 1) this.#communicators.neighbours.barrier(this.#hostRequest).wait();
  }

  /** Notes the words that this rank sends to each of its peers. */
  countSent(words: ArrayLike<number>): void {
    for (let h = 0; h < this.hosts; h++) if (h !== this.host) this.#traffic.bytesSent += 4 * words[h];
  }

  /** Bytes of gradients and rows that all ranks have sent to other hosts so far. All ranks must call it. */
  bytesSent(): number {
    const sent = new Float64Array([this.#traffic.bytesSent]);
    const all = new Float64Array(this.ranks);
    const parts = consecutive(new Array(this.ranks).fill(sent.byteLength));
    const bytes = (array: Float64Array) => new Uint8Array(array.buffer);
    this.#communicators.world.allGather(bytes(sent), bytes(all), parts, this.#request).wait();
    return all.reduce((sum, rank) => sum + rank, 0);
  }

  /** True on all ranks if it is on one. */
  anyone(flag: boolean): boolean {
    this.#flag[0] = flag ? 1 : 0;
    this.#communicators.world.allReduce("max", this.#flag, this.#anyFlag, this.#request).wait();
    return this.#anyFlag[0] === 1;
  }

  /** The bits that are set on any rank. */
  anyBits(bits: number): number {
    let any = 0;
    for (let bit = 1; bit <= MOST_FLAG; bit <<= 1) {
      if (this.anyone((bits & bit) !== 0)) any |= bit;
    }
    return any;
  }

  /** Copies the first rank's bytes to all ranks. */
  broadcast(bytes: Uint8Array): void {
    this.#communicators.world.broadcast(bytes, 0, this.#request).wait();
  }

  /** The first rank's text, on all ranks. */
  broadcastText(text: string): string {
    const bytes = new TextEncoder().encode(text);
    const length = Uint32Array.of(bytes.length);
    this.broadcast(new Uint8Array(length.buffer));
    const all = this.first ? bytes : new Uint8Array(length[0]);
    this.broadcast(all);
    return new TextDecoder().decode(all);
  }

  /**
   * Work that leaves files, or finds them: done by the first rank, then by the first of every machine, which makes its own
   * where they share no disk, then by the others. If it fails on one rank, that one throws its error and the others
   * PeerFailed.
   */
  async inTurn<T>(work: () => T | Promise<T>): Promise<T> {
    const mine = this.first ? 0 : this.machine.local === 0 ? 1 : 2;
    let done: { result: T } | undefined;
    for (let turn = 0; turn < 3; turn++) {
      let error: unknown;
      if (turn === mine) {
        try {
          done = { result: await work() };
        } catch (thrown) {
          error = thrown ?? new Error("failed");
        }
      }
      this.#agree(error);
    }
    return done!.result;
  }

  /**
   * Work that makes files in these directories, divided: by all ranks, or by those of each machine where they share no
   * disk. Fails as `inTurn` does.
   */
  async asTeam<T>(directories: readonly string[], work: (team: Team) => T | Promise<T>): Promise<T> {
    const team = this.#teamAt(directories);
    let done: { result: T } | undefined;
    try {
      done = { result: await work(team) };
    } catch (error) {
      // What the others of the team do not know is not to be agreed on: they are at other work.
      if (error !== team.failure) throw error;
    }
    this.#agree(team.failure);
    return done!.result;
  }

  /** The ranks that see what the first one writes to the directories: all, or else those of this machine. */
  #teamAt(directories: readonly string[]): ClusterTeam {
    const { world, machine } = this.#communicators;
    const all = new ClusterTeam(world, this.machine);
    let probes: string[] = [];
    try {
      [probes] = all.gather(together(all, () => this.first ? directories.map(newProbe) : []));
    } catch (error) {
      this.#knownError = error;
      throw error;
    }
    const shared = !all.gather(probes.every(existsSync)).includes(false);
    if (this.first) { for (const probe of probes) Deno.removeSync(probe); }
    return shared ? all : new ClusterTeam(machine, this.machine);
  }

  /** Throws on all ranks if one has an error; then all know. */
  #agree(error: unknown): void {
    if (!this.anyone(error !== undefined)) return;
    this.#knownError = error ?? new PeerFailed("Cannot go on: another rank failed");
    throw this.#knownError;
  }

  /**
   * Makes the memory of `target` (whole pages, equal on all ranks of a host) one for the processes of this host. Returns
   * false if any of them was refused it; what their memory is then is open. Zeros, if it is new.
   */
  shareMemory(target: Uint8Array): boolean {
    const place = new Float64Array(2); // the process and its file; NaN if there is none
    const bytes = new Uint8Array(place.buffer);
    let pages: SharedPages | undefined;
    let refused = false;
    try {
      if (this.local === 0) pages = createSharedPages(target.length);
      if (pages !== undefined) place.set([pages.process, pages.file]);
    } catch {
      place.fill(NaN);
    }
    const request = this.#communicators.neighbours.request();
    this.#communicators.neighbours.broadcast(bytes, 0, request).wait();
    try {
      if (Number.isNaN(place[0])) throw new Error("Cannot share memory: the first rank has none");
      mapSharedPages({ process: place[0], file: place[1] }, target);
    } catch {
      refused = true;
    }
    const anyone = this.anyone(refused); // and all have mapped it
    if (pages !== undefined) closeSharedPages(pages);
    return !anyone;
  }

  #sharesMemory(): boolean {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const bytes = new Uint8Array(memory.buffer, 0, PROBE_BYTES);
    if (!this.shareMemory(bytes)) return false;
    bytes[this.local] = this.local + 1;
    this.anyone(false);
    for (let local = 0; local < this.locals; local++) if (bytes[local] !== (local + 1) % 256) return false;
    return true;
  }

  /** True if all ranks know that the work has failed; after any other error the others must be ended. */
  knows(error: unknown): boolean {
    return error === this.#knownError;
  }

  /** Ends all processes at once, this one included, for a rank that cannot go on. */
  abort(exitCode: number): void {
    this.#mpi.abort(exitCode);
  }

  /** Leaves in order: all ranks must. */
  [Symbol.dispose](): void {
    this.#mpi.finalize();
  }
}

/** A new file in a directory, which is made if it is not there. */
function newProbe(directory: string): string {
  try {
    Deno.mkdirSync(directory, { recursive: true });
    return Deno.makeTempFileSync({ dir: directory, prefix: ".shared-" });
  } catch (error) {
    throw new HotsetError(`Cannot write to ${directory}: ${messageOf(error)}`, { cause: error });
  }
}

function patienceSeconds(): number {
  const set = Deno.env.get(PATIENCE_VARIABLE);
  const seconds = Number(set ?? PATIENCE_SECONDS);
  if (seconds > 0) return seconds;
  throw new HotsetError(`Cannot use ${PATIENCE_VARIABLE}=${set}: it must be a number of seconds above 0`);
}

/** Where a process is. */
interface Place {
  readonly host: number;
  readonly hosts: number;
  readonly local: number;
  readonly locals: number;
}

/** Finds a process's place from the names of all processes' hosts; `equal` if all hosts have the same number of them. */
function placeOf(world: Communicator, name: string): Place & { equal: boolean } {
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
  const on = (host: string) => names.filter((other) => other === host).length;
  const mine = names[world.rank];
  return {
    host: distinct.indexOf(mine),
    hosts: distinct.length,
    local: names.slice(0, world.rank).filter((other) => other === mine).length,
    locals: on(mine),
    equal: distinct.every((host) => on(host) === on(mine)),
  };
}
