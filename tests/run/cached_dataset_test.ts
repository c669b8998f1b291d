import assert from "node:assert/strict";
import { sourceOf } from "../../src/dataset/prepare.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { ensureDataset } from "../../src/run/stages.ts";
import { labelsOf, TemporaryDirectory } from "../dataset/support.ts";

const SCHEMA = JSON.stringify({ columns: [{ name: "y", kind: "label" }, { name: "a", kind: "sparse" }] });

/** Opens or prepares the dataset of a log in a cache, and tells whether it was prepared. */
async function ensure(directory: TemporaryDirectory, input: string) {
  const events: RunEvent[] = [];
  const schema = directory.write("schema.json", SCHEMA);
  const raw = { format: "csv", schema, validationFraction: 0, testFraction: 0 } as const;
  const dataset = await ensureDataset([input], raw, directory.join("cache"), (event) => events.push(event));
  return { dataset, prepared: events.some((e) => e.event === "stage" && e.stage === "prepare: encode"), events };
}

Deno.test("a cached dataset is found by what its files hold: touched ones are the same, edited ones are not", async () => {
  using directory = new TemporaryDirectory();
  const input = directory.write("log.csv", "y,a\n1,p\n0,q\n");
  const { atime, mtime } = Deno.statSync(input);
  const first = await ensure(directory, input);
  assert.equal(first.prepared, true);
  Deno.utimeSync(input, new Date(0), new Date(0));
  const touched = await ensure(directory, input);
  assert.deepEqual([touched.prepared, touched.dataset.id], [false, first.dataset.id]);
  assert.ok(touched.events.some((e) => e.event === "note" && e.text === "3 lines read: 2 rows, 1 header"));
  directory.write("log.csv", "y,a\n0,p\n0,q\n");
  Deno.utimeSync(input, atime!, mtime!);
  const edited = await ensure(directory, input);
  assert.equal(edited.prepared, true, "an edit of the same length and time");
  assert.deepEqual(labelsOf(edited.dataset, "train"), [0, 0]);
  directory.write("log.csv", "y,a\n1,p\n0,q\n");
  const back = await ensure(directory, input);
  assert.deepEqual([back.prepared, back.dataset.id], [false, first.dataset.id], "what it held before is still there");
});

Deno.test("a file that changes while it is read for a dataset ends the work", async () => {
  using directory = new TemporaryDirectory();
  const schema = directory.write("schema.json", SCHEMA);
  for (const [change, kept] of [["1,r\n", true], ["", false]] as const) {
    const input = directory.write("log.csv", "y,a\n1,p\n0,q\n");
    const options = { inputs: [input], format: "csv", schema } as const;
    const onProgress = () => Deno.writeTextFileSync(input, change, { append: kept });
    await assert.rejects(sourceOf({ ...options, onProgress }), {
      message: `Cannot read ${input}: it changed while it was read; wait until it is complete`,
    });
  }
});
