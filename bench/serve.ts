/**
 * Times the scoring of one sample at a time: in process, over HTTP on the loopback interface, and by ONNX Runtime on
 * the exported model, all in one run.
 *
 *     deno run -A bench/serve.ts [--requests N] [--clients N] [--json]
 *
 * The model has the MLPs of the preset kaggle and generated tables divided by 50. The HTTP client runs in the server's
 * process and on its thread, so its time is included.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import ort from "onnxruntime-node";
import { resolveConfig } from "../src/config/config.ts";
import { writeCriteoLog } from "../src/dataset/generate.ts";
import { prepareDataset } from "../src/dataset/prepare.ts";
import { exportRun } from "../src/interop/export_run.ts";
import { startRun } from "../src/run/run.ts";
import { openModel } from "../src/serving/scoring_model.ts";
import { ScoringServer } from "../src/serving/server.ts";

const SAMPLES = 20_000;

/** Times of single calls, in milliseconds, and calls per second. */
interface Timing {
  readonly what: string;
  readonly p50: number;
  readonly p99: number;
  readonly perSecond: number;
}

function timingOf(what: string, times: number[], seconds: number): Timing {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))];
  return { what, p50: at(0.5), p99: at(0.99), perSecond: times.length / seconds };
}

/** Calls by several concurrent clients, each after its last response; the first tenth is not counted. */
async function time(what: string, calls: number, clients: number, call: (i: number) => unknown): Promise<Timing> {
  for (let i = 0; i < calls / 10; i++) await call(i);
  const times: number[] = [];
  let next = 0;
  const begin = performance.now();
  await Promise.all(Array.from({ length: clients }, async () => {
    for (let i = next++; i < calls; i = next++) {
      const before = performance.now();
      await call(i);
      times.push(performance.now() - before);
    }
  }));
  return timingOf(what, times, (performance.now() - begin) / 1000);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      requests: { type: "string", default: "5000" },
      clients: { type: "string", default: "16" },
      json: { type: "boolean", default: false },
    },
  });
  const calls = Number(values.requests);
  const clients = Number(values.clients);
  const folder = Deno.makeTempDirSync();
  const log = join(folder, "log.tsv");
  writeCriteoLog(log, { samples: SAMPLES, seed: 1, scale: 50, fractions: { validation: 0.1, test: 0.1 } });
  const dataset = await prepareDataset({ inputs: [log], format: "criteo", out: join(folder, "data") });
  const run = join(folder, "run");
  const config = resolveConfig("kaggle", { mode: "cpu", device: "cpu", epochs: 1, batchSize: 1024 });
  await startRun(config, dataset, { out: run, report: () => {} });

  const names = ["label", ...dataset.body.dense, ...dataset.body.tables.map(({ name }) => name)];
  const rows = Deno.readTextFileSync(log).trimEnd().split("\n").slice(0, 1000).map((line) =>
    Object.fromEntries(line.split("\t").map((field, i) => [names[i], field]))
  );
  const timings: Timing[] = [];

  {
    using model = await openModel(run);
    timings.push(await time("score, an object", calls, 1, (i) => model.score([rows[i % rows.length]])));
    using reader = dataset.reader("train", 1000);
    const { dense, indices } = reader.read(0, 1000);
    const [features, tables] = [dataset.denseFeatures, dataset.tables];
    const encoded = rows.map((_, i) => ({
      count: 1,
      dense: dense.slice(i * features, (i + 1) * features),
      indices: indices.slice(i * tables, (i + 1) * tables),
      offsets: undefined,
    }));
    const out = new Float32Array(1);
    timings.push(
      await time("scoreEncoded, typed arrays", calls, 1, (i) => model.scoreEncoded(encoded[i % 1000], out)),
    );

    const [file] = exportRun(run, "onnx", join(folder, "model.onnx"), () => {});
    const session = await ort.InferenceSession.create(file, { intraOpNumThreads: 1 });
    const feeds = encoded.map((sample) => ({
      dense: new ort.Tensor("float32", sample.dense, [1, features]),
      ...Object.fromEntries(
        dataset.body.tables.map(({ name }, t) => [
          `indices_${name}`,
          new ort.Tensor("int64", [BigInt(sample.indices[t] - dataset.firstRows[t])], [1]),
        ]),
      ),
    }));
    const [{ probability }] = [await session.run(feeds[0])];
    model.scoreEncoded(encoded[0], out);
    if (Math.abs(Number(probability.data[0]) - out[0]) > 1e-5) throw new Error("the models differ");
    timings.push(await time("onnxruntime-node, tensors", calls, 1, (i) => session.run(feeds[i % 1000])));
    await session.release();
  }

  const server = await ScoringServer.start(run, {
    ...{ hostname: "127.0.0.1", port: 0, maxBodyBytes: 2 ** 20, maxRows: 1000, timeoutMs: 10_000 },
  });
  const bodies = rows.map((row) => JSON.stringify([row]));
  const post = async (i: number) => {
    const response = await fetch(`${server.url}/score`, { method: "POST", body: bodies[i % bodies.length] });
    await response.json();
  };
  timings.push(await time("HTTP, 1 client", calls, 1, post));
  timings.push(await time(`HTTP, ${clients} clients`, calls, clients, post));
  await server.close();
  Deno.removeSync(folder, { recursive: true });

  if (values.json) { for (const timing of timings) console.log(JSON.stringify(timing)); }
  else {
    console.log(`load of the machine before: ${Deno.loadavg().map((load) => load.toFixed(1)).join(" ")}`);
    console.log("| one sample                 | p50 (ms) | p99 (ms) | samples/s |");
    console.log("| -------------------------- | -------: | -------: | --------: |");
    for (const { what, p50, p99, perSecond } of timings) {
      const cells = [p50.toFixed(3), p99.toFixed(3), perSecond.toFixed(0)];
      console.log(
        `| ${what.padEnd(26)} | ${cells[0].padStart(8)} | ${cells[1].padStart(8)} | ${cells[2].padStart(9)} |`,
      );
    }
  }
}
