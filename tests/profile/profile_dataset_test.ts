import assert from "node:assert/strict";
import type { Dataset } from "../../src/dataset/dataset.ts";
import type { HotsetError } from "../../src/errors.ts";
import { Profile } from "../../src/profile/profile.ts";
import { profileDataset, type ProfileOptions } from "../../src/profile/profile_dataset.ts";
import { criteoRows, criteoRowsAbsent } from "../support/criteo_rows.ts";
import { seriesLength, slowTest } from "../support/series.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset, writeDataset } from "../support/tiny_dataset.ts";

const TABLE_ROWS = [50, 40_000, 16_384, 16_383, 70_000];
const SMALL_ROWS = 50 + 16_383; // below 1 MiB at dim 16
/** More than twice the small tables, so that they are hot as a whole. */
const BUDGET = 2_200_000;
const ALL_ROWS = TABLE_ROWS.reduce((a, b) => a + b);

/** Budgets of a coverage curve in MiB: doubled from 64 KiB up to one that holds every row. */
const DOUBLED = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16];

/** Made once and only read. */
const made = new Map<boolean, Dataset>();
const shared = new TemporaryDirectory();
addEventListener("unload", () => shared[Symbol.dispose]());

function skewedDataset(bags = false): Dataset {
  const samples = { train: 30_000, validation: 10, test: 10 };
  const dataset = made.get(bags) ?? tinyDataset(shared.join(`dataset-${bags}`), {
    ...{ samples, tableRows: TABLE_ROWS, denseFeatures: 1, bags, seed: 1, skew: 4 },
  });
  made.set(bags, dataset);
  return dataset;
}

function profiler(directory: TemporaryDirectory, dataset: Dataset) {
  return (options: Partial<ProfileOptions>) =>
    profileDataset(dataset, {
      out: directory.join("profile"),
      dim: 16,
      optimizer: "sgd",
      hotMemory: BUDGET,
      seed: 1,
      ...options,
    });
}

/** Share of train samples whose lookups are all hot. */
function hotSampleShare(dataset: Dataset, profile: Profile): number {
  const hot = new Uint8Array(dataset.rows);
  for (const row of profile.hotRows) hot[row] = 1;
  const count = dataset.samples("train");
  using reader = dataset.reader("train", count);
  const { indices, offsets } = reader.readLookups(0, count);
  let hotSamples = 0;
  for (let i = 0; i < count; i++) {
    const bag = i * dataset.tables;
    const lookups = indices.subarray(offsets?.[bag] ?? bag, offsets?.[bag + dataset.tables] ?? bag + dataset.tables);
    if (lookups.every((row) => hot[row] === 1)) hotSamples++;
  }
  return hotSamples / count;
}

