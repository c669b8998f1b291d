/**
 * Tests of the CUDA path with the product's own foreign calls into stand-in libraries, with random delays of streams.
 */
import assert from "node:assert/strict";
import { jsonLines, TINY_MODEL, Workplace } from "../cli/support.ts";
import { standInAbsent, standInEnvironment, type StandInOptions } from "../support/cuda_standin.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const FILES = {
  "whole runs in every mode": { file: "backend/cuda_training_slow_test.ts", options: { delay: 100 } },
  "operations beside the reference": { file: "backend/cuda_operations_test.ts", options: {} },
  "conformance of the backend": { file: "backend/cuda_conformance_slow_test.ts", options: {} },
  "rows cached on a device": { file: "ranks/device_cached_test.ts", options: { delay: 200 } },
  "the same rows cached on 1 to 4 GPUs": {
    file: "ranks/device_cached_ranks_slow_test.ts",
    options: { devices: 4, delay: 200 },
  },
  "calls that fail": { file: "cuda_standin/fault_cases.ts", options: {} },
  "2 and 4 GPUs": { file: "ranks/device_ranks_slow_test.ts", options: { devices: 4, delay: 100 } },
  "padded inputs": { file: "backend/cuda_padding_test.ts", options: { delay: 50 } },
  "batches copied from their slots": { file: "ranks/pinned_slots_test.ts", options: { delay: 500 } },
  "uploads from pinned memory": { file: "backend/cuda_uploads_test.ts", options: { delay: 500 } },
  "transfers, captures and faults": { file: "backend/cuda_backend_test.ts", options: { delay: 500 } },
} satisfies Record<string, { file: string; options: StandInOptions }>;

/** A test that needs the stand-in. */
function testStandIn(name: string, fn: () => Promise<void>): void {
  const ignore = standInAbsent !== undefined;
  Deno.test({ name: `stand-in CUDA: ${name}${ignore ? ` (skipped: ${standInAbsent})` : ""}`, ignore, fn });
}

for (const [name, { file, options }] of Object.entries(FILES)) {
  testStandIn(name, async () => {
    const path = new URL(`../${file}`, import.meta.url).pathname;
    const command = new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "--no-check", path],
      env: { NO_COLOR: "1", ...standInEnvironment(options) },
      stdout: "piped",
      stderr: "piped",
    });
    const { code, stdout, stderr } = await command.output();
    const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assert.equal(code, 0, text);
    assert.match(text, /\bok \| [1-9]\d* passed \| 0 failed/);
  });
}

testStandIn("the host is timed beside a device of no time, in modes gpu and cached", async () => {
  using directory = new TemporaryDirectory();
  const bench = new URL("../../bench/cuda_host_bench.ts", import.meta.url).pathname;
  const flags = ["--tiny", "--batch-sizes", "32", "--folder", directory.path, "--json"];
  const command = new Deno.Command(Deno.execPath(), { args: ["run", "-A", "--no-check", bench, ...flags] });
  const { code, stdout, stderr } = await command.output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  const times = jsonLines(new TextDecoder().decode(stdout)) as unknown as {
    mode: string;
    read: number;
    queue: number;
  }[];
  assert.deepEqual(times.map(({ mode }) => mode), ["gpu", "cached"]);
  for (const { read, queue } of times) assert.ok(read > 0 && queue > 0);
});

testStandIn(
  "layers are fused by cuBLASLt where it is installed: runs record it, and tell when they resume without it",
  async () => {
    using place = new Workplace();
    await place.log("log.tsv", 600);
    const flags = ["--mode", "gpu", "--device", "cuda", "--batch-size", "64", ...TINY_MODEL, "--ranks", "1"];
    const environment = standInEnvironment();
    const run = async (status: number, variables: Record<string, string>, ...args: string[]) => {
      const { code, stdout, stderr } = await place.start(["train", ...args], variables).output();
      const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
      assert.equal(code, status, text);
      return text;
    };
    const name = /Training on .*, fp32, cuBLASLt 12\.0\.0 with 1 rank/;
    assert.match(await run(0, environment, "log.tsv", "--out", "run", ...flags), name);
    const without = { ...environment, HOTSET_CUBLASLT: "/no/such/library.so" };
    const resumed = await run(0, without, "--resume", "--out", "run");
    assert.match(resumed, /Continuing with .*, fp32 instead of .*, fp32, cuBLASLt 12\.0\.0: the last bits/);
    assert.match(await run(0, without, "log.tsv", "--out", "ptx", ...flags), /Training on .*, fp32 with 1 rank/);
    const refused = await run(1, without, "log.tsv", "--out", "none", ...flags, "--activations", "cublaslt");
    assert.match(refused, /^error: Cannot use activations cublaslt: Cannot load cuBLASLt.*\n.*no\/such\/library\.so/m);
    assert.match(refused, /--activations ptx does not need it/);
  },
);

/** What fails on the second of two GPUs, while the first waits for it: a call, a kernel, a copy, an exchange. */
const PEERS = [
  { name: "cudaGraphLaunch", number: 6 },
  { name: "activation_backward", number: 6 },
  { name: "copy", number: 9 },
  { name: "sum", number: 6 },
  { name: "cudaMalloc", number: 9 },
  { name: "ncclCommInitRank", number: 1 },
  { name: "activation_backward", number: 6, mode: "cached" },
  { name: "copy", number: 9, mode: "cached" },
];

for (const { name, number, mode = "gpu" } of PEERS) {
  testStandIn(
    `a process whose second GPU fails at ${name} in mode ${mode} ends soon, with the cause in one line`,
    async () => {
      using place = new Workplace();
      await place.log("log.tsv", 2000);
      const flags = ["--mode", mode, "--device", "cuda", "--batch-size", "64", "--quiet", ...TINY_MODEL];
      const fail = { name, number, code: name === "cudaMalloc" ? 2 : 719, device: 1 };
      const environment = standInEnvironment({ devices: 2, fail });
      const timer = setTimeout(() => child.kill("SIGKILL"), 10_000); // it takes two seconds
      const child = place.start(["train", "log.tsv", ...flags], environment);
      const { code, stderr } = await child.output();
      clearTimeout(timer);
      const text = new TextDecoder().decode(stderr);
      assert.equal(code, 1, text);
      assert.match(text, /^error: .*(the test wants it|Cannot allocate)[^\n]*\n$/);
    },
  );
}
