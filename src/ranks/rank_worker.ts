/**
 * The worker's side of WorkerRanks: constructs a rank over the shared memory and executes commands until it is ended.
 */
/// <reference lib="deno.worker" />
import { openDevice, openHost } from "../backend/open.ts";
import type { Buffer, DeviceBackend, HostBackend, SharedWords } from "../backend/backend.ts";
import { ALONE, ONE_RANK } from "../parallel/host_group.ts";
import { NcclGroup } from "../parallel/nccl.ts";
import type { ProcessGroup } from "../parallel/process_group.ts";
import { ThreadGroup } from "../parallel/threads.ts";
import { messageOf } from "../errors.ts";
import { Mailbox } from "../threads/mailbox.ts";
import type { RowBuffers, RowMatrix } from "../embedding/tables.ts";
import { planModel } from "../model/shape.ts";
import { Command, Rank } from "./rank.ts";
import { allocateOnDevice, mapBuffers } from "./train_state.ts";
import { doneAt, POSTED, type RankMessage, ringAt } from "./worker_ranks.ts";

/** Polls for the next command before sleeping. */
const SPINS = 2_000;

/** The memory that all ranks share, as buffers of this rank's backend. */
function attachShared(host: HostBackend, { memory, model, batchShape, mostDistinct }: RankMessage) {
  const plan = planModel(model);
  const one = (shared: SharedWords) => host.attach(shared);
  const matrix = ({ weights, state }: RowBuffers<SharedWords>): RowMatrix => ({
    backend: host,
    rows: weights.words / plan.shape.dim,
    weights: one(weights),
    state: state && one(state),
  });
  return { ...{ plan, batchShape, mostDistinct, host, cache: undefined }, ...mapBuffers(memory, one, matrix) };
}

/** A rank that computes in host memory. */
function rankOnHost(host: HostBackend, message: RankMessage, group: ProcessGroup): Rank {
  const groups = { world: group, node: group, peers: ALONE, devices: undefined };
  return new Rank({ ...attachShared(host, message), device: host }, groups);
}

/** A rank with its own device, connected to the others if there are any. */
function rankOnDevice(
  host: HostBackend,
  device: DeviceBackend,
  message: RankMessage,
  devices: ProcessGroup<Buffer> | undefined,
): Rank {
  const shared = attachShared(host, message);
  const options = { ...shared, ...message.devices, ranks: message.group.size, device };
  const groups = devices === undefined ? ONE_RANK : { world: devices, node: devices, peers: ALONE, devices };
  return new Rank(allocateOnDevice({ ...shared, device: host }, options), groups);
}

async function run(message: RankMessage, group: ThreadGroup): Promise<void> {
  const { rank, devices } = message;
  const host = await openHost(message.host);
  if (devices === undefined) return carryOut(rankOnHost(host, message, group), host.name, message);
  using device = await openDevice({ ...devices.options, ordinal: rank });
  const connected = group.size === 1 ? undefined : NcclGroup.connect(group, device);
  try {
    carryOut(rankOnDevice(host, device, message, connected), device.name, message);
  } catch (error) {
    connected?.abort(error); // while the device still exists
    throw error;
  }
}

/** Executes commands until the one to stop. Throws if a rank has failed, instead of executing those after it. */
function carryOut(rank: Rank, device: string, { rank: number, group }: RankMessage): void {
  const mail = new Mailbox(group.mailbox);
  const { words } = mail;
  postMessage({ device });
  for (let next = 0;;) {
    for (let spin = 0; spin < SPINS && mail.get(POSTED) === next; spin++);
    mail.wait(POSTED, next);
    const at = ringAt(group.size, next);
    if (words[at] === Command.stop) break;
    if (mail.failed) throw new Error("Cannot continue: another rank has failed");
    rank.execute(words[at], words[at + 1], words[at + 2]);
    mail.put(doneAt(number), ++next);
  }
  postMessage({ device });
}

self.onmessage = ({ data }: MessageEvent<RankMessage>) => {
  const group = new ThreadGroup(data.group, data.rank);
  run(data, group).catch((error) => {
    group.abort(error);
    postMessage({ error: messageOf(error) });
  }).finally(() => self.close()); // libraries that a rank opened crash when their worker is terminated
};
