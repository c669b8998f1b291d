/** Plans compared with real runs. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { generateDataset } from "../../src/dataset/generate.ts";
import { planDataset } from "../../src/plan/plan_training.ts";
import { resolveConfig } from "../../src/config/config.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const GIB = 2 ** 30;
const ROOMY = { total: 1024 * GIB, available: 1024 * GIB };

Deno.test("the planned host memory is near a real run's peak", async () => {
  using folder = new TemporaryDirectory();
  const dataset = await generateDataset(folder.join("clicks"), {
    samples: 4000,
    seed: 1,
    scale: 20,
    fractions: { validation: 0.1, test: 0.1 },
  });
  for (const [mode, ranks] of [["cpu", 1], ["cpu", 2], ["fae", 2]] as const) {
    const hot = mode === "fae" ? ["--hot-memory", "64MiB"] : [];
    const flags = [
      "--mode",
      mode,
      "--device",
      "cpu",
      "--preset",
      "kaggle",
      "--optimizer",
      "adagrad",
      "--ranks",
      `${ranks}`,
      ...hot,
    ];
    const cli = join(import.meta.dirname!, "../../cli.ts");
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        cli,
        "train",
        dataset.directory,
        ...flags,
        "--json",
        "--quiet",
        "--out",
        folder.join(`${mode}-${ranks}`),
      ],
    }).output();
    const lines = new TextDecoder().decode(stdout).trim().split("\n");
    assert(lines.at(-1)!.includes('"result"'), new TextDecoder().decode(stderr));
    const { peakRssBytes } = JSON.parse(lines.at(-1)!);
    const config = resolveConfig("kaggle", { hotMemory: 64 * 2 ** 20 }, { mode, optimizer: "adagrad", ranks });
    const { placements } = await planDataset(dataset, config, ROOMY);
    const { host } = placements.find((plan) => plan.mode === mode && !plan.onDevice)!;
    const ratio = host / peakRssBytes;
    assert(ratio > 0.8 && ratio < 1.25, `mode ${mode}, ${ranks} ranks: planned ${host}, peak ${peakRssBytes}`);
  }
});
