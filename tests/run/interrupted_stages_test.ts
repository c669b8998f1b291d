/** Interrupted stages end immediately and leave no unfinished output. */
import assert from "node:assert/strict";
import { generateDataset, writeCriteoLog } from "../../src/dataset/generate.ts";
import { encodeWith, prepareDataset } from "../../src/dataset/prepare.ts";
import { Interrupted } from "../../src/errors.ts";
import { buildLayout } from "../../src/layout/build_layout.ts";
import { slowTest } from "../support/series.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const GENERATED = {
  shape: "kaggle",
  samples: 3000,
  seed: 1,
  scale: 1000,
  fractions: { validation: 0.1, test: 0.1 },
} as const;
const SCHEMA = {
  columns: [{ name: "clicked", kind: "label" }, { name: "price", kind: "dense" }, { name: "item", kind: "sparse" }],
};

const interrupt = (): never => {
  throw new Interrupted("Interrupted by SIGTERM");
};

function names(directory: string): string[] {
  return [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
}

Deno.test("interrupted by what they report: generate, layout", async () => {
  using place = new TemporaryDirectory();
  const dataset = await generateDataset(place.join("data"), GENERATED);
  const stages = {
    generate: () => generateDataset(place.join("other"), { ...GENERATED, onProgress: interrupt }),
    "generate --raw": () => writeCriteoLog(place.join("log.tsv"), { ...GENERATED, onProgress: interrupt }),
    layout: () => buildLayout(dataset, undefined, { out: place.join("layout"), batchSize: 64, onProgress: interrupt }),
  };
  for (const [name, stage] of Object.entries(stages)) {
    await assert.rejects(async () => await stage(), Interrupted, name);
    assert.deepEqual(names(place.path), ["data"], name);
  }
});

slowTest("interrupted by a signal: prepare and encode, of every kind of reader", async () => {
  using place = new TemporaryDirectory();
  await writeCriteoLog(place.join("log.tsv"), GENERATED);
  Deno.writeTextFileSync(place.join("schema.json"), JSON.stringify(SCHEMA));
  const rows = Array.from({ length: 3000 }, (_, i) => `${i % 2},${i % 7},item${i % 50}\n`);
  Deno.writeTextFileSync(place.join("log.csv"), `clicked,price,item\n${rows.join("")}`);
  const csv = { inputs: [place.join("log.csv")], format: "csv", schema: place.join("schema.json") } as const;
  const whole = await prepareDataset({ ...csv, out: place.join("whole") });
  const criteo = { inputs: [place.join("log.tsv")], format: "criteo" } as const;
  const cases = [["criteo", "read"], ["criteo", "count"], ["csv", "read"], ["csv", "count"], [
    "encode",
    "read",
  ]] as const;
  for (const [kind, when] of cases) {
    const controller = new AbortController();
    const name = `${kind}-${when}`;
    const options = {
      out: place.join(name),
      signal: controller.signal,
      onProgress: (stage: string) => {
        if (stage === when) controller.abort(new Interrupted("Interrupted by SIGTERM"));
      },
    };
    const prepared = kind === "criteo" ? criteo : csv;
    await assert.rejects(
      kind === "encode" ? encodeWith(whole, csv.inputs, options) : prepareDataset({ ...prepared, ...options }),
      Interrupted,
      name,
    );
    const left = names(place.path).filter((file) => file.includes(name));
    assert.match(left.join(), new RegExp(`^\\.${name}\\.stage-[0-9a-f]+$`), "its finished steps alone");
    if (kind === "encode") continue;
    await prepareDataset({ ...prepared, out: options.out });
    assert.deepEqual(names(place.path).filter((file) => file.includes(name)), [name], "they are used and removed");
  }
});
