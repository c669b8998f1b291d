import assert from "node:assert/strict";
import type { BatchKind } from "../../src/layout/layout.ts";
import { Random } from "../../src/random.ts";
import { schedulerState, ShuffleScheduler } from "../../src/schedule/shuffle_scheduler.ts";

interface Taken {
  kind: BatchKind;
  position: number;
  switches: boolean;
  rate: number;
}

/** Takes the rest of an epoch, reporting `loss` at every switch. */
function rest(scheduler: ShuffleScheduler, loss: () => number, limit = Infinity): Taken[] {
  const taken: Taken[] = [];
  while (scheduler.peek() !== undefined && taken.length < limit) {
    const next = scheduler.peek();
    const { kind, position, left } = scheduler.run;
    const batch = { ...scheduler.take(), rate: scheduler.state.rate };
    assert.equal(batch.kind, next);
    assert.deepEqual([batch.kind, batch.position], [kind, position]);
    if (left > 1) {
      assert.deepEqual([batch.switches, scheduler.run], [false, { kind, position: position + 1, left: left - 1 }]);
    }
    taken.push(batch);
    if (batch.switches) scheduler.report(loss());
  }
  return taken;
}

/** Switches of an epoch, reporting `loss` at each. */
function switchesOf(scheduler: ShuffleScheduler, loss: () => number): number {
  let switches = 0;
  while (scheduler.peek() !== undefined) {
    if (!scheduler.take().switches) continue;
    switches++;
    scheduler.report(loss());
  }
  return switches;
}

