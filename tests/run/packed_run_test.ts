/** A run packed into one file is used like the run; a damaged one is refused. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { open, type ZipFile } from "yauzl";
import { exportRun } from "../../src/interop/export_run.ts";
import { Random } from "../../src/random.ts";
import { packRun, UsableRun } from "../../src/run/packed_run.ts";
import { ENCODING } from "../../src/run/run_record.ts";
import { evaluateRun, predictRun } from "../../src/run/score_run.ts";
import { openModel } from "../../src/serving/scoring_model.ts";
import { measure } from "../../src/storage/file_entry.ts";
import { writeZip } from "../../src/storage/stored_zip.ts";
import { COLUMNS, csvOf, logRow, TrainedRun } from "../serving/support.ts";
import { slowTest } from "../support/series.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const silent = () => {};
const ROWS = Array.from({ length: 40 }, (_, i) => logRow(i));

slowTest(
  "a packed run predicts, evaluates, exports and serves the same bits without the run and its data",
  async () => {
    const trained = await TrainedRun.create();
    using elsewhere = new TemporaryDirectory();
    const input = elsewhere.join("new.csv");
    Deno.writeTextFileSync(input, csvOf(ROWS, COLUMNS.map(({ name }) => name)));
    const used = async (run: string, name: string) => {
      await exportRun(run, "safetensors", elsewhere.join(`${name}.safetensors`), silent);
      using model = await openModel(run);
      return {
        scores: await predictRun(run, [input], { blas: "wasm" }, silent),
        evaluation: await evaluateRun(run, [input], silent),
        exported: Deno.readFileSync(elsewhere.join(`${name}.safetensors`)),
        model: model.score(ROWS),
        facts: { ...model.facts, path: "" },
      };
    };
    const before = await used(trained.run, "run");
    const [file, again, old] = ["model", "again", "old"].map((name) => elsewhere.join(`${name}.hotset`));
    assert.equal(await packRun(trained.run, file, silent), Deno.statSync(file).size);
    await packRun(file, again, silent); // a packed run too
    assert.deepEqual(Deno.readFileSync(again), Deno.readFileSync(file));
    Deno.removeSync(join(trained.run, ENCODING), { recursive: true }); // as in version 0.1
    await packRun(trained.run, old, silent);
    trained[Symbol.dispose]();
    for (const packed of [file, old]) assert.deepEqual(await used(packed, "packed"), before);
    await assert.rejects(
      evaluateRun(file, [], silent),
      /it is a packed run without data; name raw files, or a dataset$/,
    );
  },
);

Deno.test("a packed run is a ZIP file that others read", async () => {
  using trained = await TrainedRun.create();
  const file = trained.join("model.hotset");
  await packRun(trained.run, file, silent);
  const zip = await new Promise<ZipFile>((resolve, reject) =>
    open(file, { lazyEntries: true }, (error, zip) => error ? reject(error) : resolve(zip))
  );
  const names: string[] = [];
  zip.on("entry", (entry) => {
    const path = join(trained.run, entry.fileName);
    assert.deepEqual([entry.uncompressedSize, entry.crc32], [measure(path).bytes, measure(path).crc32]);
    zip.openReadStream(entry, async (_, stream) => {
      assert.deepEqual(Buffer.concat(await Array.fromAsync(stream)), Buffer.from(Deno.readFileSync(path)));
      names.push(entry.fileName);
      zip.readEntry();
    });
  });
  await new Promise((resolve, reject) => {
    zip.on("end", resolve);
    zip.on("error", reject);
    zip.readEntry();
  });
  assert.ok(
    ["run.json", "encoding/dictionary.parquet", "best/manifest.json", "best/rows.f32"].every((name) =>
      names.includes(name)
    ),
  );
});

Deno.test("a changed, cut or longer pack is refused in one line, and leaves nothing unpacked", async () => {
  using trained = await TrainedRun.create();
  const file = trained.join("model.hotset");
  await packRun(trained.run, file, silent);
  const bytes = Deno.readFileSync(file);
  const damaged = trained.join("damaged.hotset");
  const refused = async (content: Uint8Array, what: string) => {
    Deno.writeFileSync(damaged, content);
    await assert.rejects(() => UsableRun.open(damaged), ({ name, code, message }) => {
      assert.equal(name, "HotsetError", `${what}: ${message}`);
      assert.match(message, /^Cannot (open|read) [^\n]*$/);
      return code === "damaged" || /neither a run nor a packed run/.test(message);
    });
  };
  const random = new Random(7);
  const directory = bytes.length - 1500; // in the list of files, every place counts
  for (let i = 0; i < 150; i++) {
    const at = i % 2 === 0 ? random.below(bytes.length) : directory + random.below(bytes.length - directory);
    const changed = bytes.slice();
    changed[at] ^= 1 << random.below(8);
    await refused(changed, `byte ${at}`);
  }
  for (const length of [0, 3, 4, 90, bytes.length >> 1, bytes.length - 22, bytes.length - 1]) {
    await refused(bytes.slice(0, length), `${length} bytes`);
  }
  await refused(Uint8Array.from([...bytes, 0]), "a byte more");
});

Deno.test("an archive of other files is refused: nothing is written outside", async () => {
  using directory = new TemporaryDirectory();
  const path = directory.join("file");
  Deno.writeTextFileSync(path, "text");
  const file = directory.join("other.zip");
  for (const names of [["../file"], ["best/../../file"], ["/file"], ["other.txt"], ["run.json", "run.json"]]) {
    await writeZip(file, names.map((name) => ({ name, path, ...measure(path) })), silent);
    await assert.rejects(() => UsableRun.open(file), /Cannot open .*other.zip: it is not a packed run/);
  }
  await assert.rejects(() => UsableRun.open(path), /Cannot open .*file: it is neither a run nor a packed run$/);
  await assert.rejects(
    () => writeZip(file, [{ name: "a", path, ...measure(path), crc32: 1 }], silent),
    /Cannot read .*file: its checksum does not match/,
  );
});
