/**
 * Trains on a CSV file by the schema that its columns suggest: deno run -A examples/train_csv.ts clicks.csv run
 *
 * The schema is written beside the run, to be read and changed: what is wrong in it is learned wrongly.
 */
import { inferSchema } from "@hotset/hotset/dataset";
import { resolveConfig, trainOn } from "@hotset/hotset/train";

const [file, out] = Deno.args;

const note = (text: string) => console.error(text);
const schema = `${out}.schema.json`;
Deno.writeTextFileSync(schema, JSON.stringify(await inferSchema(file, undefined, note), null, 2));

const config = resolveConfig("default", {
  mode: "cpu",
  optimizer: "adagrad",
  epochs: 2,
  bottom: [64, 16],
  top: [64, 1],
});
const result = await trainOn([file], { format: "csv", schema }, config, {
  out,
  report: (event) => {
    if (event.event === "note") note(event.text);
    if (event.event === "progress") console.log(`step ${event.step}: loss ${event.loss.toFixed(4)}`);
  },
});
console.log(`test AUC ${result.auc.toFixed(4)}, logloss ${result.logloss.toFixed(4)}`);