for (const bags of [false, true]) {
  Deno.test(`exact counts: the most used rows fill the budget, small tables are whole${bags ? ", with bags" : ""}`, async () => {
    using directory = new TemporaryDirectory();
    const dataset = skewedDataset(bags);
    const { body, hotRows } = await profiler(directory, dataset)({});
    const counts = await dataset.readCounts();
    const used = body.tables.map(({ rows }, t) =>
      counts.subarray(dataset.firstRows[t], dataset.firstRows[t] + rows).filter((count) => count > 0).length
    );
    assert.ok(used[1] + used[2] + used[4] + SMALL_ROWS > BUDGET / 64, "the budget is short");
    assert.equal(body.hotRows, BUDGET / 64);
    assert.equal(body.hotBytes, BUDGET);
    assert.deepEqual(body.tables.map(({ whole }) => whole), [true, false, false, true, false]);
    assert.ok(hotRows.every((row) => counts[row] > 0 || row < 50 || row - dataset.firstRows[3] < 16_383));
    const hot = new Set(hotRows);
    for (const t of [1, 2, 4]) {
      const { cutoff, hotRows: tableHotRows, exact, rows } = body.tables[t];
      const first = dataset.firstRows[t];
      let reaching = 0, found = 0;
      for (let row = first; row < first + rows; row++) {
        if (counts[row] >= cutoff!) {
          reaching++;
          assert.ok(hot.has(row), `row ${row} with ${counts[row]} accesses is hot from ${cutoff} on`);
        } else assert.ok(!hot.has(row) || counts[row] === cutoff! - 1);
        if (hot.has(row)) found++;
      }
      assert.deepEqual([exact, tableHotRows], [reaching, found]);
    }
    const lookups = counts.reduce((sum, count) => sum + count, 0);
    const hotLookups = hotRows.reduce((sum, row) => sum + counts[row], 0);
    assert.equal(body.hotLookupShare, hotLookups / lookups);
  });

  if (bags && seriesLength({ test: 0, all: 1, evidence: 1 }) === 0) continue;
  slowTest(`the coverage curve agrees with profiles of its budgets${bags ? ", with bags" : ""}`, async () => {
    using directory = new TemporaryDirectory();
    const dataset = skewedDataset(bags);
    const profile = profiler(directory, dataset);
    const { coverage } = (await profile({ hotMemory: 0 })).body;
    assert.deepEqual(coverage.map(({ budget }) => budget / (1 << 20)), DOUBLED);
    for (const { budget, hotBytes, lookupShare, sampleShare } of coverage) {
      const found = await profile({ hotMemory: budget });
      assert.equal(hotBytes, found.body.hotBytes);
      assert.ok(Math.abs(lookupShare - found.body.hotLookupShare) < 1e-12);
      // 20,000 of the 30,000 samples were drawn.
      assert.ok(Math.abs(sampleShare - hotSampleShare(dataset, found)) < 0.01);
    }
    assert.equal(coverage.at(-1)!.hotBytes, ALL_ROWS * 64);
  });
}

Deno.test("the coverage curve has the chosen budget and its double, unless they hold every row", async () => {
  using directory = new TemporaryDirectory();
  const profile = profiler(directory, skewedDataset());
  const budgets = async (hotMemory: number) =>
    (await profile({ hotMemory })).body.coverage.map(({ budget }) => budget / (1 << 20));
  assert.deepEqual(await budgets(3 << 20), [...DOUBLED, 3, 6].sort((a, b) => a - b));
  assert.deepEqual(await budgets(4 << 20), DOUBLED);
  assert.deepEqual(await budgets(100 << 20), DOUBLED);
});

Deno.test("a budget of 0 makes nothing hot", async () => {
  using directory = new TemporaryDirectory();
  const { body, hotRows } = await profiler(directory, skewedDataset())({ hotMemory: 0 });
  assert.deepEqual([hotRows.length, body.hotBytes, body.hotLookupShare, body.threshold], [0, 0, 0, null]);
  assert.ok(body.tables.every(({ whole, hotRows, cutoff }) => !whole && hotRows === 0 && cutoff === null));
});

Deno.test("a budget that holds every row makes every row hot, and one byte less does not", async () => {
  using directory = new TemporaryDirectory();
  const profile = profiler(directory, skewedDataset());
  for (const sampleRate of [undefined, 5]) {
    const { body, hotRows } = await profile({ hotMemory: ALL_ROWS * 64, sampleRate });
    assert.deepEqual([hotRows.length, body.hotLookupShare, body.threshold], [ALL_ROWS, 1, null]);
    assert.ok(body.tables.every(({ whole }) => whole) && hotRows.every((row, i) => row === i));
  }
  const { body } = await profile({ hotMemory: ALL_ROWS * 64 - 1 });
  assert.ok(body.floorReached && body.hotLookupShare === 1 && body.hotRows < ALL_ROWS);
});

slowTest("any budget works: small tables are whole in twice their bytes, below that their rows compete", async () => {
  using directory = new TemporaryDirectory();
  const dataset = skewedDataset();
  const profile = profiler(directory, dataset);
  const counts = await dataset.readCounts();
  const twice = 2 * SMALL_ROWS * 64;
  for (const sampleRate of [undefined, 5]) {
    const whole = async (hotMemory: number) =>
      (await profile({ hotMemory, sampleRate })).body.tables.map(({ whole }) => whole);
    assert.deepEqual(await whole(twice), [true, false, false, true, false]);
    assert.deepEqual(await whole(twice - 1), [false, false, false, false, false]);
  }
  let last = 0;
  for (const rows of [1, 60, SMALL_ROWS, 2 * SMALL_ROWS - 1]) {
    const { body, hotRows } = await profile({ hotMemory: rows * 64 + 63 });
    assert.equal(body.hotRows, rows, "the budget is filled");
    assert.ok(hotRows.every((row) => counts[row] > 0));
    assert.ok(body.hotLookupShare > last);
    last = body.hotLookupShare;
    const sampled = (await profile({ hotMemory: rows * 64, sampleRate: 5 })).body;
    assert.ok(sampled.hotRows <= rows);
  }
});

