/** The worker's side of WorkerRanks: builds a rank over the shared memory and carries out commands until it is ended. */
/// <reference lib="deno.worker" />
import { openHost } from "../backend/open.ts";
import type { HostBackend, SharedWords } from "../backend/backend.ts";
import { SharedCollective } from "../collective/shared.ts";
import { messageOf } from "../errors.ts";
import type { EmbeddingStore } from "../model/dlrm.ts";
import { Command, Rank, type RankSetup } from "./rank.ts";
import { Control, doneAt, type RankMessage, reportFailure, ringAt, type SharedRunMemory } from "./worker_ranks.ts";

/** Looks for the next command this often before sleeping. */
const SPINS = 2_000;

function attachAll(host: HostBackend, message: RankMessage): RankSetup {
  const { memory, plan, batchShape, rank } = message;
  const one = (shared: SharedWords) => host.attach(shared);
  const maybe = (shared: SharedWords | undefined) => shared && one(shared);
  const store = ({ weights, state }: SharedRunMemory["full"]): EmbeddingStore => ({
    backend: host,
    rows: weights.words / plan.shape.dim,
    weights: one(weights),
    state: maybe(state),
  });
  return {
    plan,
    batchShape,
    device: host,
    host,
    full: store(memory.full),
    hot: memory.hot && store(memory.hot),
    parameters: one(memory.parameters),
    denseState: maybe(memory.denseState),
    gradients: one(memory.gradients[rank]),
    pooledGradients: one(memory.pooledGradients),
    slots: memory.slots.map(one),
    scores: memory.scores.map(one),
    moveRows: one(memory.moveRows),
    moveHotRows: one(memory.moveHotRows),
    losses: one(memory.losses),
    counts: one(memory.counts),
  };
}

async function run(message: RankMessage): Promise<void> {
  const { rank, control, barrier, memory } = message;
  const host = await openHost(message.host);
  const gradients = memory.gradients.map((vector) => host.attach(vector));
  const rankOfModel = new Rank(attachAll(host, message), new SharedCollective(host, rank, barrier, gradients));
  postMessage({});
  for (let next = 0;;) {
    for (let spin = 0; spin < SPINS && Atomics.load(control, Control.posted) === next; spin++);
    while (Atomics.load(control, Control.posted) === next) Atomics.wait(control, Control.posted, next);
    const at = ringAt(gradients.length, next);
    if (control[at] === Command.stop) return postMessage({});
    rankOfModel.execute(control[at], control[at + 1], control[at + 2]);
    Atomics.store(control, doneAt(rank), ++next);
    Atomics.notify(control, doneAt(rank));
  }
}

self.onmessage = ({ data }: MessageEvent<RankMessage>) => {
  run(data).catch((error) => {
    postMessage({ error: messageOf(error) });
    reportFailure(data.control, messageOf(error));
  });
};
