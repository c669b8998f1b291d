/** What `doctor` and `train` say of GPUs, drivers and libraries that do not fit together, and of those that do. */
import assert from "node:assert/strict";
import { TINY_MODEL, Workplace } from "../cli/support.ts";
import { standInAbsent, standInEnvironment, type StandInOptions } from "../support/cuda_standin.ts";

interface Machine {
  readonly name: string;
  readonly options: StandInOptions;
  /** The line of the GPU, without its first column. */
  readonly says: RegExp;
}

const CUDA_12 = /the libraries of CUDA 12: pip install nvidia-cuda-runtime-cu12 nvidia-cublas-cu12/;

/** Those that cannot compute; all have the libraries of CUDA 13 or 12. */
const UNFIT: readonly Machine[] = [
  {
    name: "a V100 with CUDA 13",
    options: { runtime: 13000, driver: 13000, capability: 70 },
    says: new RegExp(
      `^GPU 0 has compute capability 7\\.0, but the libraries of CUDA 13 have code for 7\\.5 and newer\\. Install ${CUDA_12.source}`,
    ),
  },
  {
    name: "a driver of CUDA 12 with CUDA 13",
    options: { runtime: 13000, driver: 12080, capability: 90 },
    says: new RegExp(
      `cudaErrorInsufficientDriver \\(35\\).*supports CUDA 12, .*CUDA 13: update the driver .*580.*, or install ${CUDA_12.source}`,
    ),
  },
  {
    name: "a driver of CUDA 11 with CUDA 12",
    options: { runtime: 12080, driver: 11040, capability: 80 },
    says: /\(35\).*supports CUDA 11, .*CUDA 12: update the driver .*525\), or install a toolkit of CUDA 11, from 11\.4/,
  },
  {
    name: "a P100",
    options: { runtime: 12080, driver: 12080, capability: 60 },
    says: /^GPU 0 has compute capability 6\.0, but Hotset needs 7\.0 \(V100\) or newer/,
  },
];

const ignore = standInAbsent !== undefined;
const note = ignore ? ` (skipped: ${standInAbsent})` : "";

/** The findings about GPUs. */
async function gpusOf(place: Workplace, options: StandInOptions) {
  const { code, stdout, stderr } = await place.runWith(standInEnvironment(options), "doctor", "--json");
  assert.equal(code, 0, stderr);
  const { findings } = JSON.parse(stdout) as { findings: { name: string; found: boolean; detail: string }[] };
  return findings.filter(({ name }) => name.startsWith("GPU"));
}

for (const { name, options, says } of UNFIT) {
  Deno.test({
    name: `stand-in CUDA: doctor and train say what ${name} needs${note}`,
    ignore,
    fn: async () => {
      using place = new Workplace();
      const [gpu, ...others] = await gpusOf(place, options);
      assert.deepEqual([gpu.name, gpu.found, others.length], ["GPU", false, 0]);
      assert.match(gpu.detail, says);
      await place.log("log.tsv", 200);
      const flags = ["--mode", "gpu", "--device", "cuda", "--quiet", ...TINY_MODEL, "--ranks", "1"];
      const { code, stderr } = await place.runWith(standInEnvironment(options), "train", "log.tsv", ...flags);
      assert.equal(code, 1);
      assert.ok(stderr.startsWith("error: Cannot use CUDA: "), stderr);
      assert.match(stderr.slice("error: Cannot use CUDA: ".length), says);
    },
  });
}

Deno.test({
  name: `stand-in CUDA: doctor lists GPUs that fit, with their compute capability${note}`,
  ignore,
  fn: async () => {
    using place = new Workplace();
    for (
      const options of [{ runtime: 12080, driver: 13000, capability: 70 }, {
        runtime: 13000,
        driver: 13000,
        capability: 75,
      }]
    ) {
      const gpus = await gpusOf(place, { ...options, devices: 2 });
      assert.deepEqual(gpus.map(({ name, found }) => [name, found]), [["GPU 0", true], ["GPU 1", true]]);
      assert.match(gpus[1].detail, new RegExp(`compute capability 7\\.${options.capability % 10}, .* GiB free$`));
    }
    const { stdout } = await place.runWith(standInEnvironment(), "doctor");
    assert.match(stdout, /^ok +GPU 0 /m);
    assert.doesNotMatch(stdout, /Without an NVIDIA GPU/);
  },
});
