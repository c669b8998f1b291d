/** The whole first run on a GPU, on the emulated device and on the stand-in. */
import assert from "node:assert/strict";
import { gpuFirstRun } from "../../tools/gpu_first_run.ts";
import type { Outcome } from "../../tools/gpu/run_part.ts";
import { standInAbsent, standInEnvironment } from "../support/cuda_standin.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

/** Fails unless the parts went well, or say why they were skipped. */
function check(outcomes: readonly Outcome[]): void {
  for (const { name, status, reason, lines } of outcomes) {
    assert.ok(status === "ok" || (status === "skipped" && reason !== ""), `${name}: ${reason}\n${lines.join("\n")}`);
  }
  const part = (name: string) => outcomes.find((outcome) => outcome.name === name)!;
  for (const name of ["machine", "tests", "kernels", "steps"]) assert.equal(part(name).status, "ok");
  assert.ok(part("kernels").events.length > 40);
  const steps = part("steps").events;
  assert.deepEqual(steps.filter((step) => "failed" in step), []);
  assert.deepEqual(new Set(steps.map(({ mode }) => mode)), new Set(["gpu", "fae", "hybrid", "cached", "cpu"]));
  assert.deepEqual(new Set(steps.map(({ kind }) => kind)), new Set(["hot", "cold"]));
  assert.deepEqual(new Set(steps.map(({ activations }) => activations)), new Set(["auto", "ptx", "cudnn"]));
}

Deno.test("every part of the first run on a GPU goes well on the emulated device, or says why it is skipped", async () => {
  using directory = new TemporaryDirectory();
  check(await gpuFirstRun({ out: directory.path, device: "emulated" }));
});

Deno.test({
  name: `stand-in CUDA: a rehearsal of the first run on a GPU${
    standInAbsent === undefined ? "" : ` (skipped: ${standInAbsent})`
  }`,
  ignore: standInAbsent !== undefined,
  fn: async () => {
    using directory = new TemporaryDirectory();
    const tool = new URL("../../tools/gpu_first_run.ts", import.meta.url).pathname;
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", tool, "--device", "cuda", "--tiny", "--out", directory.path],
      env: { NO_COLOR: "1", ...standInEnvironment({ delay: 20 }) },
    }).output();
    const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assert.equal(code, 0, text);
    const report = JSON.parse(Deno.readTextFileSync(directory.join("report.json")));
    check(report.outcomes);
    const { findings } = report.outcomes[0].events[0];
    assert.ok(findings.some(({ name, found }: { name: string; found: boolean }) => name === "GPU 0" && found));
    assert.match(Deno.readTextFileSync(directory.join("report.html")), /<title>Hotset on .*compute capability 8\.0/);
  },
});
