import assert from "node:assert/strict";
import { jsonLines, TINY_MODEL, Workplace } from "./support.ts";

Deno.test("a run is exported and imported, and scores the same", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 1000);
  await place.succeed("train", "log.tsv", "--out", "runs/a", "--batch-size", "64", ...TINY_MODEL);
  const printed = await place.succeed("export", "runs/a", "--format", "safetensors", "--out", "a.safetensors");
  assert.equal(printed, "a.safetensors\na.ids.safetensors\n");
  const [{ event, files }] = jsonLines(
    await place.succeed("export", "runs/a", "--format", "onnx", "--out", "a.onnx", "--json"),
  );
  assert.deepEqual([event, files], ["exported", ["a.onnx", "a.onnx.data", "a.ids.safetensors"]]);

  const [data] = place.files().filter((path) => /^runs\/datasets\/\w+\/$/.test(path));
  const flags = ["--data", data, "--optimizer", "adagrad", "--batch-size", "32"];
  assert.equal(await place.succeed("import", "a.safetensors", ...flags, "--out", "runs/b"), "runs/b\n");
  assert.equal(
    await place.succeed("predict", "runs/b", "log.tsv"),
    await place.succeed("predict", "runs/a", "log.tsv"),
  );
  const record = JSON.parse(new TextDecoder().decode(place.read("runs/b/run.json")));
  assert.deepEqual([record.config.optimizer, record.config.batchSize, record.config.bottom], ["adagrad", 32, [16, 8]]);
  assert.match(await place.succeed("train", "--resume", "--out", "runs/b"), /^Runs: runs\/b$/m);
});

Deno.test("what cannot be exported or imported is an error of one line", async () => {
  using place = new Workplace();
  place.write("log.csv", "click,price,city\n0,1,Oslo\n");
  place.write("pickle.pt", "PK\x03\x04 archive/data.pkl of something");
  const cases: [1 | 2, string[], RegExp][] = [
    [2, ["export", "run", "--out", "a"], /required option '--format <name>'/],
    [2, ["export", "run", "--format", "pickle", "--out", "a"], /Allowed choices are safetensors, onnx/],
    [1, ["export", "run", "--format", "onnx", "--out", "a"], /^Cannot open run run: no such directory$/],
    [2, ["import", "pickle.pt", "--out", "b"], /required option '--data <dataset>'/],
    [
      1,
      ["import", "pickle.pt", "--data", "d", "--out", "b"],
      /^Cannot read pickle\.pt: it is a zip archive, as torch\.save writes; save the tensors with safetensors/,
    ],
    [
      1,
      ["import", "log.csv", "--data", "d", "--out", "b"],
      /^Cannot read log\.csv: it is not a safetensors file, or is truncated$/,
    ],
    [1, ["import", "absent", "--data", "d", "--out", "b"], /^Cannot read absent: no such file$/],
  ];
  await Promise.all(cases.map(async ([code, [command, ...args], message]) => {
    assert.match(await place.fail(code, command, ...args), message);
  }));
});
