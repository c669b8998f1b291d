import assert from "node:assert/strict";
import { writeCriteoLog } from "../../src/dataset/generate.ts";
import type { Format } from "../../src/dataset/formats.ts";
import { prepareDataset, type PrepareOptions } from "../../src/dataset/prepare.ts";
import { TemporaryDirectory } from "./support.ts";

const MODULE = new URL("../../src/dataset/prepare.ts", import.meta.url).href;
const CONFIG = new URL("../../deno.json", import.meta.url).pathname;

/** Prepares in a process of its own that kills itself when half of a stage is done. */
async function prepareAndDie(options: PrepareOptions, stage: string): Promise<void> {
  const script = `import { prepareDataset } from ${JSON.stringify(MODULE)};
    const onProgress = (stage, done) => {
      if (stage === ${JSON.stringify(stage)} && done >= 0.5) Deno.kill(Deno.pid, "SIGKILL");
    };
    await prepareDataset({ ...${JSON.stringify(options)}, onProgress });`;
  const process = new Deno.Command(Deno.execPath(), { args: ["eval", "--config", CONFIG, "--ext=ts", script] });
  const { signal, stderr } = await process.output();
  assert.equal(signal, "SIGKILL", new TextDecoder().decode(stderr));
}

/** Files of unfinished work beside the output, with the times of their last change. */
function leftovers(directory: TemporaryDirectory): Map<string, number> {
  const found = new Map<string, number>();
  for (const { name } of Deno.readDirSync(directory.path)) {
    if (!name.startsWith(".out.stage-")) continue;
    for (const file of Deno.readDirSync(directory.join(name))) {
      const path = directory.join(`${name}/${file.name}`);
      if (file.isFile) found.set(path, Deno.statSync(path).mtime!.getTime());
    }
  }
  return found;
}

/** A few files of generated clicks, and for csv a schema of their columns as text. */
async function inputsOf(directory: TemporaryDirectory, format: Format): Promise<PrepareOptions> {
  const inputs: string[] = [];
  for (let i = 0; i < 6; i++) {
    const path = directory.join(`day${i}.tsv`);
    await writeCriteoLog(path, { samples: 1000, seed: i, scale: 1000, fractions: { validation: 0, test: 0 } });
    inputs.push(path);
  }
  const options = { inputs, format, threads: 1, out: directory.join("out") };
  if (format === "criteo") return options;
  const names = [
    "label",
    ...Array.from({ length: 13 }, (_, i) => `I${i}`),
    ...Array.from({ length: 26 }, (_, i) => `C${i}`),
  ];
  const kind = (name: string) => name === "label" ? "label" : name.startsWith("I") ? "dense" : "sparse";
  const columns = names.map((name) => ({ name, kind: kind(name) }));
  const schema = directory.write("schema.json", JSON.stringify({ delimiter: "\t", quote: "", header: false, columns }));
  return { ...options, schema };
}

for (const format of ["criteo", "csv"] as const) {
  Deno.test(`${format}: killed in any stage, prepare goes on and writes the same bytes`, async () => {
    using directory = new TemporaryDirectory();
    const options = await inputsOf(directory, format);
    const whole = await prepareDataset({ ...options, out: directory.join("whole") });
    for (const stage of ["read", "count", "encode"]) {
      await prepareAndDie(options, stage);
      const kept = [...leftovers(directory)].filter(([path]) => /\.(rows|ids\.u32|parquet)$/.test(path));
      assert.ok(kept.length >= 3, `${stage}: ${kept.length} files are kept`);
      const finished = [...leftovers(directory).keys()].filter((path) => path.endsWith(".json")).length;
      let checked = false;
      const dataset = await prepareDataset({
        ...options,
        onProgress: (stage, done) => {
          if (stage !== "encode" || done < 0.5 || checked) return;
          checked = true;
          const now = leftovers(directory);
          const again = kept.filter(([path, time]) => now.get(path) !== time);
          // A step that was in work is done again; with one thread there is one of them, of one or two files.
          assert.ok(again.length <= 2, `done again: ${again.join(" ")}`);
          assert.ok(finished >= 3);
        },
      });
      assert.ok(checked);
      assert.equal(dataset.id, whole.id, `killed in ${stage}`);
      assert.equal(leftovers(directory).size, 0, "nothing is left when the dataset is there");
      Deno.removeSync(options.out, { recursive: true });
    }
  });
}

Deno.test("what a kill left of other inputs or settings is removed and not used", async () => {
  using directory = new TemporaryDirectory();
  const options = await inputsOf(directory, "criteo");
  await prepareAndDie(options, "count");
  assert.ok(leftovers(directory).size > 0);
  Deno.writeTextFileSync(options.inputs[0], Deno.readTextFileSync(options.inputs[1]));
  const dataset = await prepareDataset(options);
  assert.equal(leftovers(directory).size, 0);
  const fresh = await prepareDataset({ ...options, out: directory.join("fresh") });
  assert.equal(dataset.id, fresh.id);
});

Deno.test("preparations to one output at once take turns; the same one is made once", async () => {
  using directory = new TemporaryDirectory();
  const options = await inputsOf(directory, "criteo");
  const [first, second, other] = await Promise.all(
    [options, options, { ...options, minFrequency: 2 }].map((options) => prepareDataset(options)),
  );
  assert.equal(first.id, second.id);
  assert.notEqual(first.id, other.id);
  assert.deepEqual([...Deno.readDirSync(directory.path)].filter(({ name }) => name.startsWith(".")), []);
});
