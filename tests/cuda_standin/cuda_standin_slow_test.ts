/** The tests of the CUDA path, by the product's own calls into the stand-in libraries, with random delays of streams. */
import assert from "node:assert/strict";
import { standInAbsent, standInEnvironment, type StandInOptions } from "../support/cuda_standin.ts";

const FILES = {
  "whole runs in every mode": { file: "backend/cuda_training_slow_test.ts", options: { delay: 100 } },
  "operations beside the reference": { file: "backend/cuda_operations_test.ts", options: {} },
  "conformance of the backend": { file: "backend/cuda_conformance_slow_test.ts", options: {} },
  "2 and 4 GPUs": { file: "ranks/device_ranks_slow_test.ts", options: { devices: 4, delay: 100 } },
  "transfers, captures and faults": { file: "backend/cuda_backend_test.ts", options: { delay: 500 } },
} satisfies Record<string, { file: string; options: StandInOptions }>;

for (const [name, { file, options }] of Object.entries(FILES)) {
  Deno.test({
    name: `stand-in CUDA: ${name}${standInAbsent === undefined ? "" : ` (skipped: ${standInAbsent})`}`,
    ignore: standInAbsent !== undefined,
    fn: async () => {
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
    },
  });
}
