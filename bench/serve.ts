/**
 * Times the scoring of one sample at a time: in process, over HTTP on the loopback interface, and by ONNX Runtime on
 * the exported model, all in one run.
 *
 *     deno run -A bench/serve.ts [--requests N] [--clients N] [--minutes N] [--json]
 *
 * The model has the MLPs of the preset kaggle and generated tables divided by 50. The HTTP client has a thread of its
 * own. With --minutes it sends requests for so long, instead, and prints the memory of the process every ten seconds.
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
import type { Load, Responses } from "./serve_client.ts";

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

/** Calls one after the other; the first fifth is not counted. */
async function time(what: string, calls: number, call: (i: number) => unknown): Promise<Timing> {
  for (let i = 0; i < calls / 5; i++) await call(i);
  const times: number[] = [];
  const begin = performance.now();
  for (let i = 0; i < calls; i++) {
    const before = performance.now();
    await call(i);
    times.push(performance.now() - before);
  }
  return timingOf(what, times, (performance.now() - begin) / 1000);
}

/** Starts a client. Every report of its responses is passed on; returns a function that ends it. */
function startClient(load: Load, take: (responses: Responses) => void): () => void {
  const worker = new Worker(new URL("./serve_client.ts", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }: MessageEvent<Responses>) => take(data);
  worker.postMessage(load);
  return () => worker.terminate();
}

/** Requests by several clients, each after its last response. */
async function timeRequests(what: string, load: Load): Promise<Timing> {
  const { promise, resolve } = Promise.withResolvers<Responses>();
  const end = startClient(load, resolve);
  const { times, seconds } = await promise;
  end();
  return timingOf(what, times, seconds);
}

/** Sends requests for some minutes and prints rate, times and memory of this process, in which the client is, too. */
async function watchMemory(load: Load, minutes: number, json: boolean): Promise<void> {
  const begin = performance.now();
  const end = startClient(load, ({ times, seconds }) => {
    const { rss, heapUsed } = Deno.memoryUsage();
    const figures = {
      ...timingOf("load", times, seconds),
      minutes: (performance.now() - begin) / 60_000,
      rssBytes: rss,
      heapBytes: heapUsed,
    };
    if (json) return console.log(JSON.stringify(figures));
    const { perSecond, p50, p99 } = figures;
    console.log(
      `${figures.minutes.toFixed(1)} min: ${perSecond.toFixed(0)} samples/s, p50 ${p50.toFixed(2)} ms, p99 ${
        p99.toFixed(2)
      } ms, ` +
        `resident ${(rss / 2 ** 20).toFixed(1)} MiB, heap ${(heapUsed / 2 ** 20).toFixed(1)} MiB`,
    );
  });
  await new Promise((resolve) => setTimeout(resolve, minutes * 60_000));
  end();
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      requests: { type: "string", default: "5000" },
      clients: { type: "string", default: "16" },
      minutes: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const calls = Number(values.requests);
  const clients = Number(values.clients);
  const folder = Deno.makeTempDirSync();
  const log = join(folder, "log.tsv");
  await writeCriteoLog(log, { samples: SAMPLES, seed: 1, scale: 50, fractions: { validation: 0.1, test: 0.1 } });
  const dataset = await prepareDataset({ inputs: [log], format: "criteo", out: join(folder, "data") });
  const run = join(folder, "run");
  const config = resolveConfig("kaggle", { mode: "cpu", device: "cpu", epochs: 1, batchSize: 1024 });
  await startRun(config, dataset, { out: run, report: () => {} });

  const names = ["label", ...dataset.body.dense, ...dataset.body.tables.map(({ name }) => name)];
  const rows = Deno.readTextFileSync(log).trimEnd().split("\n").slice(0, 1000).map((line) =>
    Object.fromEntries(line.split("\t").map((field, i) => [names[i], field]))
  );
  const timings: Timing[] = [];

  if (values.minutes === undefined) {
    using model = await openModel(run);
    timings.push(await time("score, an object", calls, (i) => model.score([rows[i % rows.length]])));
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
      await time("scoreEncoded, typed arrays", calls, (i) => model.scoreEncoded(encoded[i % 1000], out)),
    );

    using onDisk = await openModel(run, { rowMemory: 2 ** 20 });
    timings.push(
      await time(
        "the same, with 1 MiB of the rows in memory",
        calls,
        (i) => onDisk.scoreEncoded(encoded[i % 1000], out),
      ),
    );

    const [file] = await exportRun(run, "onnx", join(folder, "model.onnx"), () => {});
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
    timings.push(await time("onnxruntime-node, tensors, one thread", calls, (i) => session.run(feeds[i % 1000])));
    await session.release();
  }

  const server = await ScoringServer.start(run, {
    ...{ hostname: "127.0.0.1", port: 0, maxBodyBytes: 2 ** 20, maxRows: 1000, timeoutMs: 10_000 },
  });
  const bodies = rows.map((row) => JSON.stringify([row]));
  const load = { port: Number(new URL(server.url).port), bodies, connections: clients };
  if (values.minutes !== undefined) await watchMemory(load, Number(values.minutes), values.json);
  else {
    await timeRequests("", { ...load, calls: calls / 2 }); // compiles the server's code
    timings.push(await timeRequests("HTTP, 1 connection", { ...load, connections: 1, calls }));
    timings.push(await timeRequests(`HTTP, ${clients} connections`, { ...load, calls: 4 * calls }));
  }
  await server.close();
  Deno.removeSync(folder, { recursive: true });

  if (values.json) { for (const timing of timings) console.log(JSON.stringify(timing)); }
  else if (timings.length > 0) {
    console.log(`load of the machine before: ${Deno.loadavg().map((load) => load.toFixed(1)).join(" ")}`);
    console.log("| one sample                                 | p50 (ms) | p99 (ms) | samples/s |");
    console.log("| ------------------------------------------ | -------: | -------: | --------: |");
    for (const { what, p50, p99, perSecond } of timings) {
      const cells = [p50.toFixed(3), p99.toFixed(3), perSecond.toFixed(0)];
      console.log(
        `| ${what.padEnd(42)} | ${cells[0].padStart(8)} | ${cells[1].padStart(8)} | ${cells[2].padStart(9)} |`,
      );
    }
  }
}
