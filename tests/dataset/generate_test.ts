import assert from "node:assert/strict";
import { BLOCK_SAMPLES, ClickModel } from "../../src/dataset/click_model.ts";
import { generateDataset, writeCriteoLog } from "../../src/dataset/generate.ts";
import { prepareDataset } from "../../src/dataset/prepare.ts";
import { denseOf, idsOf, labelsOf, TemporaryDirectory } from "./support.ts";

const FRACTIONS = { validation: 0.05, test: 0.1 };

/** Popularity ranks of (samples, tables) drawn from a model. */
function drawRanks(model: ClickModel, blocks: number): Uint32Array {
  const block = model.block();
  const ranks = new Uint32Array(blocks * block.ranks.length);
  for (let b = 0; b < blocks; b++) {
    model.draw(b, block);
    ranks.set(block.ranks, b * block.ranks.length);
  }
  return ranks;
}

function share(ranks: Uint32Array, model: ClickModel, hot: (table: number, rank: number) => boolean, table: number) {
  let hits = 0;
  for (let i = table; i < ranks.length; i += model.tables) if (hot(table, ranks[i])) hits++;
  return hits * model.tables / ranks.length;
}

function allHotShare(ranks: Uint32Array, model: ClickModel, hot: (table: number, rank: number) => boolean): number {
  let samples = 0;
  for (let i = 0; i < ranks.length; i += model.tables) {
    let t = 0;
    while (t < model.tables && hot(t, ranks[i + t])) t++;
    if (t === model.tables) samples++;
  }
  return samples * model.tables / ranks.length;
}

// Published: share of lookups to the top 0.1, 1 and 10 % of the rows at full scale.
const PUBLISHED: Record<number, [number, number, number]> = {
  3: [0.564, 0.669, 0.767],
  4: [0.632, 0.82, 0.927],
  12: [0.576, 0.688, 0.783],
  16: [0.613, 0.751, 0.848],
  21: [0.592, 0.713, 0.809],
  24: [0.634, 0.835, 0.965],
  26: [0.699, 0.844, 0.962],
  10: [0.439, 0.711, 0.949],
};

Deno.test("generated lookups follow the published rank shares within 0.03, at full scale and compressed", () => {
  for (const scale of [1, 100]) {
    const model = new ClickModel({ seed: 1, scale });
    const ranks = drawRanks(model, 40);
    for (const [feature, shares] of Object.entries(PUBLISHED)) {
      const table = Number(feature) - 1;
      for (const [i, fraction] of [0.001, 0.01, 0.1].entries()) {
        // A compressed table can have so few rows that the top 0.1 % is less than one row's resolution.
        if (scale > 1 && model.rows[table] * fraction < 5) continue;
        const found = share(ranks, model, (t, rank) => rank < model.rows[t] * fraction, table);
        assert.ok(Math.abs(found - shares[i]) < 0.03, `C${feature}, top ${fraction}, scale ${scale}: ${found}`);
      }
    }
  }
});

Deno.test("the share of all-hot samples follows the published one within 0.05", () => {
  const model = new ClickModel({ seed: 2 });
  const ranks = drawRanks(model, 40);
  for (const [fraction, published] of [[0.001, 0.374], [0.01, 0.571], [0.1, 0.726], [0.3, 0.792]]) {
    const found = allHotShare(ranks, model, (t, rank) => model.rows[t] <= 1e5 || rank < model.rows[t] * fraction);
    assert.ok(Math.abs(found - published) < 0.05, `top ${fraction}: ${found}`);
  }
  const found = allHotShare(ranks, model, (_, rank) => rank < 10_000);
  assert.ok(Math.abs(found - 0.525) < 0.05, `top 10,000 rows: ${found}`);
});

Deno.test("click rate .2568 and best AUC about .80 for any seed", () => {
  for (const seed of [1, 2, 3, 4]) {
    using directory = new TemporaryDirectory();
    const options = { samples: 60_000, seed, scale: 100, fractions: { validation: 0, test: 0 } };
    const dataset = generateDataset(directory.join("out"), options);
    const labels = labelsOf(dataset, "train");
    const rate = labels.reduce((a, b) => a + b, 0) / labels.length;
    assert.ok(Math.abs(rate - 0.2568) < 0.01, `click rate ${rate}`);
    const best = dataset.body.generated!.bestAuc.train;
    assert.ok(best > 0.78 && best < 0.83, `best AUC ${best}`);
  }
});

Deno.test("the best AUC is that of the true probabilities, counted over all pairs", () => {
  const model = new ClickModel({ seed: 7, scale: 100 });
  const block = model.block();
  model.draw(0, block);
  let wins = 0;
  let pairs = 0;
  for (let i = 0; i < BLOCK_SAMPLES; i++) {
    for (let j = 0; j < BLOCK_SAMPLES; j++) {
      if (block.labels[i] !== 1 || block.labels[j] !== 0) continue;
      pairs++;
      wins += block.probabilities[i] > block.probabilities[j] ? 1 : 0;
    }
  }
  using directory = new TemporaryDirectory();
  const options = { samples: BLOCK_SAMPLES, seed: 7, scale: 100, fractions: { validation: 0, test: 0 } };
  const found = writeCriteoLog(directory.join("log.tsv"), options);
  assert.deepEqual(Object.keys(found), ["train"]);
  assert.ok(Math.abs(found.train! - wins / pairs) < 1e-4);
});

Deno.test("a generated log prepares to the same samples as the dataset generated directly", async () => {
  using directory = new TemporaryDirectory();
  const options = { samples: 3000, seed: 3, scale: 100, fractions: FRACTIONS };
  const bestAuc = writeCriteoLog(directory.join("log.tsv"), options);
  const prepared = await prepareDataset({
    inputs: [directory.join("log.tsv")],
    format: "criteo",
    out: directory.join("prepared"),
    validationFraction: FRACTIONS.validation,
    testFraction: FRACTIONS.test,
    generated: { bestAuc },
  });
  const direct = generateDataset(directory.join("direct"), options);
  assert.deepEqual(prepared.body.splits, direct.body.splits);
  assert.deepEqual(prepared.body.generated, direct.body.generated);
  for (const split of ["train", "validation", "test"] as const) {
    assert.deepEqual(labelsOf(prepared, split), labelsOf(direct, split));
    assert.deepEqual(denseOf(prepared, split), denseOf(direct, split));
  }
  // Ids differ (true rank against counted rank), but must name the same values.
  const pairs = new Map<string, number>();
  const directIds = idsOf(direct, "train");
  for (const [s, row] of idsOf(prepared, "train").entries()) {
    for (const [t, [id]] of row.entries()) {
      const key = `${t} ${id}`;
      assert.equal(pairs.get(key) ?? directIds[s][t][0], directIds[s][t][0]);
      pairs.set(key, directIds[s][t][0]);
    }
  }
  assert.equal(direct.readCounts().reduce((a, b) => a + b, 0), direct.body.splits.train.lookups);
});

Deno.test("same seed, same bytes; another seed, others", () => {
  using directory = new TemporaryDirectory();
  const options = { samples: 1500, scale: 100, fractions: FRACTIONS };
  const bytes = [1, 1, 2].map((seed, i) => {
    const path = directory.join(`log${i}.tsv`);
    writeCriteoLog(path, { ...options, seed });
    return Deno.readTextFileSync(path);
  });
  assert.equal(bytes[0], bytes[1]);
  assert.notEqual(bytes[1], bytes[2]);
});