Deno.test("a budget below one row makes nothing hot, a budget of one row makes one row hot", async () => {
  using directory = new TemporaryDirectory();
  const profile = profiler(directory, skewedDataset());
  for (const sampleRate of [undefined, 5]) {
    for (const hotMemory of [1, 63]) assert.equal((await profile({ hotMemory, sampleRate })).body.hotRows, 0);
  }
  assert.equal((await profile({ hotMemory: 64 })).body.hotRows, 1);
});

slowTest("a log of small tables alone can be hot to any share of its samples", async () => {
  using directory = new TemporaryDirectory();
  const dataset = tinyDataset(directory.join("dataset"), {
    samples: { train: 6000, validation: 5, test: 5 },
    tableRows: [3000, 2000, 500],
    denseFeatures: 1,
    bags: false,
    seed: 1,
    skew: 3,
  });
  const profile = profiler(directory, dataset);
  const { coverage } = (await profile({ hotMemory: 0 })).body;
  assert.equal(coverage.at(-1)!.sampleShare, 1);
  for (const share of [0.05, 0.6, 1]) {
    let low = 0, high = dataset.rows; // rows of about the smallest budget that reaches the share
    while (high - low > 16) {
      const middle = Math.floor((low + high) / 2);
      if ((await profile({ hotMemory: middle * 64 })).body.hotSampleShare >= share) high = middle;
      else low = middle;
    }
    const found = hotSampleShare(dataset, await profile({ hotMemory: high * 64 }));
    assert.ok(Math.abs(found - share) < 0.02, `${found} hot where ${share} was sought`);
  }
});

Deno.test("optimizer state takes its part of the budget", async () => {
  using directory = new TemporaryDirectory();
  const profile = profiler(directory, skewedDataset());
  const hotRows: number[] = [];
  for (const optimizer of ["sgd", "rwsadagrad", "adagrad"] as const) {
    hotRows.push((await profile({ optimizer, hotMemory: 2_200_000 })).body.hotRows);
  }
  assert.deepEqual(hotRows, [64, 68, 128].map((bytes) => Math.floor(2_200_000 / bytes)));
});

Deno.test("a sampled profile stays within the budget and reports its estimate against the exact size", async () => {
  using directory = new TemporaryDirectory();
  const dataset = skewedDataset();
  const progress: number[] = [];
  const { body, hotRows } = await profiler(directory, dataset)({
    sampleRate: 5,
    hotMemory: 1_200_000,
    onProgress: (done, total) => progress.push(done / total),
  });
  assert.ok(body.sampleRate >= 5 && body.hotBytes <= 1_200_000 && hotRows.length === body.hotRows);
  const { low, value, high } = body.hotBytesEstimate;
  assert.ok(low <= value && value <= high && high <= 1_200_000);
  assert.equal(progress.at(-1), 1);
  const counts = await dataset.readCounts();
  for (const t of [1, 2, 4]) {
    const { rows, accesses, exact } = body.tables[t];
    const first = dataset.firstRows[t];
    const expected = counts.subarray(first, first + rows).filter((count) => count / accesses >= body.threshold!).length;
    assert.equal(exact, expected);
  }
  assert.equal(body.hotBytesExact, body.tables.reduce((sum, { exact }) => sum + exact, 0) * 64);
});

