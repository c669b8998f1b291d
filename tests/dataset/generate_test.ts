import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { type Preset, PRESETS } from "../../src/config/config.ts";
import { publishedData } from "../../src/plan/published.ts";
import { CRITEO_TABLES } from "../../src/dataset/criteo_shape.ts";
import { shapeOf } from "../../src/dataset/published.ts";
import { BlockRing } from "../../src/dataset/block_ring.ts";
import { schemaOf } from "../../src/dataset/formats.ts";
import { isSparse } from "../../src/dataset/schema.ts";
import { BLOCK_SAMPLES, ClickModel } from "../../src/dataset/click_model.ts";
import { MULTI_HOT_SIZES } from "../../src/dataset/multi_hot.ts";
import { generateDataset, writeCriteoLog } from "../../src/dataset/generate.ts";
import { prepareDataset } from "../../src/dataset/prepare.ts";
import { slowTest, someOf } from "../support/series.ts";
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

Deno.test("generated lookups follow the published rank shares within 0.03, at full scale and compressed", async () => {
  for (const scale of [1, 100]) {
    const model = await ClickModel.calibrated({ seed: 1, scale });
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

Deno.test("the share of all-hot samples follows the published one within 0.05", async () => {
  const model = await ClickModel.calibrated({ seed: 2 });
  const ranks = drawRanks(model, 40);
  for (const [fraction, published] of [[0.001, 0.374], [0.01, 0.571], [0.1, 0.726], [0.3, 0.792]]) {
    const found = allHotShare(ranks, model, (t, rank) => model.rows[t] <= 1e5 || rank < model.rows[t] * fraction);
    assert.ok(Math.abs(found - published) < 0.05, `top ${fraction}: ${found}`);
  }
  const found = allHotShare(ranks, model, (_, rank) => rank < 10_000);
  assert.ok(Math.abs(found - 0.525) < 0.05, `top 10,000 rows: ${found}`);
});

Deno.test("click rate .2568 and best AUC about .80 for any seed", async () => {
  for (const seed of someOf([1, 2, 3, 4], 4)) {
    using directory = new TemporaryDirectory();
    const options = { samples: 60_000, seed, scale: 100, fractions: { validation: 0, test: 0 } };
    const dataset = await generateDataset(directory.join("out"), options);
    const labels = labelsOf(dataset, "train");
    const rate = labels.reduce((a, b) => a + b, 0) / labels.length;
    assert.ok(Math.abs(rate - 0.2568) < 0.01, `click rate ${rate}`);
    const best = dataset.body.generated!.bestAuc.train;
    assert.ok(best > 0.78 && best < 0.83, `best AUC ${best}`);
  }
});

Deno.test("the best AUC is that of the true probabilities, counted over all pairs", async () => {
  const model = await ClickModel.calibrated({ seed: 7, scale: 100 });
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
  const found = await writeCriteoLog(directory.join("log.tsv"), options);
  assert.deepEqual(Object.keys(found), ["train"]);
  assert.ok(Math.abs(found.train! - wins / pairs) < 1e-4);
});

Deno.test("a generated log prepares to the same samples as the dataset generated directly", async () => {
  using directory = new TemporaryDirectory();
  const options = { samples: 3000, seed: 3, scale: 100, fractions: FRACTIONS };
  const bestAuc = await writeCriteoLog(directory.join("log.tsv"), options);
  const prepared = await prepareDataset({
    inputs: [directory.join("log.tsv")],
    format: "criteo",
    out: directory.join("prepared"),
    validationFraction: FRACTIONS.validation,
    testFraction: FRACTIONS.test,
    generated: { bestAuc },
  });
  const direct = await generateDataset(directory.join("direct"), options);
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
  assert.equal((await direct.readCounts()).reduce((a, b) => a + b, 0), direct.body.splits.train.lookups);
});

Deno.test("same seed, same bytes; another seed, others", async () => {
  using directory = new TemporaryDirectory();
  const options = { samples: 1500, scale: 100, fractions: FRACTIONS };
  const bytes: string[] = [];
  for (const [i, seed] of [1, 1, 2].entries()) {
    const path = directory.join(`log${i}.tsv`);
    await writeCriteoLog(path, { ...options, seed });
    bytes.push(Deno.readTextFileSync(path));
  }
  assert.equal(bytes[0], bytes[1]);
  assert.notEqual(bytes[1], bytes[2]);
});

slowTest("threads draw what one thread draws, in order", async () => {
  const options = { seed: 5, scale: 1000, drift: 0.5 };
  const model = await ClickModel.calibrated(options);
  const samples = 220_000;
  using ring = new BlockRing(options, model, samples);
  const alone = model.block();
  const count = Math.ceil(samples / BLOCK_SAMPLES);
  for (let b = 0; b < count; b++) {
    const block = ring.next();
    model.draw(b, alone, b / count);
    assert.deepEqual(block.ranks, alone.ranks);
    assert.deepEqual(block.labels, alone.labels);
    assert.deepEqual(block.probabilities, alone.probabilities);
  }
});

Deno.test("shares that leave none for training are refused before anything is written", async () => {
  using directory = new TemporaryDirectory();
  for (const fractions of [{ validation: 0.6, test: 0.6 }, { validation: 0, test: 1 }, { validation: -0.5, test: 0 }]) {
    for (const write of [generateDataset, writeCriteoLog]) {
      await assert.rejects(
        () => write(directory.join("out"), { samples: 100, seed: 1, scale: 1000, fractions }),
        /^UsageError: Cannot split: validation .* must leave a share for training$/,
      );
    }
  }
  assert.deepEqual([...Deno.readDirSync(directory.path)], []);
});

Deno.test("drift: rows that were popular lose their share, and the distribution stays as skewed", async () => {
  const model = await ClickModel.calibrated({ seed: 6, drift: 0.4 });
  const block = model.block();
  const top = (time: number) => {
    const ranks: Uint32Array[] = [];
    for (let b = 0; b < 20; b++) {
      model.draw(b, block, time);
      ranks.push(block.ranks.slice());
    }
    const all = Uint32Array.from(ranks.flatMap((r) => [...r]));
    const half = model.rows[2] >>> 1;
    return {
      old: share(all, model, (_, rank) => rank < 10_000, 2),
      both: share(all, model, (_, rank) => rank % half < 10_000, 2),
    };
  };
  const [begin, end] = [top(0), top(1)];
  assert.ok(Math.abs(begin.both - end.both) < 0.01, "popularity itself does not change");
  assert.ok(Math.abs(1 - end.old / begin.old - 0.4) < 0.12, `${begin.old} to ${end.old}`);
});

Deno.test("uniform: the top 1 % of the rows has 1 % of the lookups", async () => {
  const uniform = await ClickModel.calibrated({ seed: 7, shape: "uniform" });
  const flat = share(drawRanks(uniform, 20), uniform, (t, rank) => rank < uniform.rows[t] / 100, 2);
  assert.ok(Math.abs(flat - 0.01) < 0.003, `${flat}`);
});

Deno.test("terabyte and mlperf: Criteo Terabyte's rows up to a limit, each table as skewed as Kaggle's of its size", async () => {
  for (const [shape, rows, limit] of [["terabyte", 49_126_297, 10e6], ["mlperf", 187_767_399, 40e6]] as const) {
    const model = await ClickModel.calibrated({ seed: 7, shape });
    assert.equal(model.rows.reduce((a, b) => a + b, 0), rows);
    assert.ok(Math.max(...model.rows) < limit);
    const largest = model.rows.indexOf(Math.max(...model.rows));
    const skewed = share(drawRanks(model, 20), model, (_, rank) => rank < 10_000, largest);
    assert.ok(Math.abs(skewed - CRITEO_TABLES[2].shares[10]) < 0.03, `${skewed}`);
  }
});

Deno.test("mlperf-dcnv2: 214 lookups a sample, of which those behind the first of a feature follow from it", async () => {
  using directory = new TemporaryDirectory();
  const options = { samples: 3000, seed: 5, scale: 10_000, fractions: FRACTIONS };
  const one = await generateDataset(directory.join("one"), { ...options, shape: "mlperf" });
  const several = await generateDataset(directory.join("several"), { ...options, shape: "mlperf-dcnv2" });
  const tables = 26;
  const partners = new Map<string, string>();
  const counts = new Uint32Array(several.rows);
  let repeated = 0;
  for (const split of ["train", "validation", "test"] as const) {
    const samples = several.samples(split);
    assert.equal(several.body.splits[split].lookups, 214 * samples);
    using plain = one.reader(split, samples);
    using reader = several.reader(split, samples);
    const first = plain.read(0, samples);
    const { indices, offsets, labels } = reader.read(0, samples);
    assert.deepEqual(labels, first.labels);
    for (let bag = 0; bag < samples * tables; bag++) {
      const table = bag % tables;
      const ids = indices.subarray(offsets![bag], offsets![bag + 1]);
      assert.equal(ids.length, MULTI_HOT_SIZES[table]);
      assert.equal(ids[0], first.indices[bag]);
      assert.ok(ids.every((row) => row > several.firstRows[table] && row < several.firstRows[table + 1]));
      const known = partners.get(`${table} ${ids[0]}`);
      if (known === undefined) partners.set(`${table} ${ids[0]}`, ids.join());
      else if (ids.length > 1) repeated++;
      assert.equal(known ?? ids.join(), ids.join());
      if (split === "train") { for (const row of ids) counts[row]++; }
    }
  }
  assert.ok(repeated > 1000);
  assert.deepEqual(await several.readCounts(), counts);
  assert.deepEqual(several.body.generated, one.body.generated);
  await assert.rejects(
    () => writeCriteoLog(directory.join("log"), { ...options, shape: "mlperf-dcnv2" }),
    /Cannot write a raw log in the shape of mlperf-dcnv2, only a dataset/,
  );
});

Deno.test("a plan knows of a preset's data what is generated", () => {
  for (const preset of Object.keys(PRESETS) as Preset[]) {
    if (preset === "taobao" || preset === "pairs" || preset === "mlperf-dcnv2") {
      assert.throws(
        () => publishedData(preset),
        /the popularities of its rows are not known|it has no data of its own|where a feature has several ids/,
      );
    } else assert.equal(publishedData(preset).tables, shapeOf(preset === "default" ? "kaggle" : preset).tables);
  }
});

const AVAZU = new URL("../../../shared/data/avazu/full_value_counts_ge50.csv.gz", import.meta.url);
const absent = !existsSync(AVAZU);

Deno.test({
  name: `avazu: generated shares are within 0.03 of the counted ones${
    absent ? " (skipped: ../shared/data is absent)" : ""
  }`,
  ignore: absent,
  fn: async () => {
    const counts = new Map<string, number[]>();
    for (const line of new TextDecoder().decode(gunzipSync(Deno.readFileSync(AVAZU))).trim().split("\n").slice(1)) {
      const [field, , , , total] = line.split(",");
      if (!counts.has(field)) counts.set(field, []);
      counts.get(field)!.push(Number(total));
    }
    const model = await ClickModel.calibrated({ seed: 8, shape: "avazu" });
    const ranks = drawRanks(model, 40);
    const names = schemaOf("avazu", undefined).columns.filter(isSparse).map((c) => c.name);
    for (const [table, name] of names.entries()) {
      const sorted = counts.get(name)!.sort((a, b) => b - a);
      for (const fraction of [0.001, 0.01, 0.1]) {
        const top = Math.ceil(model.rows[table] * fraction);
        if (top > sorted.length) continue; // the counts end at values seen 50 times
        const counted = sorted.slice(0, top).reduce((a, b) => a + b, 0) / 40_428_967;
        const found = share(ranks, model, (_, rank) => rank < top, table);
        assert.ok(Math.abs(found - counted) < 0.03, `${name}, top ${fraction}: ${found}, counted ${counted}`);
      }
    }
  },
});
