import assert from "node:assert/strict";
import { InitialRows, rowChunks } from "../../src/embedding/initialise.ts";
import { initialiseDense } from "../../src/model/initialise.ts";
import { elementsOf } from "../../src/model/layers/layer.ts";
import { type ModelPlan, planModel } from "../../src/model/shape.ts";

const PLAN = planModel({
  dim: 4,
  tableRows: [40_000, 3, 1, 16_384, 16_385],
  bottom: [100, 200, 4],
  top: [150, 1],
  interaction: "cat",
  optimizer: "sgd",
});

/** Mean and standard deviation of values, in units of the expected deviation. */
function moments(values: Float32Array, deviation: number): { mean: number; deviation: number } {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length;
  return { mean: mean / deviation, deviation: Math.sqrt(variance) / deviation };
}

function rowsOf(seed: number): Float32Array {
  const rows = new Float32Array(PLAN.rows * 4);
  const initial = new InitialRows(PLAN.shape, seed);
  for (const { row, rows: count } of rowChunks(PLAN.shape)) initial.write(row, count, rows, 4 * row);
  return rows;
}

Deno.test("dense parameters are normal, with variances of 2 / (m + n) and 1 / n", () => {
  const parameters = new Float32Array(PLAN.denseWords);
  initialiseDense(PLAN, 1, parameters);
  for (const { layer: { inputs: [inputs], outputs }, parameters: placed } of PLAN.layers) {
    for (const [i, { first, shape }] of placed.entries()) {
      const count = elementsOf(shape);
      const variance = i === 0 ? 2 / (inputs + outputs) : 1 / outputs;
      const values = parameters.subarray(first, first + count);
      const { mean, deviation } = moments(values, Math.sqrt(variance));
      // Five standard errors.
      assert.ok(Math.abs(mean) < 5 / Math.sqrt(count), `mean of ${inputs} to ${outputs}`);
      if (count < 100) continue;
      assert.ok(Math.abs(deviation - 1) < 5 / Math.sqrt(2 * count), `deviation of ${inputs} to ${outputs}`);
      const within = values.filter((x) => Math.abs(x) < Math.sqrt(variance)).length / count;
      assert.ok(Math.abs(within - 0.6827) < 5 * Math.sqrt(0.25 / count), `${within} within one deviation`);
    }
  }
});

Deno.test("rows are uniform up to 1 / sqrt(rows of the table)", () => {
  const rows = rowsOf(1);
  let first = 0;
  for (const count of PLAN.shape.tableRows) {
    const values = rows.subarray(4 * first, 4 * (first + count));
    const bound = Math.fround(1 / Math.sqrt(count));
    assert.ok(values.every((x) => Math.abs(x) <= bound));
    const { mean, deviation } = moments(values, bound / Math.sqrt(3));
    if (count > 100) {
      assert.ok(Math.abs(mean) < 5 / Math.sqrt(values.length));
      assert.ok(Math.abs(deviation - 1) < 5 / Math.sqrt(values.length));
      assert.ok(values.some((x) => x > 0.999 * bound) && values.some((x) => x < -0.999 * bound));
    }
    first += count;
  }
});

Deno.test("rows are uniform up to rowInit where their table has larger ones, and else the same", () => {
  const rowInit = 0.0065; // between those of 16,384 rows and 40,000
  const rows = rowsOf(1);
  const limited = new Float32Array(rows.length);
  new InitialRows({ ...PLAN.shape, rowInit }, 1).write(0, PLAN.rows, limited, 0);
  let first = 0;
  for (const count of PLAN.shape.tableRows) {
    const values = (all: Float32Array) => all.subarray(4 * first, 4 * (first + count));
    const scale = Math.min(1, rowInit * Math.sqrt(count));
    assert.equal(scale === 1, count === 40_000, "else this proves nothing");
    const expected = values(rows).map((value) => value * scale);
    assert.ok(values(limited).every((value, i) => Math.abs(value - expected[i]) <= 3e-7 * Math.abs(expected[i])));
    first += count;
  }
});

