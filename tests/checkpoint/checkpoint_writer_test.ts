/**
 * The coordinator's side of the checkpoint writer: errors of its worker, and full speed while the coordinator waits.
 */
import assert from "node:assert/strict";
import { cpuOptions, openHost } from "../../src/backend/open.ts";
import { HotsetError } from "../../src/errors.ts";
import type { CheckpointBody } from "../../src/checkpoint/checkpoint.ts";
import { Mailbox } from "../../src/threads/mailbox.ts";
import { CheckpointWriter, Mail, type WriterMemory } from "../../src/checkpoint/checkpoint_writer.ts";
import { ShuffleScheduler } from "../../src/schedule/shuffle_scheduler.ts";
import { localModel } from "../support/local_model.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

/** More rows than the journal has room for, in two chunks. */
const ROWS = 70_000;
const SHAPE = {
  dim: 16,
  tableRows: [ROWS],
  bottom: [2, 16],
  top: [1],
  interaction: "dot" as const,
  optimizer: "sgd" as const,
};
const BATCHES = { batchSize: 2, denseFeatures: 2, tables: 1, bags: false, lookupCapacity: 2 };
const BODY: CheckpointBody = {
  model: SHAPE,
  seed: 1,
  dataset: "0123456789abcdef",
  run: "0123456789abcdef",
  state: {
    ...{ epoch: 0, step: 1, samples: 2, optimizerSteps: 1, bestAuc: null, evaluationsSinceBest: 0, finished: false },
    scheduler: new ShuffleScheduler({ cold: 1, hot: 0 }, "hot", 50).state,
  },
};

/** A writer that is started with another class of workers, and the tables that it listens to. */
async function startWith(worker: typeof Worker) {
  const host = await openHost(await cpuOptions("wasm"));
  const original = globalThis.Worker;
  globalThis.Worker = worker;
  try {
    const group = localModel(host, SHAPE, BATCHES);
    const writer = await CheckpointWriter.start(group, () => {});
    return { writer, tables: group.tables, [Symbol.dispose]: () => writer[Symbol.dispose]() };
  } finally {
    globalThis.Worker = original;
  }
}

/** Takes messages and does nothing. */
class IdleWorker {
  static last: IdleWorker;
  onmessage = (_: { data: unknown }) => {};
  onerror = (_: { message: string; preventDefault(): void }) => {};
  memory: WriterMemory | undefined;

  constructor() {
    IdleWorker.last = this;
  }

  postMessage(message: WriterMemory): void {
    this.memory ??= message;
    queueMicrotask(() => this.onmessage({ data: {} }));
  }

  terminate(): void {}
}

function places(directory: TemporaryDirectory) {
  return { run: directory.path, best: false, step: false, keep: 0, tables: ["C1", "C2"] };
}

const died = (reason: RegExp) => (error: unknown) => error instanceof HotsetError && reason.test(error.message);

Deno.test("a worker that dies fails the next poll, and all that would wait for it", async () => {
  using directory = new TemporaryDirectory();
  using started = await startWith(IdleWorker as never);
  const { writer } = started;
  await writer.begin(places(directory), BODY);
  writer.poll();
  assert.ok(writer.busy);
  let handled = false;
  IdleWorker.last.onerror({ message: "out of memory", preventDefault: () => handled = true });
  assert.ok(handled);
  const reason = died(/^Cannot write checkpoints: the writer died: out of memory$/);
  assert.throws(() => writer.poll(), reason);
  await assert.rejects(writer.finish(), reason);
  await assert.rejects(writer.begin(places(directory), BODY), reason);
  assert.throws(() => started.tables.onWrite(Uint32Array.from({ length: ROWS }, (_, row) => row), 0, 1, ROWS), reason);
});

Deno.test("whatever a worker meets in an order reaches the coordinator, which waits until then", async () => {
  using directory = new TemporaryDirectory();
  class Misled extends Worker {
    #started = false;
    override postMessage(message: unknown): void {
      super.postMessage(this.#started ? null : message);
      this.#started = true;
    }
  }
  using started = await startWith(Misled);
  const { writer } = started;
  await writer.begin(places(directory), BODY);
  await assert.rejects(writer.finish(), died(/null/));
});

Deno.test("a checkpoint is waited for while the event loop turns, also where its worker dies meanwhile", async () => {
  using directory = new TemporaryDirectory();
  using started = await startWith(IdleWorker as never);
  const { writer } = started;
  await writer.begin(places(directory), BODY);
  const finished = writer.finish();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(writer.busy);
  IdleWorker.last.onerror({ message: "out of memory", preventDefault() {} });
  await assert.rejects(finished, died(/the writer died: out of memory$/));
});

Deno.test("with a full journal the worker learns that the coordinator waits", async () => {
  using directory = new TemporaryDirectory();
  using started = await startWith(IdleWorker as never);
  const { writer } = started;
  await writer.begin(places(directory), BODY);
  const { mailbox, snapshot } = IdleWorker.last.memory!;
  const mail = new Mailbox(mailbox);
  const waiting: number[] = [];
  const original = Atomics.wait;
  // The worker takes its tables while the coordinator sleeps.
  Atomics.wait = () => {
    waiting.push(mail.get(Mail.coordinatorWaiting));
    snapshot.taken.fill(1);
    return "ok";
  };
  try {
    started.tables.onWrite(Uint32Array.from({ length: ROWS }, (_, row) => row), 0, 1, ROWS);
  } finally {
    Atomics.wait = original;
  }
  assert.deepEqual(waiting, [1]);
  assert.equal(mail.get(Mail.coordinatorWaiting), 0);
  mail.put(Mail.done, 1); // so that the end does not wait for it
});
