/** The memory of training: a step allocates nothing, and a run little besides the tables. */
import assert from "node:assert/strict";
import { generateDataset } from "../../src/dataset/generate.ts";
import type { ResultEvent } from "../../src/events/events.ts";
import { absent } from "../support/libraries.ts";
import { jsonLines, Workplace } from "../cli/support.ts";

const COUNT = new URL("../support/count_allocations.ts", import.meta.url).pathname;
/** What V8 itself takes for a step: a view of the record that is read, and frames of calls with many arguments. */
const MAX_BYTES_A_STEP = 640;
/** What Deno makes for a call through a pointer, which ONNX Runtime's are: an array of the arguments. */
const MAX_BYTES_A_PRODUCT = 80;
/** Of the model's four layers; the first has no gradient of its input. */
const PRODUCTS = 11;
/** What V8 makes of the doubles that a norm is made of. */
const MAX_BYTES_A_NORM = 128;
const MAX_BYTES_WITHOUT_TABLES = 400e6;

const BY_ORT = absent("ort");
for (
  const [blas, optimizer, ignore, norm] of [
    ["wasm", "sgd"],
    ["wasm", "rwsadagrad"],
    ["auto", "adagrad"],
    ["onednn", "sgd", absent("onednn")],
    ["ort", "sgd", BY_ORT],
    ["wasm", "adam"],
    ["wasm", "sgd", undefined, "1e-4"],
  ] as const
) {
  const name = `1,000 steps make no arrays: ${optimizer}, matrix products by ${blas}${
    norm === undefined ? "" : ", gradients clipped"
  }`;
  const skipped = ignore === undefined ? "" : ` (skipped: ${ignore})`;
  Deno.test({ name: `${name}${skipped}`, ignore: ignore !== undefined }, async () => {
    const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--no-check",
        "--v8-flags=--min-semi-space-size=64",
        COUNT,
        blas,
        optimizer,
        "1000",
        ...(norm === undefined ? [] : [norm]),
      ],
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    const bytes = Number(new TextDecoder().decode(stdout));
    const most = MAX_BYTES_A_STEP + (blas === "ort" ? PRODUCTS * MAX_BYTES_A_PRODUCT : 0) +
      (norm === undefined ? 0 : MAX_BYTES_A_NORM);
    assert.ok(bytes > 0 && bytes <= most, `${bytes} bytes a step`);
  });
}

Deno.test("a run takes the tables, their optimizer state, the hot rows and less than 400 MB", async () => {
  using place = new Workplace();
  const dataset = await generateDataset(place.join("data"), {
    samples: 20_000,
    seed: 1,
    scale: 8,
    fractions: { validation: 0.1, test: 0.1 },
  });
  const flags = [
    "--optimizer",
    "adagrad",
    "--hot-memory",
    "8MiB",
    "--batch-size",
    "2048",
    "--no-save",
    "--device",
    "cpu",
  ];
  const output = await place.succeed("train", dataset.directory, ...flags, "--preset", "kaggle", "--json", "--quiet");
  const result = jsonLines(output).at(-1)!;
  const rowBytes = 2 * 4 * 16;
  const besides = Number(result.peakRssBytes) - rowBytes * dataset.rows - Number(result.hotBytes);
  assert.ok(Number(result.hotRows) > 0 && dataset.rows > 4e6);
  assert.ok(besides < MAX_BYTES_WITHOUT_TABLES, `${Math.round(besides / 1e6)} MB besides the tables`);
});

for (const ranks of [1, 2]) {
  Deno.test(`the process keeps its memory budget: ranks ${ranks}`, async () => {
    using place = new Workplace();
    const fractions = { validation: 0.1, test: 0.1 };
    const { directory } = await generateDataset(place.join("data"), { samples: 200_000, seed: 1, scale: 4, fractions });
    const flags = ["--preset", "kaggle", "--optimizer", "adagrad", "--batch-size", "2048", "--learning-rate", "0.01"];
    const train = ["train", directory, ...flags, "--ranks", `${ranks}`, "--no-save", "--quiet", "--memory"];
    const { stderr } = await place.run(...train, "1MiB");
    const mebibytes = Number(/choose --memory (\d+)MiB/.exec(stderr)![1]) + 16;
    const output = await place.succeed(...train, `${mebibytes}MiB`, "--json");
    const { moved, peakRssBytes } = jsonLines(output).at(-1) as unknown as ResultEvent;
    assert.ok(moved !== undefined, "rows are on disk");
    assert.ok(peakRssBytes <= mebibytes * 2 ** 20, `${peakRssBytes / 2 ** 20} MiB of ${mebibytes} MiB`);
  });
}
