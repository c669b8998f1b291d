/** The memory of export and import does not grow with the tables, because rows are copied in parts. */
import assert from "node:assert/strict";
import { startRun } from "../../src/run/run.ts";
import { CONFIG, dataOf, quiet } from "../support/row_runs.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const ROWS = 3_000_000, DIM = 32;
/** Of Deno, its compiled modules and the parts that are copied. */
const MAX_BYTES = 300e6;
const SOURCE = new URL("../../src/", import.meta.url);

/** Runs code in a process of its own and returns its peak memory. */
async function peakOf(imports: string, module: string, code: string): Promise<number> {
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      `import { ${imports} } from "${SOURCE}${module}";
       import { peakRssBytes } from "${SOURCE}loop/peak_rss.ts";
       ${code};
       console.log(peakRssBytes());`,
    ],
    cwd: new URL("../../", import.meta.url),
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return Number(new TextDecoder().decode(stdout));
}

Deno.test("a model with rows on disk is exported and imported in less memory than its tables take", async () => {
  using place = new TemporaryDirectory();
  const dataset = dataOf(place, { rows: ROWS });
  const run = place.join("run");
  await startRun({ ...CONFIG, dim: DIM, bottom: [12, DIM], memory: { share: 0.02 }, epochs: 1 }, dataset, {
    out: run,
    report: quiet,
  });
  const tables = 4 * ROWS * DIM;
  assert.ok(tables > MAX_BYTES, "the tables alone would be too much");
  const file = place.join("model.safetensors");
  const exported = await peakOf(
    "exportRun",
    "interop/export_run.ts",
    `await exportRun(${JSON.stringify(run)}, "safetensors", ${JSON.stringify(file)}, () => {})`,
  );
  assert.ok(exported < MAX_BYTES, `export took ${exported} bytes`);
  assert.ok(Deno.statSync(file).size > tables);
  const options = { data: dataset.directory, out: place.join("imported"), config: {} };
  const imported = await peakOf(
    "importRun",
    "interop/import_run.ts",
    `await importRun(${JSON.stringify(file)}, ${JSON.stringify(options)}, () => {})`,
  );
  assert.ok(imported < MAX_BYTES, `import took ${imported} bytes`);
});
