/**
 * Only changed rows are copied between the full tables and the hot replica, and only when the kind of batch changes.
 */
import { atOnce } from "../../src/breaks.ts";
import assert from "node:assert/strict";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import { Batch, type BatchShape } from "../../src/layout/batch.ts";
import { BatchFiller } from "../../src/layout/batch_filler.ts";
import { HotMap } from "../../src/layout/hot_map.ts";
import { SegmentSorter } from "../../src/layout/segment_sorter.ts";
import { initialiseDense } from "../../src/model/initialise.ts";
import type { ModelShape } from "../../src/model/shape.ts";
import { ReplicaCoordinator, replicaListWords } from "../../src/embedding/replicated.ts";
import { localModel, trainOn } from "../support/local_model.ts";

const MODEL: ModelShape = {
  dim: 2,
  tableRows: [40, 60],
  bottom: [1, 2],
  top: [4, 1],
  interaction: "cat",
  optimizer: "rwsadagrad",
};
const ROWS = 100;
const HOT_ROWS = Uint32Array.of(0, 3, 31, 32, 63, 64, 99);
const SHAPE: BatchShape = { batchSize: 2, denseFeatures: 1, tables: 2, bags: false, lookupCapacity: 4 };

/** A batch of two samples with these global rows, hot or cold. */
function batchOf(rows: number[], hot: boolean): Batch {
  const batch = new Batch(SHAPE);
  const filler = new BatchFiller(batch, hot ? new HotMap(Float64Array.of(0, ROWS), HOT_ROWS) : undefined);
  const samples = {
    count: 2,
    labels: Uint8Array.of(0, 1),
    dense: Float32Array.of(1, 2),
    indices: Uint32Array.from(rows),
    offsets: undefined,
  };
  for (let i = 0; i < 2; i++) filler.add(samples, i);
  filler.close();
  new SegmentSorter(SHAPE).write(batch);
  return batch;
}

/** A rank with random rows, what is in its matrices, and its tables; `train` is a step. */
function setUp() {
  const host = new ReferenceBackend();
  const group = localModel(host, MODEL, SHAPE, { hotRows: HOT_ROWS });
  const { full, hot, parameters, plan } = group.memory;
  initialiseDense(plan, 1, host.floats(parameters));
  host.floats(full.weights).forEach((_, i, all) => all[i] = Math.sin(i));
  const { tables } = group;
  assert.ok(tables instanceof ReplicaCoordinator);
  return {
    tables,
    full: { weights: host.floats(full.weights), state: host.floats(full.state!) },
    hot: { weights: host.floats(hot!.weights), state: host.floats(hot!.state!) },
    train(rows: number[], isHot: boolean) {
      trainOn(group, batchOf(rows, isHot), 0.1);
    },
  };
}

/** Hot rows (global) whose weights and state are equal in both stores. */
function equalRows({ full, hot }: ReturnType<typeof setUp>): number[] {
  return [...HOT_ROWS].filter((row, h) =>
    full.state[row] === hot.state[h] &&
    full.weights[2 * row] === hot.weights[2 * h] && full.weights[2 * row + 1] === hot.weights[2 * h + 1]
  );
}

Deno.test("the first pull fills the replica, the next ones move what cold batches changed", () => {
  const run = setUp();
  const { tables, hot } = run;
  atOnce(tables.refresh());
  assert.deepEqual(equalRows(run), [...HOT_ROWS]);

  run.train([3, 64, 5, 99], false); // row 5 is not hot
  assert.deepEqual(equalRows(run), [0, 31, 32, 63]);
  hot.weights[2 * 1 + 1] = 77; // of row 3, will be overwritten
  hot.weights[2 * 2] = 88; // of row 31, must not be
  atOnce(tables.refresh());
  assert.deepEqual(equalRows(run), [0, 3, 32, 63, 64, 99]);
  assert.equal(hot.weights[2 * 2], 88);
  hot.weights[2 * 1] = 99; // of row 3, which was moved
  atOnce(tables.refresh());
  assert.equal(hot.weights[2 * 1], 99, "nothing has changed since");
});

