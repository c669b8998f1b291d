/** The benchmarks of CUDA kernels run, and the memory traffic that they count stays within limits. */
import assert from "node:assert/strict";
import { openCuda } from "../../src/backend/cuda/open.ts";
import { measureLimits, measureTimes, timingText, TINY } from "../../bench/cuda_bench.ts";
import { kernelTables, occupanciesOf } from "../../bench/kernel_table.ts";
import { seriesLength } from "../support/series.ts";
import { measureTraffic } from "../../bench/cuda_traffic.ts";

Deno.test("gather and update touch at most 1.05 sectors for each one needed; no bank takes more than 2 turns", () => {
  for (const dim of [16, 128, 32, 64].slice(0, seriesLength({ test: 2, all: 4, evidence: 4 }))) {
    const lines = measureTraffic(dim, 48);
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
  const sizes = { ...TINY, batchSize: 4 };
  const limits = measureLimits(backend, sizes);
  const timings = [...measureTimes(backend, sizes, limits)];
  for (
    const kernel of ["gather", "scatter", "update_rows rwsadagrad", "interact_backward", "loss", "dW = dY' x 8-1 bf16"]
  ) {
    assert.ok(timings.some(({ name }) => name === kernel), kernel);
  }
  for (const { microseconds, shareOfLimit } of timings) assert.ok(microseconds > 0 && shareOfLimit > 0);
  const resources = new URL("../../src/backend/cuda/kernels/resources.md", import.meta.url);
  const occupancies = occupanciesOf(Deno.readTextFileSync(resources), 90);
  for (const { name, entry, flops } of timings) assert.equal(occupancies.of.has(entry ?? ""), flops === 0, name);
  const [head, kernels, products] = kernelTables("a GPU", limits, timings, occupancies).split("\n\n");
  assert.match(head, /^a GPU\. .* copies [0-9.]+ TB\/s .* bf16 [0-9.]+\. .* sm_90/);
  assert.match(kernels, /^\| kernel +\| +4 \| of the limit \| MB, minimum \| occupancy \|\n/);
  assert.match(kernels, /^\| `update_rows rwsadagrad` \| +[0-9.]+ \| +\d+ % \| +0\.0 \| +37 % \|$/m);
  assert.match(products, /^\| `y = relu\(x W' \+ b\) 8-1 tf32` +\| +[0-9.]+ \| +\d+ % \| +0\.00 \|$/m);
  assert.match(timingText(timings[0]), /^gather +[0-9.]+ us +[0-9.]+ GB\/s +\d+ % of the limit$/);
});
