import assert from "node:assert/strict";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { generateSessions } from "../../src/dataset/generate_sessions.ts";
import type { MpiWorld } from "../../src/parallel/mpi_world.ts";
import { expectPlacement } from "../../src/ranks/placement.ts";
import { startRun } from "../../src/run/run.ts";
import { evaluateRun, predictRun } from "../../src/run/score_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

Deno.test("how a device computes is refused on the CPU, whoever asks for it", () => {
  const placed = (layer: Partial<TrainConfig>) => expectPlacement(resolveConfig("default", layer, {}));
  for (const where of [{ mode: "cpu" }, { device: "cpu" }] as const) {
    placed(where);
    placed({ ...where, precision: "fp32", activations: "ptx" });
    for (const how of [{ precision: "tf32" }, { activations: "cudnn" }] as const) {
      const [[key, value]] = Object.entries(how);
      assert.throws(() => placed({ ...where, ...how }), {
        name: "UsageError",
        message: `Cannot use ${key} ${value} on the CPU: it applies to GPUs only; leave it out`,
      });
      placed({ device: "cuda", ...how });
      placed({ device: "auto", ...how });
    }
  }
});

Deno.test("mode cached is refused over MPI, not with several ranks of one process", () => {
  const config = resolveConfig("default", { mode: "cached", device: "cuda", ranks: 2 });
  expectPlacement(config);
  assert.throws(() => expectPlacement(config, {} as MpiWorld), {
    name: "UsageError",
    message: "Cannot train in mode cached over MPI: choose --ranks without mpirun, or --mode gpu or fae",
  });
});

Deno.test("bf16 on a CPU is refused with a library that has none", () => {
  for (const where of [{ mode: "cpu" }, { device: "cpu" }] as const) {
    for (const blas of ["auto", "onednn"] as const) {
      expectPlacement(resolveConfig("default", { ...where, precision: "bf16", blas }));
    }
    assert.throws(() => expectPlacement(resolveConfig("default", { ...where, precision: "bf16", blas: "ort" })), {
      name: "UsageError",
      message:
        "Cannot use precision bf16 with blas ort: on a CPU only oneDNN multiplies in bf16; choose --blas onednn, " +
        "or --precision fp32",
    });
  }
});

Deno.test("scoring refuses what no CPU has before it opens the run", async () => {
  const refused = {
    name: "UsageError",
    message: /^Cannot use precision tf32 on the CPU: it applies to GPUs only; leave it out$/,
  };
  await assert.rejects(evaluateRun("nowhere", [], () => {}, { precision: "tf32" }), refused);
  await assert.rejects(predictRun("nowhere", ["log.csv"], { precision: "tf32" }, () => {}), refused);
});

Deno.test("what multiplies on a CPU is refused where a GPU computes or may compute", () => {
  const placed = (layer: Partial<TrainConfig>) => expectPlacement(resolveConfig("default", { blas: "ort" }, layer));
  placed({ mode: "cpu" });
  placed({ device: "cpu" });
  for (const [layer, where] of [[{}, "auto, which may be a GPU"], [{ device: "emulated" }, "emulated"]] as const) {
    assert.throws(() => placed(layer), {
      name: "UsageError",
      message: `Cannot use blas ort on device ${where}: it applies to CPUs only; leave it out, or choose --device cpu`,
    });
    placed({ ...layer, blas: "auto" });
  }
});

Deno.test("a run cannot end by what is measured on a split where there is none", async () => {
  using directory = new TemporaryDirectory();
  const train = async (test: number, layer: Partial<TrainConfig>) => {
    const dataset = tinyDataset(directory.join(`data-${test}`), {
      ...{
        samples: { train: 100, validation: 0, test },
        tableRows: [9],
        denseFeatures: 1,
        bags: false,
        seed: 1,
        skew: 1,
      },
    });
    const config = resolveConfig(
      "default",
      { device: "cpu", bottom: [4], dim: 4, top: [1], ranks: 1, save: false },
      layer,
    );
    return await startRun(config, dataset, { out: directory.join(`run-${test}`), report: () => {} });
  };
  for (const [key, layer] of [["patience", { patience: 1, testFreq: 1 }], ["targetAuc", { targetAuc: 0.9 }]] as const) {
    await assert.rejects(train(0, layer), {
      name: "UsageError",
      message: `Cannot use ${key} on ${directory.join("data-0")}: it has neither a validation nor a test split to ` +
        `evaluate on; prepare it with --validation-fraction, or leave ${key} out`,
    });
  }
  assert.equal((await train(60, { targetAuc: 0.0001 })).ended, "target");
});

Deno.test("data without train samples are refused before anything is made", async () => {
  using directory = new TemporaryDirectory();
  const rows = tinyDataset(directory.join("rows"), {
    ...{ samples: { train: 0, validation: 20, test: 20 }, tableRows: [5, 6], denseFeatures: 2 },
    ...{ bags: false, seed: 1, skew: 2 },
  });
  const samples = { train: 0, validation: 0, test: 20 };
  const sessions = await generateSessions(directory.join("sessions"), {
    ...{ seed: 1, scale: 1000, samples, validationUsers: "train" },
  });
  for (const [dataset, config] of [[rows, { mode: "cpu" }], [sessions, { mode: "cpu", model: "tbsm" }]] as const) {
    const out = directory.join("run");
    await assert.rejects(startRun(resolveConfig("default", config), dataset, { out, report: () => {} }), {
      name: "HotsetError",
      message: `Cannot use dataset ${dataset.directory}: it has no train samples`,
    });
    assert.deepEqual([...Deno.readDirSync(directory.path)].map(({ name }) => name).sort(), ["rows", "sessions"]);
  }
});
