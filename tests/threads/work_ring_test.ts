import assert from "node:assert/strict";
import { type Work, WorkRing } from "../../src/threads/work_ring.ts";
import { breaksOf } from "../support/breaks.ts";

const SLOTS = 4;
const worker = (work: string) => {
  const ring = import.meta.resolve("../../src/threads/work_ring.ts");
  const text = `
    import { serveRing } from ${JSON.stringify(ring)};
    serveRing((input) => ${work});`;
  return new URL(`data:text/javascript,${encodeURIComponent(text)}`);
};
const SQUARE = "(slot, words) => { words[1] = words[0] ** 2; }";
const square: Work = (_, words) => void (words[1] = words[0] ** 2);

/** Submits numbers, a few ahead, and yields when one is to be taken. */
function* submitted(ring: WorkRing, count: number): Generator<void> {
  for (let taken = 0, asked = 0; taken < count; taken++) {
    for (; asked < count && ring.waiting < SLOTS; asked++) {
      ring.words(asked % SLOTS)[0] = asked;
      ring.submit(asked % SLOTS);
    }
    yield;
  }
}

function squares(ring: WorkRing, count: number): number[] {
  return Array.from(submitted(ring, count), () => ring.words(ring.take())[1]);
}

/** The same with `taken`. */
async function squaresInTurns(ring: WorkRing, count: number): Promise<number[]> {
  return await Array.fromAsync(submitted(ring, count), async () => ring.words(await ring.taken())[1]);
}

for (const count of [0, 1, 2]) {
  Deno.test(`work is taken in the order in which it was submitted, ${count} threads`, async () => {
    using ring = new WorkRing(SLOTS, "squares", square, {
      module: worker(SQUARE),
      count,
      input: null,
    });
    const expected = Array.from({ length: 1000 }, (_, i) => i ** 2);
    assert.deepEqual(squares(ring, 1000), expected); // threads start meanwhile, or have not yet
    assert.deepEqual(await squaresInTurns(ring, 1000), expected);
    await new Promise((resolve) => setTimeout(resolve, count === 0 ? 0 : 200));
    assert.deepEqual(squares(ring, 1000), expected);
    assert.deepEqual(await squaresInTurns(ring, 1000), expected);
  });
}

Deno.test("work without a thread is done in its parts, with a break between them", async () => {
  const count: Work = function* (_, words) {
    for (; words[1] < 5; words[1]++) yield;
  };
  using ring = new WorkRing(SLOTS, "counts", count, { module: worker(SQUARE), count: 0, input: null });
  ring.submit(2);
  assert.equal(await breaksOf(() => ring.taken()), 5);
  assert.equal(ring.words(2)[1], 5);
});

Deno.test("the event loop turns while a thread works on what is taken", async () => {
  const never = new Int32Array(new SharedArrayBuffer(4));
  const sleep = `() => { Atomics.wait(input, 0, 0, 300); }`;
  using ring = new WorkRing(SLOTS, "sleeps", () => assert.fail("it is the work of the thread"), {
    module: worker(sleep),
    count: 1,
    input: never,
  });
  await new Promise((resolve) => setTimeout(resolve, 200));
  ring.submit(0);
  await new Promise((resolve) => setTimeout(resolve, 50)); // the thread claims it
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await ring.taken();
  clearInterval(timer);
  assert.ok(turns >= 5, `${turns} turns`);
});

Deno.test("a call of take starts one thread at most", () => {
  using started = new CountedWorkers();
  using ring = new WorkRing(SLOTS, "squares", square, { module: worker(SQUARE), count: 3, input: null });
  for (const threads of [1, 2, 3, 3]) {
    assert.equal(started.count, threads);
    squares(ring, 1);
  }
});

/** Counts the workers that are started, until it is disposed of. */
class CountedWorkers implements Disposable {
  count = 0;
  readonly #Worker = Worker;

  constructor() {
    const began = () => this.count++;
    globalThis.Worker = class extends this.#Worker {
      constructor(...given: ConstructorParameters<typeof Worker>) {
        super(...given);
        began();
      }
    };
  }

  [Symbol.dispose](): void {
    globalThis.Worker = this.#Worker;
  }
}

Deno.test("what a thread fails at is done again where it is needed, and fails there", async () => {
  using ring = new WorkRing(SLOTS, "fails", () => assert.fail("it cannot be done"), {
    module: worker(`() => { throw new Error("in the thread"); }`),
    count: 1,
    input: null,
  });
  ring.submit(0);
  await new Promise((resolve) => setTimeout(resolve, 200)); // time for the thread to meet it first
  assert.throws(() => ring.take(), /it cannot be done/);
  ring.submit(1);
  await assert.rejects(() => ring.taken(), /it cannot be done/);
});

Deno.test("a thread that cannot start is done without", async () => {
  using ring = new WorkRing(SLOTS, "squares", square, {
    module: worker("missing"),
    count: 1,
    input: null,
  });
  assert.deepEqual(squares(ring, 5), [0, 1, 4, 9, 16]);
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.deepEqual(squares(ring, 5), [0, 1, 4, 9, 16]);
});