Deno.test("many rows are moved in parts, each of which ends before the next one begins", () => {
  const rows = 100_000;
  const moved: number[][] = [];
  const lists = { moveRows: new Uint32Array(rows), moveHotIds: new Uint32Array(rows) };
  const tables = new ReplicaCoordinator({
    ...{ hotRows: Uint32Array.from({ length: rows }, (_, i) => i + 7), rows: rows + 7, ...lists },
    memory: new Uint32Array(replicaListWords(rows + 7, rows)),
    move: (_, first, count) => moved.push([first, count]),
    *moved() {
      moved.push([]); // waits for all of them once
      yield;
    },
  });
  const parts = tables.refresh();
  assert.equal(parts.next().done, false);
  assert.deepEqual(moved, [[0, 32_768]], "the rest is moved after a break");
  atOnce(parts);
  assert.deepEqual(moved.slice(1), [[32_768, 32_768], [65_536, 32_768], [98_304, 1696], []]);
  assert.deepEqual([lists.moveRows[99_999], lists.moveHotIds[99_999]], [rows + 6, rows - 1]);
  atOnce(tables.refresh());
  assert.equal(moved.length, 5, "nothing has changed");
});

Deno.test("a push moves what hot batches changed, once", () => {
  const run = setUp();
  const { tables, full } = run;
  atOnce(tables.refresh());
  run.train([0, 63, 0, 64], true);
  run.train([31, 63, 0, 64], true);
  assert.deepEqual(equalRows(run), [3, 32, 99]);
  const before = full.weights.slice();
  atOnce(tables.flush());
  assert.deepEqual(equalRows(run), [...HOT_ROWS]);
  const changed = [...before.keys()].filter((i) => before[i] !== full.weights[i]);
  assert.deepEqual([...new Set(changed.map((i) => i >> 1))], [0, 31, 63, 64]);
  assert.ok(full.state[0] > 0 && full.state[3] === 0);
  full.weights[0] = 5;
  atOnce(tables.flush());
  assert.equal(full.weights[0], 5);
});

Deno.test("turns of both kinds leave the rows as one store would have them", () => {
  const run = setUp();
  const plain = setUp();
  const turns: [number[], boolean][] = [
    [[3, 64, 5, 50], false],
    [[0, 64, 3, 63], true],
    [[3, 99, 32, 64], true],
    [[0, 41, 7, 99], false],
    [[0, 99, 31, 99], true],
  ];
  for (const [rows, hot] of turns) {
    run.train(rows, hot);
    plain.train(rows, false);
  }
  atOnce(run.tables.flush());
  assert.deepEqual(run.full, plain.full);
});

Deno.test("whoever listens hears of rows of the full tables before they change, and of no others", () => {
  const { tables, train, full } = setUp();
  const heard: number[][] = [];
  atOnce(tables.refresh());
  const before = full.weights.slice();
  tables.onWrite = (words, at, stride, count) => {
    assert.deepEqual(full.weights, before, "nothing has changed yet");
    heard.push(Array.from({ length: count }, (_, i) => words[at + i * stride]));
  };
  train([0, 63, 3, 64], true);
  train([31, 63, 0, 99], true);
  assert.deepEqual(heard, []);
  atOnce(tables.flush());
  assert.deepEqual(heard, [[0, 3, 31, 63, 64, 99]]);
  before.set(full.weights);
  train([5, 50, 3, 64], false);
  assert.deepEqual(heard.slice(1), [[3, 5, 50, 64]]);
});

Deno.test("tables that were overwritten are copied to the replica again", () => {
  const run = setUp();
  atOnce(run.tables.refresh());
  run.train([0, 63, 3, 64], true);
  atOnce(run.tables.flush());
  run.full.weights.fill(7);
  run.tables.invalidate();
  run.train([31, 99, 31, 99], true);
  atOnce(run.tables.flush());
  assert.deepEqual(equalRows(run), [...HOT_ROWS]);
  assert.ok(run.full.weights[0] === 7 && run.full.weights[2 * 31] !== 7);
});
