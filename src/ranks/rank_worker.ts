/** The worker's side of WorkerRanks: builds a rank over the shared memory and carries out commands until it is ended. */
/// <reference lib="deno.worker" />
import { openDevice, openHost } from "../backend/open.ts";
import type { Communicator, DeviceBackend, HostBackend, SharedWords } from "../backend/backend.ts";
import { NcclCollective } from "../collective/nccl.ts";
import { SharedBarrier, SharedCollective } from "../collective/shared.ts";
import { messageOf } from "../errors.ts";
import { Mailbox } from "../threads/mailbox.ts";
import type { RowMatrix } from "../embedding/tables.ts";
import { planModel } from "../model/shape.ts";
import { Command, Rank } from "./rank.ts";
import { allocateOnDevice, allocateTables } from "./rank_group.ts";
import { doneAt, mapBuffers, POSTED, type RankMessage, ringAt, type StoreBuffers } from "./worker_ranks.ts";

/** Looks for the next command this often before sleeping. */
const SPINS = 2_000;

/** What all ranks share, as this one's backend sees it. */
function attachShared(host: HostBackend, { memory, model, batchShape, mostDistinct }: RankMessage) {
  const plan = planModel(model);
  const one = (shared: SharedWords) => host.attach(shared);
  const store = ({ weights, state }: StoreBuffers<SharedWords>): RowMatrix => ({
    backend: host,
    rows: weights.words / plan.shape.dim,
    weights: one(weights),
    state: state && one(state),
  });
  return { ...{ plan, batchShape, mostDistinct, host }, ...mapBuffers(memory, one, store) };
}

/** A rank that computes in host memory like the others. */
function rankOnHost(host: HostBackend, message: RankMessage, barrier: SharedBarrier): Rank {
  const { rank } = message;
  const shared = attachShared(host, message);
  const collective = new SharedCollective(host, rank, barrier, shared.gradients);
  return new Rank({ ...shared, device: host, gradients: shared.gradients[rank] }, collective);
}

/** A rank with a device of its own, connected to the others. */
function rankOnDevice(
  host: HostBackend,
  device: DeviceBackend,
  message: RankMessage,
  barrier: SharedBarrier,
): { rank: Rank; communicator: Communicator } {
  const { rank, ranks, communicatorId, batchShape, mostDistinct } = message;
  const { hotRows, tables } = message.devices!;
  if (rank === 0) communicatorId.set(device.communicatorId());
  barrier.wait(); // all have a device, and the id is there
  const communicator = device.connect(communicatorId.slice(), rank, ranks);
  const shared = attachShared(host, message);
  const options = { plan: shared.plan, batchShape, hotRows, mostDistinct, ranks, device, host, tables: device };
  const { gradients: [gradients], ...own } = allocateOnDevice(options, 1);
  const full = tables ? allocateTables(options) : shared.full;
  const collective = new NcclCollective(device, communicator, {
    writer: rank,
    writers: ranks,
    wait: () => barrier.wait(),
  });
  return { rank: new Rank({ ...shared, ...own, device, full, gradients }, collective), communicator };
}

async function run(message: RankMessage): Promise<void> {
  const { rank, ranks, devices } = message;
  const host = await openHost(message.host);
  const barrier = new SharedBarrier(message.barrier, ranks);
  if (devices === undefined) return carryOut(rankOnHost(host, message, barrier), host.name, message);
  using device = await openDevice({ ...devices.options, ordinal: rank });
  const placed = rankOnDevice(host, device, message, barrier);
  try {
    carryOut(placed.rank, device.name, message);
  } catch (error) {
    new Mailbox(message.mailbox).fail(error); // before the others notice
    placed.communicator.abort();
    throw error;
  }
}

/** Carries out commands until it is told to stop. */
function carryOut(rank: Rank, device: string, { rank: number, ranks, mailbox }: RankMessage): void {
  const mail = new Mailbox(mailbox);
  const { words } = mail;
  postMessage({ device });
  for (let next = 0;;) {
    for (let spin = 0; spin < SPINS && mail.get(POSTED) === next; spin++);
    mail.wait(POSTED, next);
    const at = ringAt(ranks, next);
    if (words[at] === Command.stop) break;
    rank.execute(words[at], words[at + 1], words[at + 2]);
    mail.put(doneAt(number), ++next);
  }
  postMessage({ device });
}

self.onmessage = ({ data }: MessageEvent<RankMessage>) => {
  run(data).catch((error) => {
    postMessage({ error: messageOf(error) });
    new Mailbox(data.mailbox).fail(error);
  }).finally(() => self.close()); // libraries that a rank opened do not survive its being terminated
};
