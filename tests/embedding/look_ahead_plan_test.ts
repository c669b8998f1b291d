import assert from "node:assert/strict";
import { type CacheSizes, LookAheadPlan } from "../../src/embedding/look_ahead_plan.ts";
import { Random } from "../../src/random.ts";
import { seriesLength } from "../support/series.ts";

const CASES = seriesLength({ test: 1_000, all: 10_000, evidence: 100_000 });

/** A value that depends on all values that the row had, and on their order. */
function trained(value: number, row: number, step: number): number {
  return (Math.imul(value, 31) + row + 7 * step) | 0;
}

interface Schedule extends CacheSizes {
  readonly batches: readonly Uint32Array[];
}

function serial(batches: readonly Uint32Array[]): Map<number, number> {
  const values = new Map<number, number>();
  for (const [step, rows] of batches.entries()) {
    for (const row of rows) values.set(row, trained(values.get(row) ?? row, row, step));
  }
  return values;
}

/** What a plan must keep to, as slowly and plainly as it can be said. */
class PlainMemory {
  readonly store = new Map<number, number>();
  readonly at = new Map<number, { position: number; changed: boolean; since: number }>();
  readonly values: number[] = [];
  reads = 0;
  writes = 0;
  read(row: number): number {
    this.reads++;
    return this.store.get(row) ?? row;
  }
}

/** Trains as a run does: announces, plans as far as there is room, trains the oldest step. `cleanAt` writes everything back. */
function run({ batches, cleanAt, ...options }: Schedule & { cleanAt: (step: number) => boolean }) {
  const plan = new LookAheadPlan(options);
  const memory = new PlainMemory();
  let announced = 0, planned = 0, clock = 0;
  const nextUse = (row: number) => {
    for (let s = planned; s < announced; s++) if (batches[s].includes(row)) return s;
    return Infinity;
  };
  const announce = () => {
    while (announced < batches.length && plan.canAnnounce) {
      // With something between the rows, as in a list of segments.
      const words = new Uint32Array(2 * batches[announced].length);
      for (const [i, row] of batches[announced].entries()) {
        words[2 * i] = row;
        // Without a use so far: it is in another class from now on.
        const found = memory.at.get(row);
        if (found !== undefined && nextUse(row) === Infinity) found.since = clock++;
      }
      plan.announce(words, 0, 2, batches[announced++].length);
    }
  };
  for (let step = 0; step < batches.length; step++) {
    announce();
    for (let moves = plan.next(); moves !== undefined; moves = plan.next()) {
      const inFlight = new Set(batches.slice(step, planned + 1).flatMap((rows) => [...rows]));
      planned++;
      // Those that leave are those that the order says.
      const evictable = [...memory.at].filter(([row]) => !inFlight.has(row)).sort(
        ([a, x], [b, y]) => {
          const [u, v] = [nextUse(a), nextUse(b)];
          return (u === v ? 0 : v - u) || Number(x.changed) - Number(y.changed) || x.since - y.since;
        },
      );
      const free = options.slots - memory.at.size;
      const leave = evictable.slice(0, Math.max(0, moves.fetched - free));
      assert.equal(moves.evicted, leave.length);
      const written = leave.filter(([, { changed }]) => changed);
      const writes = Array.from({ length: moves.written }, (_, i) => [moves.writtenRows[i], moves.writtenPositions[i]]);
      assert.deepEqual(writes.map(([row]) => row), written.map(([row]) => row));
      for (const [row, position] of writes) {
        assert.equal(position, memory.at.get(row)!.position);
        memory.store.set(row, memory.values[position]);
        memory.writes++;
      }
      for (const [row] of leave) memory.at.delete(row);
      const taken = new Set([...memory.at.values()].map(({ position }) => position));
      const missing = [...batches[planned - 1]].filter((row) => !memory.at.has(row));
      assert.deepEqual([...moves.fetchedRows.subarray(0, moves.fetched)], missing);
      for (let i = 0; i < moves.fetched; i++) {
        const row = moves.fetchedRows[i];
        const position: number = moves.fetchedPositions[i];
        assert.ok(!taken.has(position) && position < plan.positions);
        taken.add(position);
        memory.values[position] = memory.read(row);
        memory.at.set(row, { position, changed: false, since: -1 });
      }
    }
    assert.ok(plan.planned > 0, "two batches of slots are always enough for the next step");
    for (let p = 0; p < plan.planned; p++) {
      const positions = plan.positionsIn(p).subarray(0, batches[step + p].length);
      assert.deepEqual([...positions], [...batches[step + p]].map((row) => memory.at.get(row)!.position));
    }
    for (const row of batches[step]) {
      const position = plan.positionOf(row);
      assert.equal(position, memory.at.get(row)!.position);
      memory.values[position] = trained(memory.values[position], row, step);
    }
    plan.finish();
    for (const row of batches[step]) Object.assign(memory.at.get(row)!, { changed: true, since: clock++ });
    if (cleanAt(step)) {
      const changed = new Set([...memory.at].filter(([, { changed }]) => changed).map(([row]) => row));
      plan.clean((row, position) => {
        assert.equal(position, memory.at.get(row)!.position);
        assert.ok(changed.delete(row));
        memory.store.set(row, memory.values[position]);
      });
      const bySince = [...memory.at.values()].sort((a, b) => a.since - b.since);
      for (const place of bySince) if (place.changed) Object.assign(place, { changed: false, since: clock++ });
      assert.equal(changed.size, 0);
    }
  }
  plan.clean((row, position) => memory.store.set(row, memory.values[position]));
  return memory;
}