function positions(taken: Taken[], kind: BatchKind): number[] {
  return taken.filter((batch) => batch.kind === kind).map(({ position }) => position);
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

const LOSSES: [string, (random: Random) => () => number][] = [
  ["constant", () => () => 1],
  ["falling", () => {
    let loss = 1;
    return () => loss *= 0.9;
  }],
  ["rising", () => {
    let loss = 1;
    return () => loss *= 1.1;
  }],
  ["random", (random) => () => random.uniform()],
];

Deno.test("every batch of an epoch is handed out once, in order, and both queues finish together", () => {
  const random = new Random(1);
  for (const [cold, hot] of [[1, 1], [1, 100], [100, 1], [7, 3], [50, 50], [13, 999], [257, 64]]) {
    for (const [i, rate] of [1, 3.125, 12.5, 33, 50, 100].entries()) {
      for (const [j, [name, losses]] of LOSSES.entries()) {
        const [first, second] = (i + j) % 2 === 0 ? ["hot", "cold"] as const : ["cold", "hot"] as const;
        const turns = (i + (j >> 1)) % 2 === 0 ? "equal" : "shrinking";
        const what = `${cold} cold, ${hot} hot, ${first} first, ${turns}, rate ${rate}, ${name} loss`;
        const scheduler = new ShuffleScheduler({ cold, hot }, first, rate, turns);
        const loss = losses(random);
        for (let epoch = 0; epoch < 2; epoch++) {
          const taken = rest(scheduler, loss);
          assert.deepEqual(positions(taken, "cold"), upTo(cold), what);
          assert.deepEqual(positions(taken, "hot"), upTo(hot), what);
          assert.equal(taken[0].kind, first, what);
          const done = { cold: 0, hot: 0 };
          taken.forEach(({ kind, switches, rate }, i) => {
            done[kind]++;
            const next = taken[i + 1]?.kind;
            if (switches) assert.ok(next !== undefined && (next !== kind || taken[i + 1].rate !== rate), what);
            else assert.ok(next === undefined || next === kind, what);
            // At the end of a turn both queues are equally far, to within a batch.
            if (kind === second && next === first) {
              const apart = Math.abs(done.cold / cold - done.hot / hot);
              assert.ok(apart < Math.max(1 / cold, 1 / hot) + 1e-9, `${what}: ${JSON.stringify(done)}`);
            }
          });
          scheduler.startEpoch();
        }
      }
    }
  }
});

Deno.test("a turn takes the rate's share of an epoch, first of the kind that it is told", () => {
  for (const [first, expected] of [["cold", [10, 20, 10, 20]], ["hot", [20, 10, 20, 10]]] as const) {
    const scheduler = new ShuffleScheduler({ cold: 20, hot: 40 }, first, 50);
    const kinds = rest(scheduler, () => 1).map(({ kind }) => kind);
    assert.equal(kinds[0], first);
    const runs = kinds.join(" ").match(/(cold ?)+|(hot ?)+/g)!.map((run) => run.trim().split(" ").length);
    assert.deepEqual(runs, expected);
  }
  const quarters = rest(new ShuffleScheduler({ cold: 20, hot: 40 }, "cold", 25), () => 1).map(({ kind }) => kind).join(
    " ",
  );
  assert.deepEqual(quarters.match(/(cold ?)+|(hot ?)+/g)!.map((run) => run.trim().split(" ").length), [
    ...[5, 10, 5, 10],
    ...[5, 10, 5, 10],
  ]);
});

Deno.test("shrinking turns take the rate's share of what is left, down to a batch of each kind", () => {
  const lengths = (cold: number, hot: number, rate: number, loss = () => 1) => {
    const scheduler = new ShuffleScheduler({ cold, hot }, "hot", rate, "shrinking");
    const kinds = rest(scheduler, loss).map(({ kind }) => kind).join(" ");
    return kinds.match(/(cold ?)+|(hot ?)+/g)!.map((run) => run.trim().split(" ").length);
  };
  assert.deepEqual(lengths(64, 64, 50), [32, 32, 16, 16, 8, 8, 4, 4, 2, 2, 1, 1, 1, 1]);
  assert.deepEqual(lengths(16, 64, 50), [32, 8, 16, 4, 8, 2, 4, 1, 2, 1, 2]);
  assert.deepEqual(lengths(64, 64, 75).slice(0, 4), [48, 48, 12, 12]);
  assert.deepEqual(lengths(64, 64, 100), [64, 64]);
  let fallen = 1;
  const falling = lengths(64, 64, 50, () => fallen *= 0.9);
  assert.deepEqual(falling, lengths(64, 64, 50), "a loss that falls makes no turn of the whole rest");
  assert.ok(lengths(64, 64, 12.5, () => fallen *= 0.9).length < lengths(64, 64, 12.5).length);
  const rising = new ShuffleScheduler({ cold: 10_000, hot: 10_000 }, "hot", 50, "shrinking");
  assert.ok(switchesOf(rising, () => fallen *= 1.1) < 200, "a loss that rises makes no turns of single batches");
  assert.equal(rising.state.rate, 10);
  const large = new ShuffleScheduler({ cold: 100_000, hot: 300_000 }, "hot", 50, "shrinking");
  const switches = switchesOf(large, () => 1);
  assert.ok(switches > 30 && switches < 40, `${switches} switches`); // twice the binary logarithm
});

Deno.test("one kind alone, or none, is one run without switches", () => {
  for (const [cold, hot] of [[5, 0], [0, 5], [0, 0]]) {
    const scheduler = new ShuffleScheduler({ cold, hot }, "cold", 50);
    const taken = rest(scheduler, () => assert.fail("there is no switch"));
    assert.equal(taken.length, cold + hot);
    assert.ok(taken.every(({ switches, kind }) => !switches && kind === (cold > 0 ? "cold" : "hot")));
    scheduler.startEpoch();
    assert.equal(rest(scheduler, () => 1).length, cold + hot);
  }
});

Deno.test("the rate halves when the loss rises, down to 1, and doubles after four falls in a row, up to 100", () => {
  const scheduler = new ShuffleScheduler({ cold: 10, hot: 10 }, "cold", 50);
  const after = (...losses: number[]) =>
    losses.map((loss) => {
      scheduler.report(loss);
      return scheduler.state.rate;
    });
  assert.deepEqual(after(1), [50], "the first loss has nothing to be compared with");
  assert.deepEqual(after(2, 3, 4, 5, 6, 7, 8), [25, 12.5, 6.25, 3.125, 1.5625, 1, 1]);
  assert.deepEqual(after(7, 6, 5, 4), [1, 1, 1, 2]);
  assert.deepEqual(after(3, 2, 1), [2, 2, 2], "the streak restarts after it doubled");
  assert.deepEqual(after(0.9), [4]);
  assert.deepEqual(after(0.8, 0.7, 0.6, 0.7), [4, 4, 4, 2], "a rise ends a streak");
  assert.deepEqual(after(0.6, 0.5, 0.4, 0.4, 0.3), [2, 2, 2, 2, 2], "so does a loss that stays");
  assert.deepEqual(after(0.2, 0.1, 0.09), [2, 2, 4]);
  let loss = 0.09;
  const rates = upTo(40).flatMap(() => after(loss *= 0.9));
  assert.equal(rates.at(-1), 100);
  assert.ok(rates.every((rate) => rate <= 100));
});

Deno.test("a changed rate goes for the turn that follows, also in the next epoch", () => {
  const scheduler = new ShuffleScheduler({ cold: 100, hot: 100 }, "cold", 50);
  const losses = [1, 2, 3];
  const kinds = rest(scheduler, () => losses.shift() ?? 3).map(({ kind }) => kind).join(" ");
  const runs = (text: string) => text.match(/(cold ?)+|(hot ?)+/g)!.map((run) => run.trim().split(" ").length);
  // Rises at the second and the third switch.
  assert.deepEqual(runs(kinds), [50, 50, 25, 25, 13, 13, 12, 12]);
  assert.equal(scheduler.state.rate, 12.5);
  scheduler.startEpoch();
  const next = rest(scheduler, () => 3).map(({ kind }) => kind).join(" ");
  assert.deepEqual(runs(next).slice(0, 4), [13, 13, 12, 12]);
});

Deno.test("a scheduler goes on where its state, kept as JSON, left off", () => {
  const batches = { cold: 37, hot: 81 };
  const lossOf = (taken: number) => Math.sin(taken);
  const whole = new ShuffleScheduler(batches, "cold", 50);
  let count = 0;
  const expected = rest(whole, () => lossOf(count++));
  for (const stop of [0, 1, 18, 19, 20, 60, 117, 118]) {
    const first = new ShuffleScheduler(batches, "cold", 50);
    count = 0;
    const begin = rest(first, () => lossOf(count++), stop);
    const state = schedulerState.parse(JSON.parse(JSON.stringify(first.state)));
    const end = rest(new ShuffleScheduler(batches, "cold", state), () => lossOf(count++));
    assert.deepEqual([...begin, ...end], expected);
  }
});

Deno.test("a state of more batches than there are is refused", () => {
  const { state } = new ShuffleScheduler({ cold: 5, hot: 9 }, "cold", 50);
  assert.doesNotThrow(() => new ShuffleScheduler({ cold: 5, hot: 9 }, "cold", { ...state, done: { cold: 5, hot: 9 } }));
  assert.throws(() => new ShuffleScheduler({ cold: 5, hot: 9 }, "cold", { ...state, done: { cold: 0, hot: 10 } }), {
    name: "HotsetError",
    message: "Cannot resume: the checkpoint has 10 hot batches done, but there are 9",
  });
});
