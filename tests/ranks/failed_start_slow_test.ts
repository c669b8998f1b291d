/** What fails after ranks have started ends them, and is the error that comes out. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import type { TrainConfig } from "../../src/config/config.ts";
import { HotsetError } from "../../src/errors.ts";
import { rowStateWords } from "../../src/optimizer/optimizers.ts";
import { openRanks } from "../../src/ranks/placement.ts";
import { tierOf } from "../../src/ranks/tier.ts";
import { planFor } from "../../src/run/run.ts";
import { ensureLayout } from "../../src/run/stages.ts";
import { testDevice } from "../support/cuda_device.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { waitFor } from "../support/wait_for.ts";
import { configOf, datasetOf } from "./support.ts";

/** Threads of the workers of this process that have not ended, those of other test files too; Deno names them. */
function workers(): Set<string> {
  return new Set(
    readdirSync("/proc/self/task").filter((id) => {
      try {
        return /^worker/.test(Deno.readTextFileSync(`/proc/self/task/${id}/comm`));
      } catch {
        return false; // it has just ended
      }
    }),
  );
}

for (const [mode, share] of [["cpu", null], ["cpu", 0.1], ["cached", null], ["cached", 0.1]] as const) {
  Deno.test({
    name: `mode ${mode}, ${share ?? 1} of the rows in memory: ranks end if what follows their start fails`,
    ignore: Deno.build.os !== "linux",
    fn: async () => {
      using directory = new TemporaryDirectory();
      const config: TrainConfig = {
        ...configOf(0),
        ...{ mode, ranks: 2, device: mode === "cpu" ? "cpu" : testDevice, precision: "fp32" },
      };
      const dataset = datasetOf(directory, 0);
      using layout = await ensureLayout(dataset, undefined, config, { cache: directory.path }, () => {});
      const { shape, body: { mostDistinct } } = layout;
      const rowBytes = 4 * (config.dim + rowStateWords(config.optimizer, config.dim));
      const placed = mode === "cpu" ? config : { ...config, hotMemory: rowBytes * (2 * mostDistinct.cold + 7) };
      const batches = { batchShape: shape, mostDistinct };
      const rows = directory.join("rows");
      const tier = tierOf(rows, share === null ? null : { share });
      const before = workers();
      let started = new Set<string>();
      const failing = () => {
        started = started.union(workers().difference(before));
        throw new HotsetError("the report fails");
      };
      await assert.rejects(
        openRanks(placed, planFor(placed, dataset), batches, { report: failing, tier }),
        /^HotsetError: the report fails$/,
      );
      assert.ok(started.size >= 2, "no rank had started");
      await waitFor(() => workers().isDisjointFrom(started));
      assert.throws(() => Deno.statSync(rows), Deno.errors.NotFound, "rows are left");
    },
  });
}
