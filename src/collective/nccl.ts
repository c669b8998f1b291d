/**
 * Ranks with a GPU each. Dense parameters and the rows on the device are replicas that every rank updates alike from
 * gradients that NCCL combines; what lies in host memory the ranks of a host share.
 */
import type { Backend, Buffer, Communicator } from "../backend/backend.ts";
import type { Collective, Share } from "./collective.ts";

/** The ranks that share a rank's host memory, and its place among them. */
export interface Neighbours {
  readonly writer: number;
  readonly writers: number;
  /** Returns once all of them have called it. */
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
  readonly #neighbours: Neighbours;

  constructor(device: Backend, devices: Communicator, neighbours: Neighbours) {
    this.rank = devices.rank;
    this.ranks = devices.ranks;
    this.writer = neighbours.writer;
    this.writers = neighbours.writers;
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
