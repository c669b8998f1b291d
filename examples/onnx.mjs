/**
 * Scores rows with an exported model in Node; examples/onnx.ts writes both:
 *
 *     npm install onnxruntime-node
 *     node examples/onnx.mjs clicks.onnx
 */
import { readFileSync } from "node:fs";
import { argv } from "node:process";
import ort from "onnxruntime-node";

const model = argv[2];
const { samples, inputs } = JSON.parse(readFileSync(`${model}.inputs.json`, "utf8"));

const feeds = {};
for (const [name, values] of Object.entries(inputs)) {
  feeds[name] = name === "dense"
    ? new ort.Tensor("float32", values, [samples, values.length / samples])
    : new ort.Tensor("int64", values.map(BigInt), [values.length]);
}
const session = await ort.InferenceSession.create(model);
const { probability } = await session.run(feeds);
for (const value of probability.data) console.log(value.toFixed(6));
