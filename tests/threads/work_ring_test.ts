import assert from "node:assert/strict";
import { type Work, WorkRing } from "../../src/threads/work_ring.ts";

const SLOTS = 4;
const worker = (work: string) => {
  const ring = import.meta.resolve("../../src/threads/work_ring.ts");
  const text = `
    import { serveRing } from ${JSON.stringify(ring)};
    serveRing(() => ${work});`;
  return new URL(`data:text/javascript,${encodeURIComponent(text)}`);
};
const SQUARE = "(slot, words) => { words[1] = words[0] ** 2; }";
const square: Work = (_, words) => words[1] = words[0] ** 2;

/** Squares numbers, a few ahead. */
function squares(ring: WorkRing, count: number): number[] {
  const found: number[] = [];
  for (let taken = 0, asked = 0; taken < count; taken++) {
    for (; asked < count && ring.waiting < SLOTS; asked++) {
      ring.words(asked % SLOTS)[0] = asked;
      ring.submit(asked % SLOTS);
    }
    found.push(ring.words(ring.take())[1]);
  }
  return found;
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
    await new Promise((resolve) => setTimeout(resolve, count === 0 ? 0 : 200));
    assert.deepEqual(squares(ring, 1000), expected);
  });
}

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
