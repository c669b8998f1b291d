/** A validation split from its own files, as in published data with train, valid and test files. */
import assert from "node:assert/strict";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { prepareDataset, type PrepareOptions } from "../../src/dataset/prepare.ts";
import { prepareTo } from "../../src/run/stages.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { criteoLine, denseOf, idsOf, labelsOf, TemporaryDirectory } from "./support.ts";

const SCHEMA = JSON.stringify({
  columns: [
    { name: "y", kind: "label" },
    { name: "x", kind: "dense", transform: "none", missing: "mean" },
    { name: "city", kind: "sparse" },
  ],
});
const TRAIN = "y,x,city\n1,1,5\n0,3,5\n1,5,7\n0,,7\n";

/** Prepares the four train rows with the given validation and test rows. */
function prepare(directory: TemporaryDirectory, options: Partial<PrepareOptions>): Promise<Dataset> {
  const inputs = [directory.write("train.csv", TRAIN)];
  const schema = directory.write("schema.json", SCHEMA);
  return prepareDataset({ inputs, format: "csv", schema, out: directory.join("data"), ...options });
}

Deno.test("validation files are the validation split, read by the rules of the train files", async () => {
  using directory = new TemporaryDirectory();
  const valid = directory.write("valid.csv", "y,x,city\n1,,5.0\n0,2,9\n");
  const test = directory.write("test.csv", "y,x,city\n0,4,7\n");
  const dataset = await prepare(directory, { validationInputs: [valid], testInputs: [test] });
  assert.deepEqual(dataset.body.splits, {
    train: { samples: 4, lookups: 4 },
    validation: { samples: 2, lookups: 2 },
    test: { samples: 1, lookups: 1 },
  });
  assert.deepEqual(labelsOf(dataset, "validation"), [1, 0]);
  assert.deepEqual(denseOf(dataset, "validation"), [[3], [2]], "the mean of the train rows");
  assert.deepEqual(idsOf(dataset, "validation"), [[[1]], [[0]]], "5.0 is 5, and 9 is unknown");
  assert.deepEqual(idsOf(dataset, "test"), [[[2]]]);
  assert.deepEqual(dataset.body.read!.map((files) => files.map(({ rows }) => rows)), [[4], [2], [1]]);
});

Deno.test("the test split is still split off the end unless it has files", async () => {
  using directory = new TemporaryDirectory();
  const valid = directory.write("valid.csv", "y,x,city\n1,,5\n");
  const { body: { splits } } = await prepare(directory, { validationInputs: [valid], testFraction: 0.25 });
  assert.deepEqual([splits.train.samples, splits.validation.samples, splits.test.samples], [3, 1, 1]);
});

Deno.test("the format criteo takes validation files, too", async () => {
  using directory = new TemporaryDirectory();
  const lines = (...cities: string[]) => cities.map((city) => criteoLine("1", [], [city])).join("");
  const dataset = await prepareDataset({
    inputs: [directory.write("train.tsv", lines("a", "b", "a"))],
    validationInputs: [directory.write("valid.tsv", lines("b", "c"))],
    ...{ format: "criteo", testFraction: 0, out: directory.join("data") },
  });
  assert.deepEqual(idsOf(dataset, "validation").map(([city]) => city), [[2], [0]]);
});

Deno.test("a validation file is neither trained nor tested on, and leaves nothing to split off", async () => {
  using directory = new TemporaryDirectory();
  const train = directory.join("train.csv");
  const other = directory.write("other.csv", TRAIN);
  for (
    const [options, message] of [
      [
        { validationInputs: [train] },
        `Cannot validate on ${train}: it is also a train file; remove it from one of them`,
      ],
      [
        { validationInputs: [other], testInputs: [other] },
        `Cannot test on ${other}: it is also a validation file; remove it from one of them`,
      ],
      [
        { validationInputs: [other], validationFraction: 0.1 },
        "Cannot split off a validation fraction: the validation files are the validation split",
      ],
    ] as const
  ) {
    await assert.rejects(prepare(directory, options), { name: "UsageError", message });
  }
});

Deno.test("a malformed row of a validation file is named by its file and line", async () => {
  using directory = new TemporaryDirectory();
  const valid = directory.write("valid.csv", "y,x,city\n1,2,5\nmaybe,2,5\n");
  await assert.rejects(prepare(directory, { validationInputs: [valid] }), /valid\.csv: line 3: y is "maybe"/);
});

Deno.test("unknown values of the validation split are counted, and refused above the limit", async () => {
  using directory = new TemporaryDirectory();
  const options = {
    inputs: [directory.write("train.csv", TRAIN)],
    validationInputs: [directory.write("valid.csv", "y,x,city\n1,1,9\n0,1,5\n1,1,8\n0,1,7\n")],
    schema: directory.write("schema.json", SCHEMA),
    format: "csv" as const,
    testFraction: 0,
    out: directory.join("data"),
  };
  const events: RunEvent[] = [];
  await prepareTo(options, (event) => void events.push(event));
  const shares = events.flatMap((event) => event.event === "dataset" ? [event.validationUnknownShare] : []);
  assert.deepEqual(shares, [{ city: 0.5 }]);
  await assert.rejects(
    prepareTo({ ...options, maxUnknown: 0.4 }, () => {}),
    /Cannot use the validation split of .*: 50.0 % of the lookups of city .*, more than --max-unknown 0.4 allows/,
  );
});
