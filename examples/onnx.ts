/**
 * Exports a run to ONNX, and writes what the model takes for the rows of a file, for onnx.py to score:
 *
 *     deno run -A examples/onnx.ts run clicks.csv clicks.onnx
 *     python3 examples/onnx.py clicks.onnx          # needs onnxruntime and numpy
 */
import { Dataset, encodeWith } from "@hotset/hotset/dataset";
import { exportRun } from "@hotset/hotset/interop";
import { readRun } from "@hotset/hotset/train";

const [run, file, model] = Deno.args;

for (const path of await exportRun(run, "onnx", model, () => {})) console.log(path);

// The dictionary and the transforms of the dataset that the run was trained on turn values into what the model takes.
const trained = Dataset.open(readRun(run).dataset);
const encoded = Deno.makeTempDirSync();
const { dataset } = await encodeWith(trained, [file], { out: `${encoded}/rows`, purpose: "predict" });
const samples = dataset.samples("test");
using reader = dataset.reader("test", samples);
const { dense, indices, offsets } = reader.read(0, samples);

const inputs: Record<string, unknown> = { dense: [...dense] }; // (samples, dense features)
dataset.body.tables.forEach(({ name }, table) => {
  const ids: number[] = [];
  const begins: number[] = [];
  for (let bag = table; bag < samples * dataset.tables; bag += dataset.tables) {
    begins.push(ids.length);
    const [begin, end] = offsets === undefined ? [bag, bag + 1] : [offsets[bag], offsets[bag + 1]];
    for (let k = begin; k < end; k++) ids.push(indices[k] - dataset.firstRows[table]);
  }
  inputs[`indices_${name}`] = ids;
  if (offsets !== undefined) inputs[`offsets_${name}`] = begins;
});
Deno.writeTextFileSync(`${model}.inputs.json`, JSON.stringify({ samples, inputs }));
Deno.removeSync(encoded, { recursive: true });
