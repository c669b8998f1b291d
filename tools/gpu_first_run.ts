/**
 * Tests and measures Hotset on a GPU with one command:
 *
 *     deno run -A tools/gpu_first_run.ts --out FOLDER
 *
 * Describes the machine, runs the tests that need a GPU, trains the demonstration, times every kernel and whole steps,
 * and trains the same model in PyTorch if python3 has it. Writes `report.json`, `report.html` (one self-contained file)
 * and a log of each part to FOLDER. Each part is a process with a time limit, so that no part can end another, and the
 * report is written again after each. Exit status 1 if a part failed.
 *
 * `--parts machine,kernels` selects parts; `--tiny` rehearses all of them in tiny sizes, and `--device emulated` does so
 * without a GPU; `--offline` lets Deno use only its cache.
 */
import { parseArgs } from "node:util";
import { join, resolve } from "node:path";
import { type PartOptions, partsOf } from "./gpu/parts.ts";
import { type Outcome, runPart } from "./gpu/run_part.ts";
import { writeReport } from "./gpu/report.ts";

/** Runs parts and leaves a report. Returns how they went. */
export async function gpuFirstRun(
  options: Omit<PartOptions, "work"> & { readonly out: string; readonly parts?: readonly string[] | undefined },
): Promise<Outcome[]> {
  const out = resolve(options.out);
  Deno.mkdirSync(out, { recursive: true });
  const outcomes: Outcome[] = [];
  const parts = partsOf({ ...options, work: join(out, "work") });
  const unknown = options.parts?.filter((name) => !parts.some((part) => part.name === name)) ?? [];
  if (unknown.length > 0) throw new Error(`there is no part ${unknown}; there are ${parts.map(({ name }) => name)}`);
  for (const part of parts) {
    if (options.parts?.includes(part.name) === false) continue;
    const outcome = await runPart(part, join(out, `${part.name}.log`));
    outcomes.push(outcome);
    console.log(
      `${part.name.padEnd(10)} ${outcome.status.padEnd(9)} ${outcome.seconds.toFixed(1)} s  ${outcome.reason}`,
    );
    writeReport(out, options.device, outcomes);
  }
  return outcomes;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      out: { type: "string", default: join("hotset", "gpu") },
      device: { type: "string", default: "cuda" },
      parts: { type: "string" },
      tiny: { type: "boolean" },
      offline: { type: "boolean", default: false },
    },
  });
  const outcomes = await gpuFirstRun({
    ...values,
    device: values.device === "emulated" ? "emulated" : "cuda",
    parts: values.parts?.split(","),
  });
  console.log(`The report is in ${join(values.out, "report.html")}`);
  if (outcomes.some(({ status }) => status === "failed" || status === "timed out")) Deno.exitCode = 1;
}
