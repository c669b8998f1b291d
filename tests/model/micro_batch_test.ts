/** Layers compute few samples together if activations of more leave the cache: results are those of all together. */
import assert from "node:assert/strict";
import { type Buffer, Header, HEADER_WORDS } from "../../src/backend/backend.ts";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import { Network } from "../../src/model/network.ts";
import { hiddenLayers, type ModelShape, planModel } from "../../src/model/shape.ts";
import { Random } from "../../src/random.ts";
import { assertClose } from "../support/close.ts";

const SAMPLES = 600;
const SHAPE: ModelShape = {
  ...{ dim: 4, tableRows: [9, 9], optimizer: "sgd", interaction: "dot" },
  ...{ bottom: [3, 8, 4], top: [7, 6, 1], dropout: { rate: 0.25, seed: 7 }, pooling: "mean" },
};

/** A host whose cache has the activations of some samples. */
class SmallCache extends ReferenceBackend {
  readonly cachedWords = 1;
}

/** The results of scoring and of a step over `samples` samples. */
function run(host: ReferenceBackend, samples: number) {
  const random = new Random(1);
  const buffer = (words: number, value?: (i: number) => number): Buffer => {
    const made = host.allocate(words, "values");
    if (value !== undefined) { for (let i = 0; i < words; i++) host.floats(made)[i] = value(i); }
    return made;
  };
  const uniform = (words: number) => buffer(words, () => 2 * random.uniform() - 1);
  const plan = planModel(SHAPE);
  const parameters = uniform(plan.denseWords);
  const gradients = buffer(plan.denseWords);
  const [dense, pooled, pooledGradients] = [uniform(3 * SAMPLES), uniform(8 * SAMPLES), buffer(8 * SAMPLES)];
  const labels = buffer(SAMPLES, (i) => i % 3 === 0 ? 1 : 0);
  const offsets = buffer(2 * SAMPLES + 1);
  const { buffer: memory, byteOffset, length } = host.floats(offsets);
  new Uint32Array(memory, byteOffset, length).forEach((_, i, words) => words[i] = 2 * i);
  const header = buffer(HEADER_WORDS);
  const { buffer: block, byteOffset: begin } = host.floats(header);
  const words = new Uint32Array(block, begin, HEADER_WORDS);
  words[Header.samples] = samples;
  words[Header.step] = 5;
  const network = new Network(plan, SAMPLES, { device: host, parameters, gradients });
  const step = { header, firstSample: 10 };
  const bound = network.bind({ dense, pooled, offsets, pooledGradients, step });
  const lossSum = buffer(1);
  for (let pass = 0; pass < 2; pass++) { // the second one overwrites all gradients
    bound.train(samples, (part, count) => {
      const own = host.view(labels, part.first, part.capacity);
      host.loss(count, header, part.logits, own, part.logitGradients, lossSum);
    });
  }
  const trained = Float32Array.from(host.floats(network.logits).subarray(0, samples));
  words[Header.step] = 0;
  bound.score(samples, hiddenLayers(plan).map(() => true));
  return {
    parts: network.microBatches.length,
    trained,
    scored: host.floats(network.logits).slice(0, samples),
    units: host.floats(network.unitSums).slice(),
    pooledGradients: host.floats(pooledGradients).slice(0, 8 * samples),
    gradients: host.floats(gradients).slice(),
    loss: host.floats(lossSum)[0],
  };
}

Deno.test("micro-batches have the logits of all samples together, and the same sums in another order", () => {
  for (const samples of [0, 1, 256, 257, 512, SAMPLES]) {
    using whole = new ReferenceBackend();
    using small = new SmallCache();
    const [expected, found] = [run(whole, samples), run(small, samples)];
    assert.deepEqual([expected.parts, found.parts], [1, 3]);
    assert.deepEqual(found.trained, expected.trained, `${samples} samples: logits with dropout`);
    assert.deepEqual(found.scored, expected.scored, `${samples} samples: logits`);
    assert.deepEqual(found.pooledGradients, expected.pooledGradients, `${samples} samples: gradients of rows`);
    for (const name of ["units", "gradients"] as const) {
      assertClose(found[name], expected[name], 1e-6, `${samples} samples: ${name}`);
      assert.ok(samples === 0 || found[name].some((value) => value !== 0), name);
    }
    assert.ok(Math.abs(found.loss - expected.loss) <= 1e-5 * expected.loss, `${samples} samples: loss`);
  }
});
