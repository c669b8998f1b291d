/** Examines the machine: what is available, what is missing, and how to install it. */
import { cpuOptions, deviceFindings, openHost } from "./backend/open.ts";
import { breaks } from "./breaks.ts";
import { mpiFinding } from "./parallel/mpi_finding.ts";
import { messageOf } from "./errors.ts";
import { flopsOf } from "./model/shape.ts";
import { type DataShape, expectedSpeed, kagglePlan, measureSpeed, type StepConfig } from "./loop/expected_speed.ts";

/** One examined component. */
export interface Finding {
  /** What it is. */
  readonly name: string;
  /** True if it is there. */
  readonly found: boolean;
  /** Version and path, or why it is missing and the command that installs it. */
  readonly detail: string;
}

/** Capabilities of a machine. */
export interface Diagnosis {
  /** All examined components. */
  readonly findings: readonly Finding[];
  /** Matrix products on one core, in GFLOP/s: by each library, in single precision, and by oneDNN in bf16. */
  readonly gemmGflops: Readonly<Partial<Record<"openblas" | "onednn" | "bf16" | "ort" | "wasm", number>>>;
  /** Bandwidth of copying large arrays on one core, bytes read and written, in GB/s. */
  readonly copyGbPerSecond: number;
  /** Processor cores. */
  readonly cores: number;
  /** Samples/s that all cores would reach if the kaggle model's layers ran at the speed of these products. */
  readonly kaggleLimit: number;
  /** Samples/s at which all cores train the kaggle model on random batches of 2,048. */
  readonly kaggleSpeed: number;
}

const MEASURE_MS = 150;
/** Libraries of matrix products and their names. */
const PRODUCTS = [
  ["openblas", "OpenBLAS", "openblas", "fp32"],
  ["onednn", "oneDNN", "onednn", "fp32"],
  ["bf16", "Products in bf16", "onednn", "bf16"],
  ["ort", "ONNX Runtime", "ort", "fp32"],
  ["wasm", "WASM kernels", "wasm", "fp32"],
] as const;

/** Samples/s at which this machine's cores would train a model with all rows in memory; takes about two seconds. */
export async function speedHere(
  config: StepConfig & { readonly ranks: number | null },
  { denseFeatures, tables, steps }: DataShape,
): Promise<number> {
  return await measureSpeed(config, { denseFeatures, tables, steps }, config.ranks);
}

/** Examines the machine; takes about three seconds. */
export async function diagnose(): Promise<Diagnosis> {
  const cores = navigator.hardwareConcurrency;
  const memory = Deno.systemMemoryInfo();
  const findings: Finding[] = [
    { name: "Deno", found: true, detail: `${Deno.version.deno}, V8 ${Deno.version.v8}, ${Deno.build.target}` },
    {
      name: "Machine",
      found: true,
      detail: `${cores} cores, ${Math.round(memory.total / 2 ** 30)} GiB memory, ${
        Math.round(memory.available / 2 ** 30)
      } free`,
    },
  ];
  findings.push(...await deviceFindings());
  if (breaks.due) await breaks.take();
  findings.push(mpiFinding());
  if (breaks.due) await breaks.take();
  const gemmGflops: { -readonly [Name in keyof Diagnosis["gemmGflops"]]: number } = {};
  for (const [key, name, blas, precision] of PRODUCTS) {
    if (key === "bf16" && gemmGflops.onednn === undefined) continue; // already reported as missing
    if (breaks.due) await breaks.take();
    try {
      using host = await openHost(await cpuOptions(blas, precision));
      gemmGflops[key] = await measureGemm(host);
      findings.push({ name, found: true, detail: `${gemmGflops[key].toFixed(0)} GFLOP/s on one core, ${host.name}` });
    } catch (error) {
      findings.push({ name, found: false, detail: messageOf(error) });
    }
  }
  const best = Math.max(...PRODUCTS.map(([key, , , precision]) => precision === "fp32" ? gemmGflops[key] ?? 0 : 0));
  return {
    findings,
    gemmGflops,
    copyGbPerSecond: await measureCopy(),
    cores,
    kaggleLimit: best * 1e9 / flopsOf(kagglePlan()) * cores,
    kaggleSpeed: await expectedSpeed(),
  };
}

/** Repeats `work` for a while and returns the shortest time of one call in seconds. */
async function bestSeconds(work: () => void): Promise<number> {
  work();
  if (breaks.due) await breaks.take();
  let best = Infinity;
  for (const end = performance.now() + MEASURE_MS; performance.now() < end;) {
    const begin = performance.now();
    work();
    best = Math.min(best, performance.now() - begin);
    if (breaks.due) await breaks.take();
  }
  return best / 1000;
}

async function measureGemm(host: Awaited<ReturnType<typeof openHost>>): Promise<number> {
  const samples = 1024;
  const shape = { inputs: 512, outputs: 256, activation: "relu" } as const;
  const { inputs, outputs } = shape;
  const [x, weight, bias, y] = [samples * inputs, inputs * outputs, outputs, samples * outputs]
    .map((words) => host.allocate(words, "measurement"));
  const time = await bestSeconds(() => host.linear(shape, samples, x, weight, bias, y));
  return 2 * samples * inputs * outputs / time / 1e9;
}

async function measureCopy(): Promise<number> {
  const words = 16 << 20;
  const [source, target] = [new Float32Array(words), new Float32Array(words)];
  // The first use of each page, which takes longest, in parts.
  for (let first = 0; first < words; first += words / 64) {
    source.fill(1, first, first + words / 64);
    target.set(source.subarray(first, first + words / 64), first);
    if (breaks.due) await breaks.take();
  }
  return 2 * 4 * words / await bestSeconds(() => target.set(source)) / 1e9;
}