Deno.test("the sample grows until it settles: not for a few popular rows, to four times its share for rare ones", async () => {
  using directory = new TemporaryDirectory();
  const rows = 50_000, samples = 200_000;
  // 90 rows share nine lookups of ten evenly; 20,000 others have one lookup each.
  const ids = Uint32Array.from(
    { length: samples },
    (_, i) => i % 10 > 0 ? i % 100 : 100 + (i / 10 * 7919) % (rows - 100),
  );
  const train = { labels: new Uint8Array(samples), dense: new Float32Array(0), ids };
  const dataset = writeDataset(directory.join("dataset"), { tableRows: [rows], denseFeatures: 0, splits: { train } });
  const sample = async (hotMemory: number, sampleRate: number) => {
    const { body } = await profiler(directory, dataset)({ sampleRate, hotMemory });
    return [body.sampleRate, body.settled];
  };
  assert.deepEqual(await sample(300 * 64, 5), [5, true]);
  assert.deepEqual(await sample(15_000 * 64, 5), [20, false]);
  assert.deepEqual(await sample(15_000 * 64, 40), [100, true]);
});

Deno.test("a sample of 100 percent finds what exact counts find", async () => {
  using directory = new TemporaryDirectory();
  const profile = profiler(directory, skewedDataset());
  const sampled = (await profile({ sampleRate: 100 })).body;
  const exact = (await profile({})).body;
  assert.deepEqual([sampled.hotRows, sampled.hotLookupShare], [exact.hotRows, exact.hotLookupShare]);
});

Deno.test("the same seed gives the same profile, another seed another sample", async () => {
  using directory = new TemporaryDirectory();
  const profile = profiler(directory, skewedDataset());
  const options = { sampleRate: 2, hotMemory: 1_200_000 };
  const { id } = await profile(options);
  assert.equal((await profile(options)).id, id);
  assert.equal(Profile.open(directory.join("profile")).id, id);
  assert.notEqual((await profile({ ...options, seed: 2 })).id, id);
});

Deno.test("options that make no sense are refused", async () => {
  using directory = new TemporaryDirectory();
  const profile = profiler(directory, skewedDataset());
  const cases: [Partial<ProfileOptions>, RegExp][] = [
    [{ sampleRate: 0 }, /the sample rate 0 is not above 0 and at most 100 percent/],
    [{ sampleRate: 101 }, /the sample rate 101 /],
    [{ sampleRate: NaN }, /the sample rate NaN /],
    [{ hotMemory: -1 }, /the hot memory -1 is not a number of bytes/],
    [{ hotMemory: 1.5 }, /the hot memory 1.5 /],
    [{ dim: 0 }, /the embedding dimension 0 is not a positive whole number/],
  ];
  for (const [options, message] of cases) {
    await assert.rejects(
      () => profile(options),
      (error: HotsetError) => error.name === "HotsetError" && message.test(error.message),
    );
  }
  assert.deepEqual(
    [...Deno.readDirSync(directory.path)],
    [],
    "nothing is left behind",
  );
});

Deno.test("a dataset without train samples has a profile", async () => {
  using directory = new TemporaryDirectory();
  const dataset = writeDataset(directory.join("dataset"), { tableRows: [3, 40_000], denseFeatures: 0, splits: {} });
  for (const sampleRate of [undefined, 5]) {
    const { body } = await profiler(directory, dataset)({ hotMemory: 64_000, sampleRate });
    assert.deepEqual([body.hotRows, body.hotLookupShare], [3, 0]);
  }
});

for (const order of ["frequency", "shuffled"] as const) {
  Deno.test({
    name: `real rows, ids by ${order}: the estimated size is within 10 % of the exact one${
      criteoRowsAbsent ? `: ${criteoRowsAbsent}` : ""
    }`,
    ignore: criteoRowsAbsent !== undefined,
    async fn() {
      using directory = new TemporaryDirectory();
      const dataset = writeDataset(directory.join("dataset"), criteoRows([0, 1, 2], order));
      for (const hotMemory of [4 << 20, 8 << 20]) {
        const { hotBytesEstimate: { low, value, high }, hotBytesExact, threshold } =
          (await profiler(directory, dataset)({ hotMemory })).body;
        assert.ok(threshold !== null);
        assert.ok(low < high && low <= hotBytesExact && hotBytesExact <= high);
        assert.ok(Math.abs(value - hotBytesExact) <= 0.1 * hotBytesExact, `${value} for ${hotBytesExact}`);
      }
    },
  });
}
