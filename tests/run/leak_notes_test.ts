import assert from "node:assert/strict";
import { prepareDataset } from "../../src/dataset/prepare.ts";
import { leakNotes } from "../../src/run/leak_notes.ts";
import { TemporaryDirectory } from "../dataset/support.ts";

const COLUMNS = [
  { name: "y", kind: "label" },
  { name: "later", kind: "dense", transform: "none" },
  { name: "price", kind: "dense" },
  { name: "outcome", kind: "sparse" },
  { name: "user", kind: "sparse" },
  { name: "seen", kind: "bag" },
];

/** A log in which features may follow the label. */
async function notesOf(rows: number, leaks: readonly string[]): Promise<string[]> {
  using directory = new TemporaryDirectory();
  const random = (i: number, salt: number) => ((i + salt) * 2654435761 >>> 7) % 1009;
  const lines = Array.from({ length: rows }, (_, i) => {
    const label = Number(random(i, 1) % 4 === 0);
    const other = Number(random(i, 9) % 2);
    return [
      label,
      leaks.includes("later") ? (label === 1 ? "" : 5 + random(i, 2)) : random(i, 2),
      random(i, 3) + 300 * label, // a good feature is no leak
      leaks.includes("outcome") ? `${label}${random(i, 4) % 5}` : `${other}${random(i, 4) % 5}`,
      `u${random(i, 5)}`,
      leaks.includes("seen") ? `x${label}|x${label}` : `x${random(i, 6) % 9}`,
    ].join() + "\n";
  });
  const input = directory.write("log.csv", lines.join(""));
  const schema = directory.write("schema.json", JSON.stringify({ header: false, columns: COLUMNS }));
  const splits = { validationFraction: 0, testFraction: 0 };
  return leakNotes(
    await prepareDataset({ inputs: [input], format: "csv", schema, out: directory.join("out"), ...splits }),
  );
}

Deno.test("a feature that alone separates the labels is told of, dense, sparse or a bag", async () => {
  const notes = await notesOf(2000, ["later", "outcome", "seen"]);
  assert.deepEqual(notes.map((note) => note.split(" ")[0]), ["later", "outcome", "seen"]);
  assert.match(
    notes[0],
    /^later alone separates the labels almost perfectly \(AUC 1\.0000 in 2,000 train samples\)\. If it is known only after the label, leave it out with kind "ignore"$/,
  );
});

Deno.test("good features are no leak, nor is chance in a few samples; long logs are sampled", async () => {
  assert.deepEqual(await notesOf(2000, []), []);
  assert.deepEqual(await notesOf(40, ["later"]), []);
  assert.equal((await notesOf(50_000, ["later"])).length, 1);
});
