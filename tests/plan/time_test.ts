import assert from "node:assert/strict";
import { resolveConfig } from "../../src/config/config.ts";
import { gpuMachine } from "../../src/plan/machines.ts";
import { planPublished } from "../../src/plan/plan_training.ts";
import { publishedData } from "../../src/plan/published.ts";
import { stepTime } from "../../src/plan/time.ts";
import { planText } from "../../src/report/tables.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const V100 = gpuMachine("v100");
const ROOMY = { total: 2 ** 40, available: 2 ** 40 };
const NOTHING = { kernels: [], copies: [], recorded: false };

Deno.test("stepTime(): a kernel takes the longer of its bytes and its operations, and a launch; copies overlap graphs", () => {
  const kernels = [{ bytes: 900e6, flops: 0, rows: 0 }, { bytes: 0, flops: 15.7e9, rows: 0 }];
  const copies = [15.75e6];
  const alone = stepTime(
    { host: NOTHING, device: { kernels, copies, recorded: false }, bytesFromRanks: 150e6 },
    1,
    V100,
  );
  const near = (actual: number, expected: number) => assert.ok(Math.abs(actual / expected - 1) < 1e-9, `${actual}`);
  near(alone.device, 2e-3 + 2 * 5e-6);
  near(alone.copies, 1e-3 + 10e-6);
  near(alone.exchange, 1e-3);
  near(alone.total, 4e-3 + 20e-6);
  const graph = stepTime({ host: NOTHING, device: { kernels, copies, recorded: true }, bytesFromRanks: 0 }, 1, V100);
  near(graph.total, 2e-3 + 2 * 2e-6);
  const host = { kernels: [{ bytes: 0, flops: 0, rows: 8000 }], copies: [], recorded: false };
  near(stepTime({ host, device: NOTHING, bytesFromRanks: 0 }, 2, V100).host, 8000 * 25e-9 / 2);
});

Deno.test("plan --on: every mode has a time; hot steps are faster than cold ones, and a faster machine is faster", () => {
  const config = resolveConfig("kaggle", { batchSize: 2048 });
  const on = (name: string) => planPublished(publishedData("kaggle"), config, ROOMY, undefined, gpuMachine(name));
  const plan = on("v100"), faster = on("h100");
  assert.deepEqual(
    plan.on!.times.map(({ mode }) => mode),
    plan.placements.map(({ mode }) => mode),
  );
  for (const [i, { mode, hot, cold, samplesPerSecond }] of plan.on!.times.entries()) {
    assert.ok(samplesPerSecond! > 0 && cold.total > 0);
    if (mode === "fae" && plan.on!.times[i].onDevice) assert.ok(hot!.total < cold.total / 2);
    assert.ok(faster.on!.times[i].cold.device <= cold.device);
  }
  assert.match(planText(plan), /On V100, by the peaks of its data sheet[^]*gpu on 1 device/);
  assert.equal(planPublished(publishedData("kaggle"), config, ROOMY).on, null);
});

Deno.test("plan --on: mode cached is as fast as its host, copies or device, and copies fewer rows with more memory", () => {
  const cachedWith = (hotMemory: number) => {
    const config = resolveConfig("kaggle", { batchSize: 2048, mode: "cached", hotMemory });
    const { times } = planPublished(publishedData("kaggle"), config, ROOMY, undefined, V100).on!;
    const { hot, cold } = times.find(({ mode }) => mode === "cached")!;
    assert.equal(hot, null);
    assert.equal(cold.total, Math.max(cold.host, cold.copies, cold.device));
    return cold;
  };
  const [little, much] = [cachedWith(16 << 20), cachedWith(1 << 30)];
  assert.ok(little.copies > 1.2 * much.copies, `${little.copies}, ${much.copies}`);
  assert.ok(little.host > much.host, `${little.host}, ${much.host}`);
});

Deno.test("a machine is known by its name or described by a file; anything else is refused with the place", () => {
  using directory = new TemporaryDirectory();
  const file = directory.join("machine.json");
  const own = { ...V100, name: "own" };
  Deno.writeTextFileSync(file, JSON.stringify(own));
  assert.deepEqual(gpuMachine(file), own);
  for (
    const [text, error] of [["{", /Cannot read the machine in .*JSON/], [
      JSON.stringify({ ...own, cores: 0 }),
      /machine\.json: cores: /,
    ]] as const
  ) {
    Deno.writeTextFileSync(file, text);
    assert.throws(() => gpuMachine(file), error);
  }
  assert.throws(() => gpuMachine("tpu"), /Cannot plan for "tpu": neither one of v100, a100, h100 nor a file/);
});
