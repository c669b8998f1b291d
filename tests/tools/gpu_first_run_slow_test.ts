/** The whole first run on a GPU, on the emulated device. */
import assert from "node:assert/strict";
import { gpuFirstRun } from "../../tools/gpu_first_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

Deno.test("every part of the first run on a GPU goes well on the emulated device, or says why it is skipped", async () => {
  using directory = new TemporaryDirectory();
  const outcomes = await gpuFirstRun({ out: directory.path, device: "emulated" });
  for (const { name, status, reason, lines } of outcomes) {
    assert.ok(status === "ok" || (status === "skipped" && reason !== ""), `${name}: ${reason}\n${lines.join("\n")}`);
  }
  const events = (part: string) => outcomes.find(({ name }) => name === part)!.events;
  assert.ok(events("kernels").length > 40);
  const steps = events("steps");
  assert.deepEqual(steps.filter((step) => "failed" in step), []);
  assert.deepEqual(new Set(steps.map(({ mode }) => mode)), new Set(["gpu", "fae", "hybrid", "cpu"]));
  assert.deepEqual(new Set(steps.map(({ kind }) => kind)), new Set(["hot", "cold"]));
});