Deno.test("chunks cover every row once", () => {
  let next = 0;
  for (const { row, rows } of rowChunks(PLAN.shape)) {
    assert.equal(row, next);
    assert.ok(rows > 0);
    next = row + rows;
  }
  assert.equal(next, PLAN.rows);
});

Deno.test("a row's value depends on the seed, the table and the row alone", () => {
  const rows = rowsOf(1);
  const initial = new InitialRows(PLAN.shape, 1);
  const again = new Float32Array(10);
  for (const row of [56_000, 40_002, 0, PLAN.rows - 1, 40_003, 39_999]) {
    again.fill(7);
    initial.write(row, 1, again, 3);
    assert.deepEqual([...again], [7, 7, 7, ...rows.slice(4 * row, 4 * row + 4), 7, 7, 7]);
  }
  // The tables before and after it do not matter, nor does how many values a row has.
  const other = planModel({ ...PLAN.shape, dim: 2, bottom: [100, 2], tableRows: [7, 3] });
  new InitialRows(other.shape, 1).write(8, 1, again, 0);
  assert.deepEqual(again.slice(0, 2), rows.slice(4 * 40_001, 4 * 40_001 + 2));
});

Deno.test("no two rows, tables or seeds share their values", () => {
  const fractions = [rowsOf(1), rowsOf(2)].flatMap((all) => {
    const { tableRows } = PLAN.shape;
    return tableRows.flatMap((count, table) => {
      const first = tableRows.slice(0, table).reduce((sum, rows) => sum + rows, 0);
      return Array.from({ length: Math.min(count, 1000) }, (_, i) => all[4 * (first + i)] * Math.sqrt(count));
    });
  });
  const distinct = new Set(fractions.map((x) => x.toFixed(7))).size;
  assert.ok(distinct > 0.999 * fractions.length, `${distinct} of ${fractions.length}`);
});

Deno.test("values do not depend on their neighbours in the row, the column or the table", () => {
  const [dim, count] = [16, 20_000];
  const plan = planModel({ ...PLAN.shape, dim, bottom: [100, dim], tableRows: [count, count] });
  const rows = new Float32Array(plan.rows * dim);
  new InitialRows(plan.shape, 3).write(0, plan.rows, rows, 0);
  const values = count * dim;
  const variance = 1 / count / 3;
  for (const distance of [1, 2, dim, 2 * dim, 64 * dim, 4096 * dim, values]) {
    let sum = 0;
    for (let i = 0; i < values - (distance === values ? 0 : distance); i++) sum += rows[i] * rows[i + distance];
    const correlation = sum / values / variance;
    assert.ok(Math.abs(correlation) < 5 / Math.sqrt(values), `${correlation} at a distance of ${distance}`);
  }
  // Bits are as often set as not, the lowest of the fraction as well.
  for (const scale of [1, 2 ** 4, 2 ** 12, 2 ** 20]) {
    let odd = 0;
    for (let i = 0; i < values; i++) odd += Math.floor((rows[i] * Math.sqrt(count) + 1) / 2 * scale * 2) % 2;
    assert.ok(Math.abs(odd / values - 0.5) < 5 * 0.5 / Math.sqrt(values), `${odd / values} at ${scale}`);
  }
});

/** The weight of each layer that has one. */
function weightsOf({ layers }: ModelPlan) {
  return layers.flatMap(({ parameters }) => parameters.filter(({ name }) => name === "weight"));
}

Deno.test("layers draw from streams of their own", () => {
  const short = planModel({ ...PLAN.shape, bottom: [100, 4] });
  const [all, part] = [PLAN, short].map((plan) => {
    const parameters = new Float32Array(plan.denseWords);
    initialiseDense(plan, 1, parameters);
    return { parameters, plan };
  });
  // Another width of the first layer leaves the second's stream as it was.
  const second = weightsOf(part.plan)[1];
  const same = weightsOf(all.plan)[1];
  const normal = ({ parameters }: typeof all, { shape: [outputs, inputs], first }: typeof second) =>
    parameters[first] / Math.sqrt(2 / (inputs + outputs));
  assert.ok(Math.abs(normal(all, same) - normal(part, second)) < 1e-5);
});
