import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { prepareDataset } from "../../src/dataset/prepare.ts";
import { onlyInAll } from "../support/series.ts";
import { idsOf, labelsOf, TemporaryDirectory } from "./support.ts";

const DATA = join(import.meta.dirname!, "../../../shared/data/criteo_kaggle");
const absent = existsSync(DATA) ? onlyInAll : "../shared/data/criteo_kaggle is absent";
const reason = absent === undefined ? "" : ` (skipped: ${absent})`;

Deno.test({
  name: `real Criteo rows: dictionary, counts and dense values as computed row by row${reason}`,
  ignore: absent !== undefined,
  fn: async () => {
    using directory = new TemporaryDirectory();
    const parts = ["part0", "part1"].map((p) => join(DATA, `train137k_${p}.tsv.gz`));
    const dataset = await prepareDataset({
      inputs: parts,
      testInputs: [join(DATA, "train137k_part2.tsv.gz")],
      format: "criteo",
      out: directory.join("out"),
      minFrequency: 2,
      validationFraction: 0.05,
    });
    const samples = 33_014 + 34_862;
    const validation = Math.floor(samples * 0.05);
    assert.equal(dataset.samples("train"), samples - validation);
    assert.equal(dataset.samples("validation"), validation);
    assert.equal(dataset.samples("test"), 34_666);

    // The definition, in plain code.
    const rows = parts.flatMap((path) =>
      new TextDecoder().decode(gunzipSync(Deno.readFileSync(path))).trimEnd().split("\n").map((line) =>
        line.split("\t")
      )
    );
    const train = rows.slice(0, dataset.samples("train"));
    assert.deepEqual(labelsOf(dataset, "train"), train.map((r) => Number(r[0])));
    const ids = idsOf(dataset, "train");
    const counts = await dataset.readCounts();
    for (let t = 0; t < 26; t++) {
      const frequency = new Map<number, number>();
      const values = train.map((r) => r[14 + t] === "" ? 0 : parseInt(r[14 + t], 16));
      for (const value of values) frequency.set(value, (frequency.get(value) ?? 0) + 1);
      const kept = [...frequency].filter(([, n]) => n >= 2).sort(([a, n], [b, m]) => m - n || a - b);
      const id = new Map(kept.map(([value], i) => [value, i + 1]));
      assert.equal(dataset.body.tables[t].rows, kept.length + 1);
      assert.ok(values.every((value, s) => ids[s][t][0] === (id.get(value) ?? 0)), `C${t + 1}`);
      const first = dataset.firstRows[t];
      assert.deepEqual([...counts.subarray(first + 1, first + 1 + kept.length)], kept.map(([, n]) => n));
      assert.equal(counts[first], train.length - kept.reduce((sum, [, n]) => sum + n, 0));
    }
    using reader = dataset.reader("train", train.length);
    const { dense } = reader.read(0, train.length);
    const expected = train.flatMap((r) => r.slice(1, 14).map((x) => Math.fround(Math.log(Math.max(Number(x), 0) + 1))));
    assert.equal(expected.findIndex((x, i) => x !== dense[i]), -1);
    const clicks = labelsOf(dataset, "test").reduce((a, b) => a + b, 0);
    assert.ok(Math.abs(clicks / 34_666 - 0.2568) < 0.02);
  },
});
