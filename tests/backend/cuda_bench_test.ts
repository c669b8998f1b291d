/** What the benches of the CUDA kernels measure: the limits on memory traffic, and that the GPU timings run. */
import assert from "node:assert/strict";
import { openCuda } from "../../src/backend/cuda/open.ts";
import { measureTimes, timingText } from "../../bench/cuda_bench.ts";
import { measureTraffic } from "../../bench/cuda_traffic.ts";

Deno.test("gather and update touch at most 1.05 sectors for each one needed; no bank takes more than 2 turns", () => {
  for (const dim of [16, 32, 64, 128]) {
    const lines = measureTraffic(dim, 128);
    for (const kernel of ["gather_4", "update_rows_sgd_4", "update_rows_adagrad_4", "update_rows_rwsadagrad_4"]) {
      const { sectors, neededSectors } = lines.find((line) => line.kernel === kernel)!;
      assert.ok(neededSectors > 1000);
      assert.ok(sectors / neededSectors <= 1.05, `${kernel} at dim ${dim}: ${sectors} for ${neededSectors}`);
    }
    for (const { kernel, bankTurns } of lines) {
      assert.ok(bankTurns <= 2, `${kernel} at dim ${dim}: ${bankTurns} turns`);
    }
  }
});

Deno.test("the GPU timings run through every operation (here on the emulated device, whose times mean nothing)", () => {
  using backend = openCuda({ device: "emulated" });
  const timings = measureTimes(backend, { batchSize: 4, tables: 3, rows: 100, dim: 8, repeats: 2 });
  assert.equal(timings.length, 10);
  const text = timingText(timings, 1000);
  assert.match(text, /gather .* us .* GB\/s .* % of peak/);
  assert.match(text, /linear 512-256 .* GFLOP\/s/);
});
