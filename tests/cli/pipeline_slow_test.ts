/** Pipelines of many commands, and commands that train or measure for seconds. */
import assert from "node:assert/strict";
import { jsonLines, TINY_MODEL, WIDE_MODEL, Workplace } from "./support.ts";

Deno.test("the demonstration says how good a model can be on its data, in words and as an event", async () => {
  using place = new Workplace();
  const demo = ["train", "--demo", "--mode", "cpu", "--no-save", ...TINY_MODEL];
  const events = jsonLines(await place.succeed(...demo, "--json"));
  const [result, planted] = events.slice(-2);
  assert.deepEqual([result.event, planted.event], ["result", "demo"]);
  assert.ok(planted.bestAuc > result.auc && planted.bestAuc < 0.9, `${planted.bestAuc} and ${result.auc}`);
  const [dataset] = events;
  const { body } = JSON.parse(Deno.readTextFileSync(`${dataset.directory}/manifest.json`));
  assert.equal(planted.bestAuc, body.generated.bestAuc.test);
  const words = await place.succeed(...demo);
  assert.match(words, new RegExp(`^Upper bound: .* scores AUC ${planted.bestAuc.toFixed(4)} here\\.$`, "m"));
});

Deno.test("the same command twice leaves the same bits", async () => {
  const bits = async (seed: string) => {
    using place = new Workplace();
    await place.log("log.tsv", 20_000);
    const events = jsonLines(
      await place.succeed("train", "log.tsv", "--out", "runs/a", "--json", "--seed", seed, ...WIDE_MODEL),
    );
    const { hotBatches, coldBatches } = events.find(({ event }) => event === "layout");
    assert.ok(hotBatches > 20 && coldBatches > 20, `${hotBatches} hot and ${coldBatches} cold batches`);
    const [layout] = Deno.readDirSync(place.join("runs/layouts"));
    return { layout: place.bits(`runs/layouts/${layout.name}`), last: place.bits("runs/a/last") };
  };
  const [one, two, other] = [await bits("1"), await bits("1"), await bits("2")];
  assert.deepEqual(one.last["rows.f32"], two.last["rows.f32"]);
  // The manifest names the dataset by its input's path and time, so directories differ in it.
  const { "manifest.json": _a, ...a } = one.layout;
  const { "manifest.json": _b, ...b } = two.layout;
  assert.deepEqual(a, b);
  assert.deepEqual(one.last["dense.f32"], two.last["dense.f32"]);
  assert.deepEqual(one.last["row_state.f32"], two.last["row_state.f32"]);
  assert.notDeepEqual(one.last["rows.f32"], other.last["rows.f32"]);
});

Deno.test("a run is evaluated on new raw rows by its own dictionary, and on nothing whose ids mean other values", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 600);
  const rows = Deno.readTextFileSync(place.join("log.tsv")).trimEnd().split("\n");
  place.write("other.tsv", rows.toReversed().join("\n") + "\n");
  place.write("last.tsv", rows.slice(-60).join("\n") + "\n");
  // Equal tables, whatever the rows.
  const prepare = ["--max-ind-range", "8", "--out"];
  await place.succeed("prepare", "log.tsv", ...prepare, "data");
  await place.succeed("prepare", "other.tsv", ...prepare, "other");
  await place.succeed("train", "data", "--epochs", "1", "--mode", "cpu", "--ranks", "1", "--out", "run");
  const test = jsonLines(await place.succeed("evaluate", "run", "--json")).find(({ split }) => split === "test");
  assert.deepEqual(jsonLines(await place.succeed("evaluate", "run", "last.tsv", "--json")), [test]);
  assert.equal(
    await place.fail(1, "evaluate", "run", "other"),
    "Cannot evaluate run: dataset other has another dictionary, so its ids stand for other values; name its raw files " +
      "instead",
  );
  place.write("unlabelled.tsv", rows.map((row) => row.slice(row.indexOf("\t") + 1)).join("\n") + "\n");
  assert.equal(
    await place.fail(1, "evaluate", "run", "unlabelled.tsv"),
    "Cannot evaluate run: unlabelled.tsv has no label",
  );
  await place.succeed("prepare", "other.tsv", ...prepare, "data");
  assert.match(await place.fail(1, "evaluate", "run"), /its dataset data has changed since/);
  // The run has the dictionary that its ids mean.
  assert.deepEqual(jsonLines(await place.succeed("evaluate", "run", "last.tsv", "--json")), [test]);
});

Deno.test("doctor says what the machine offers", async () => {
  using place = new Workplace();
  const text = await place.succeed("doctor");
  assert.match(text, /^ok +Deno +\d+\.\d+\.\d+/m);
  assert.match(text, /^ok +WASM kernels +\d+ GFLOP\/s/m);
  assert.match(text, /^(ok +ONNX Runtime +\d+ GFLOP\/s|optional +ONNX Runtime +Cannot load)/m);
  assert.match(text, /^(ok +OpenBLAS +\d+ GFLOP\/s|optional +OpenBLAS +Cannot load)/m);
});
