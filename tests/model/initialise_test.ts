import assert from "node:assert/strict";
import { initialiseChunk, rowChunks } from "../../src/embedding/initialise.ts";
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
  for (const chunk of rowChunks(PLAN.shape)) {
    initialiseChunk(PLAN.shape, seed, chunk, rows.subarray(4 * chunk.row, 4 * (chunk.row + chunk.rows)));
  }
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

Deno.test("chunks cover every row of every table once and lie in one table", () => {
  const firstRows: number[] = [];
  PLAN.shape.tableRows.reduce((first, rows) => (firstRows.push(first), first + rows), 0);
  let next = 0;
  for (const { table, tableRow, row, rows } of rowChunks(PLAN.shape)) {
    assert.equal(row, next);
    assert.equal(row, firstRows[table] + tableRow);
    assert.ok(rows > 0 && tableRow + rows <= PLAN.shape.tableRows[table]);
    next = row + rows;
  }
  assert.equal(next, PLAN.rows);
});

Deno.test("a chunk's values depend on the seed and the chunk, not on who draws them or when", () => {
  const rows = rowsOf(1);
  const chunks = [...rowChunks(PLAN.shape)];
  for (const chunk of chunks.toReversed()) {
    const again = new Float32Array(4 * chunk.rows);
    initialiseChunk(PLAN.shape, 1, chunk, again);
    assert.deepEqual(again, rows.slice(4 * chunk.row, 4 * (chunk.row + chunk.rows)));
  }
  // No two chunks or seeds share their numbers.
  const starts = [rows, rowsOf(2)].flatMap((all) =>
    chunks.map(({ row, table }) => all[4 * row] * Math.sqrt(PLAN.shape.tableRows[table]))
  );
  assert.equal(new Set(starts.map((x) => x.toFixed(5))).size, starts.length);
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
