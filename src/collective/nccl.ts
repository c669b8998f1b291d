/**
 * Ranks with a GPU each. Dense parameters and the rows on the device are replicas that every rank updates alike from
 * gradients that NCCL combines; what lies in host memory the ranks of a host share.
 */
import type { Backend, Buffer, Communicator } from "../backend/backend.ts";
import type { Collective, Share } from "./collective.ts";

/** Where the ranks that share host memory wait for each other. */
export interface Barrier {
  wait(): void;
}

/** One rank of a group of GPUs. */
export class NcclCollective implements Collective {
  readonly rank: number;
  readonly ranks: number;
  readonly writer: number;
  readonly writers: number;
  readonly devices: Communicator;
  readonly #device: Backend;
  readonly #neighbours: Barrier;

  /** `neighbours` are the ranks that share this one's host memory, all in the order of ranks. */
  constructor(device: Backend, devices: Communicator, neighbours: Barrier) {
    this.rank = this.writer = devices.rank;
    this.ranks = this.writers = devices.ranks;
    this.devices = devices;
    this.#device = device;
    this.#neighbours = neighbours;
  }

  share(words: number): Share {
    return { first: 0, words };
  }

  sum(gradients: Buffer): void {
    this.devices.allReduce(gradients.words, gradients);
  }

  /** Also waits for this rank's device, so that no other device waits for one whose rank sleeps here. */
  barrier(): void {
    this.#device.synchronize();
    this.#neighbours.wait();
  }
}