/** A random schedule; popular rows are low ones, as in real tables. */
function randomSchedule(random: Random): Schedule {
  const rows = 1 + random.below(60);
  const most = 1 + random.below(Math.min(rows, 12));
  const batches = Array.from({ length: random.below(30) }, () => {
    const chosen = new Set<number>();
    for (let i = random.below(most + 1); i > 0; i--) chosen.add(Math.floor(rows * random.uniform() ** 2));
    return Uint32Array.from(chosen).sort();
  });
  const batchRows = Math.max(1, ...batches.map(({ length }) => length));
  return {
    batches,
    batchRows,
    slots: 2 * batchRows + random.below(2 * rows),
    lookAhead: random.below(9),
  };
}

Deno.test("a plan gives the serial result and evicts in its order, for random schedules, distances and slots", () => {
  for (let i = 0; i < CASES; i++) {
    const random = new Random(i, 77);
    const schedule = randomSchedule(random);
    const every = random.below(6);
    const { store } = run({ ...schedule, cleanAt: (step) => every > 0 && step % every === 0 });
    for (const [row, value] of serial(schedule.batches)) assert.equal(store.get(row), value, `series ${i}, row ${row}`);
  }
});

Deno.test("a longer look-ahead keeps rows that come again soon", () => {
  const random = new Random(5);
  const batches = Array.from({ length: 200 }, () => {
    const rows = new Set(Array.from({ length: 8 }, () => random.below(60)));
    return Uint32Array.from(rows).sort();
  });
  const reads = (lookAhead: number) => run({ batches, slots: 32, batchRows: 8, lookAhead, cleanAt: () => false }).reads;
  assert.ok(reads(8) < 0.9 * reads(0), `${reads(8)} reads with a look-ahead of 8, ${reads(0)} without`);
});

Deno.test("a plan refuses slots that two batches do not fit in, and steps out of order", () => {
  const options = { slots: 4, batchRows: 2, lookAhead: 0 };
  assert.throws(() => new LookAheadPlan({ ...options, slots: 3 }), /two batches of 2 rows need 4/);
  assert.throws(() => new LookAheadPlan({ ...options, slots: 400_000_000 }), /which of 400,000,000 cached rows/);
  const plan = new LookAheadPlan(options);
  assert.throws(() => plan.finish(), /none is planned/);
  assert.equal(plan.next(), undefined);
  assert.throws(() => plan.announce(new Uint32Array(3), 0, 1, 3), /at most 2 fit/);
  plan.announce(new Uint32Array([3, 9]), 0, 1, 2);
  assert.throws(() => plan.announce(new Uint32Array([1]), 0, 1, 1), /as many as the look-ahead/);
  assert.equal(plan.next()!.fetched, 2);
  assert.equal(plan.positionOf(3), 0);
});
