import assert from "node:assert/strict";
import { planDataset, planPublished } from "../../src/plan/plan_training.ts";
import { publishedData } from "../../src/plan/published.ts";
import { profileDataset } from "../../src/profile/profile_dataset.ts";
import { resolveConfig } from "../../src/config/config.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const GIB = 2 ** 30;
const ROOMY = { total: 1024 * GIB, available: 1024 * GIB };

Deno.test("planDataset() expects what profiling then finds", async () => {
  using folder = new TemporaryDirectory();
  const dataset = tinyDataset(folder.join("data"), {
    samples: { train: 3000, validation: 0, test: 0 },
    tableRows: [20_000, 300, 30_000],
    denseFeatures: 2,
    bags: true,
    seed: 1,
    skew: 4,
  });
  const hotMemory = 100_000;
  const plan = await planDataset(dataset, resolveConfig("kaggle", { hotMemory, optimizer: "adagrad" }), ROOMY);
  const { body } = await profileDataset(dataset, {
    out: folder.join("p"),
    dim: 16,
    optimizer: "adagrad",
    hotMemory,
    seed: 1,
  });
  assert.equal(plan.hotRows, body.hotRows);
  assert.equal(plan.hotBytes, body.hotBytes);
  assert.equal(plan.hotLookupShare, body.hotLookupShare);
  assert.deepEqual(
    plan.tables.map(({ name, rows, hotRows, lookupShare }) => ({ name, rows, hotRows, lookupShare })),
    body.tables.map(({ name, rows, hotRows, lookupShare }) => ({ name, rows, hotRows, lookupShare })),
  );
  assert.deepEqual(plan.tables.map(({ bytes, stateBytes }) => [bytes, stateBytes]), [
    [20_000 * 64, 20_000 * 64],
    [300 * 64, 300 * 64],
    [30_000 * 64, 30_000 * 64],
  ]);
  assert(plan.hotSampleShare! > 0 && plan.hotSampleShare! < plan.hotLookupShare);
});

Deno.test("planPublished() knows the published sizes", () => {
  const kaggle = planPublished(publishedData("kaggle"), resolveConfig("kaggle", { hotMemory: 256 * 2 ** 20 }), ROOMY);
  assert.equal(kaggle.rows, 33_762_577);
  assert.equal(kaggle.tables.reduce((sum, { bytes }) => sum + bytes, 0), 33_762_577 * 64);
  assert.equal(kaggle.hotRows, 256 * 2 ** 20 / 64);
  assert(kaggle.hotSampleShare! > 0.72 && kaggle.hotSampleShare! < 0.78, `${kaggle.hotSampleShare}`);
  const avazu = planPublished(publishedData("avazu"), resolveConfig("avazu", { hotMemory: 0 }), ROOMY);
  assert.equal(avazu.rows, 9_449_205);
  assert.equal(avazu.tables.length, 21);
  assert.equal(avazu.hotLookupShare, 0);
  assert.equal(avazu.hotSampleShare, null);
});

Deno.test("a plan that does not fit says what to lower, and that fits", () => {
  const config = resolveConfig("kaggle", { optimizer: "adagrad", ranks: 2 });
  const machine = { total: 4 * GIB, available: 4 * GIB };
  const plan = planPublished(publishedData("kaggle"), config, machine);
  const cpu = plan.placements.find(({ mode }) => mode === "cpu")!;
  assert(!cpu.fits && cpu.host > 4 * GIB);
  assert.match(
    plan.advice[0],
    /^Modes cpu \(4\.\d GiB\), fae .* do not fit; they would with --optimizer rwsadagrad, or with --arch-sparse-feature-size 8 /,
  );
  const lowered = planPublished(publishedData("kaggle"), { ...config, optimizer: "rwsadagrad" }, machine);
  assert(lowered.placements.find(({ mode }) => mode === "cpu")!.fits);
  const hopeless = planPublished(publishedData("mlperf"), resolveConfig("mlperf"), { total: GIB, available: GIB });
  assert.match(hopeless.advice[0], /no flag alone helps: prepare the data with --max-ind-range/);
  assert.deepEqual(planPublished(publishedData("kaggle"), config, ROOMY).advice, []);
});

Deno.test("--hot-memory in the advice is enough to fit", () => {
  const config = resolveConfig("kaggle", { hotMemory: 2 * GIB, ranks: 2 });
  const machine = { total: 4 * GIB, available: 3.5 * GIB };
  const plan = planPublished(publishedData("kaggle"), config, machine);
  const line = plan.advice.find((text) => text.startsWith("Mode fae ("))!;
  const mib = Number(/--hot-memory (\d+)MiB/.exec(line)![1]);
  assert(mib > 100, line);
  const lowered = planPublished(publishedData("kaggle"), { ...config, hotMemory: mib * 2 ** 20 }, machine);
  assert(lowered.placements.find(({ mode, onDevice }) => mode === "fae" && !onDevice)!.fits);
});

Deno.test("any budget can be planned, and a larger one covers more", () => {
  let last = 0;
  for (const rows of [0, 1, 15, 1000, 1e5, 2e5, 1e6, 1e7]) {
    const config = resolveConfig("kaggle", { hotMemory: rows * 64 + 63 });
    const { hotRows, hotLookupShare } = planPublished(publishedData("kaggle"), config, ROOMY);
    assert.equal(hotRows, rows);
    assert(hotLookupShare > last || rows === 0);
    last = hotLookupShare;
  }
});
