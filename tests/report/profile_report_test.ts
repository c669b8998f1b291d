import assert from "node:assert/strict";
import { Tally } from "../../src/profile/tally.ts";
import { popularityCurve } from "../../src/report/html/popularity.ts";
import { nextDoubling, writeProfileReport } from "../../src/report/html/profile_report.ts";
import type { ProfileBody } from "../../src/profile/profile.ts";
import { profileDataset } from "../../src/profile/profile_dataset.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const MIB = 2 ** 20;
const body = {
  hotMemory: 2 * MIB,
  hotBytes: 2 * MIB,
  hotRows: 2 * MIB / 64,
  rows: 8 * MIB / 64,
  bytesPerRow: 64,
  hotLookupShare: 0.6,
  hotSampleShare: 0.3,
  coverage: [
    { budget: MIB, hotBytes: MIB, lookupShare: 0.5, sampleShare: 0.1 },
    { budget: 2 * MIB, hotBytes: 2 * MIB, lookupShare: 0.6, sampleShare: 0.3 },
    { budget: 4 * MIB, hotBytes: 4 * MIB, lookupShare: 0.8, sampleShare: 0.5 },
    { budget: 8 * MIB, hotBytes: 8 * MIB, lookupShare: 1, sampleShare: 1 },
  ],
} as ProfileBody;

Deno.test("nextDoubling() reads the coverage curve", () => {
  assert.equal(
    nextDoubling(body),
    "Doubling the budget from 2.0 MiB to 4.0 MiB would raise the hot lookups from 60.0 % to 80.0 % (20.0 points more) " +
      "and the all-hot samples from about 30.0 % to 50.0 % (20.0 points more).",
  );
});

Deno.test("nextDoubling() beyond all rows ends with all of them", () => {
  const text = nextDoubling({
    ...body,
    hotMemory: 5 * MIB,
    hotBytes: 5 * MIB,
    hotRows: 5 * MIB / 64,
    hotLookupShare: 0.9,
  });
  assert.match(text, /from 90\.0 % to 100\.0 % \(10\.0 points more\)/);
});

Deno.test("nextDoubling() says where there is nothing to buy, and what the first budget buys", () => {
  assert.match(nextDoubling({ ...body, hotRows: body.rows }), /larger budget has no effect/);
  assert.match(
    nextDoubling({ ...body, hotMemory: 0, hotBytes: 0, hotRows: 0 }),
    /1\.0 MiB would make 50\.0 % of the lookups hot, and about 10\.0 % of the samples/,
  );
});

Deno.test("popularityCurve() is thinned, exact at its points, and ends at the last accessed row", () => {
  const counts = Uint32Array.from({ length: 100_000 }, (_, i) => i < 60_000 ? Math.floor(60_000 / (i + 1)) : 0)
    .reverse();
  const curve = popularityCurve(new Tally(counts), 777);
  assert(curve.length < 150, `${curve.length} points`);
  for (const { rank, accesses } of curve) assert.equal(accesses, Math.floor(60_000 / rank), `rank ${rank}`);
  assert.deepEqual(curve[0], { rank: 1, accesses: 60_000 });
  assert.deepEqual(curve.at(-1), { rank: 60_000, accesses: 1 });
  assert(curve.some(({ rank }) => rank === 777), "the marked rank has a point");
});

Deno.test("popularityCurve() of a table without accesses is empty", () => {
  assert.deepEqual(popularityCurve(new Tally(new Uint32Array(5)), 0), []);
  assert.deepEqual(popularityCurve(new Tally(Uint32Array.of(7)), 1), [{ rank: 1, accesses: 7 }]);
  const most = 2 ** 32 - 1; // where counts are saturated
  assert.deepEqual(popularityCurve(new Tally(Uint32Array.of(most, 70_000)), 0), [
    { rank: 1, accesses: most },
    { rank: 2, accesses: 70_000 },
  ]);
});

Deno.test("writeProfileReport() writes one file with nothing to load, names escaped, at every kind of budget", async () => {
  using folder = new TemporaryDirectory();
  const dataset = tinyDataset(folder.join("a & 'b'"), {
    samples: { train: 2000, validation: 0, test: 0 },
    tableRows: [20_000, 30_000, 3],
    denseFeatures: 2,
    bags: true,
    seed: 1,
    skew: 4,
  });
  for (const hotMemory of [0, 65_536, MIB, 64 * MIB]) {
    const options = { out: folder.join("profile"), dim: 16, optimizer: "sgd", hotMemory, seed: 1 } as const;
    const file = folder.join("reports", `${hotMemory}.html`);
    await writeProfileReport(await profileDataset(dataset, options), dataset, file);
    const html = Deno.readTextFileSync(file);
    assert.match(html, /<h1>Popular rows of a &#38; &#39;b&#39;<\/h1>/);
    assert(
      !/<script|https?:(?!\/\/www\.w3\.org)|NaN|undefined|Infinity/.test(html),
      "no script, address or missing number",
    );
    assert(!html.includes("generated, not collected"), "real data is not called generated");
    assert.equal(html.match(/<figure>/g)?.length, 3, "one curve a table");
  }
  assert.deepEqual([...Deno.readDirSync(folder.join("reports"))].filter(({ name }) => name.startsWith(".")), []);
});

Deno.test("writeProfileReport() refuses another dataset's profile and a file that cannot be", async () => {
  using folder = new TemporaryDirectory();
  const options = {
    samples: { train: 50, validation: 0, test: 0 },
    tableRows: [5],
    denseFeatures: 1,
    bags: false,
    skew: 1,
  };
  const dataset = tinyDataset(folder.join("one"), { ...options, seed: 1 });
  const other = tinyDataset(folder.join("two"), { ...options, seed: 2 });
  const profile = await profileDataset(dataset, {
    out: folder.join("p"),
    dim: 4,
    optimizer: "sgd",
    hotMemory: 0,
    seed: 1,
  });
  await assert.rejects(() => writeProfileReport(profile, other, folder.join("r.html")), /it was not made from dataset/);
  await assert.rejects(
    () => writeProfileReport(profile, dataset, folder.join("one", "manifest.json", "r.html")),
    /^HotsetError: Cannot write .*r\.html: /,
  );
});
