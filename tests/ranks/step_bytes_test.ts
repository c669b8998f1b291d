/** The bytes that hosts send equal the formula for each batch. */
import assert from "node:assert/strict";
import { buildLayout } from "../../src/layout/build_layout.ts";
import { profileDataset } from "../../src/profile/profile_dataset.ts";
import { runMpi, testWithEach } from "../support/mpirun.ts";
import { seriesLength } from "../support/series.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const BYTES = new URL("../support/mpi_bytes.ts", import.meta.url);
const DIM = 16;

// Gradients of pooled rows are fewer where most lookups have a row of their own, sums where few rows take all.
const MANY_ROWS = { skew: 2, hotRows: 1000 }, FEW_ROWS = { skew: 40, hotRows: 70 };
const CASES = [
  { hosts: [2, 2], ...MANY_ROWS },
  { hosts: [1, 1, 1], ...FEW_ROWS },
  { hosts: [1, 1], ...MANY_ROWS },
  { hosts: [2, 2], ...FEW_ROWS },
  { hosts: [1, 1, 1], ...MANY_ROWS },
  { hosts: [1, 1], ...FEW_ROWS },
];

for (const { hosts, skew, hotRows } of CASES.slice(0, seriesLength({ test: 1, all: 6, evidence: 6 }))) {
  testWithEach(
    `${hosts.length} hosts with ${hosts[0]} ranks send what the formula says, skew ${skew}`,
    async (launcher) => {
      using directory = new TemporaryDirectory();
      const tableRows = [20_000, 50, 17_000, 3];
      const dataset = tinyDataset(directory.join("data"), {
        samples: { train: 48 * 30 - 11, validation: 0, test: 0 },
        tableRows,
        denseFeatures: 3,
        bags: skew === 2,
        seed: 2,
        skew,
      });
      const profile = await profileDataset(dataset, {
        out: directory.join("profile"),
        dim: DIM,
        optimizer: "sgd",
        hotMemory: 4 * DIM * hotRows,
        sampleRate: undefined,
        seed: 1,
      });
      using layout = await buildLayout(dataset, profile, { out: directory.join("layout"), batchSize: 47 });
      assert.ok(layout.batches("hot") > 0 && layout.batches("cold") > 0);
      const args = [layout.directory, `${DIM}`, JSON.stringify(tableRows)];
      const { code, stdout, stderr } = await runMpi(launcher, hosts, BYTES, args);
      assert.equal(code, 0, stderr);
      const steps = stdout.trim().split("\n").map((line) => JSON.parse(line));
      assert.equal(steps.length, layout.batches("hot") + layout.batches("cold"));
      for (const { kind, counted, formula } of steps) assert.equal(counted, formula, kind);
    },
  );
}
