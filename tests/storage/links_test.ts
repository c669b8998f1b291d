/** Outputs through symbolic links are written to the target, and the link remains. */
import assert from "node:assert/strict";
import { Dataset } from "../../src/dataset/dataset.ts";
import { generateDataset, writeCriteoLog } from "../../src/dataset/generate.ts";
import { exportRun } from "../../src/interop/export_run.ts";
import { buildLayout } from "../../src/layout/build_layout.ts";
import { profileDataset } from "../../src/profile/profile_dataset.ts";
import { writeProfileReport } from "../../src/report/html/profile_report.ts";
import { resolveConfig } from "../../src/config/config.ts";
import { startRun } from "../../src/run/run.ts";
import { throughLinks } from "../../src/storage/links.ts";
import { OutputLock } from "../../src/storage/output_lock.ts";
import { AtomicFile } from "../../src/storage/atomic_file.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const GENERATED = {
  shape: "kaggle",
  samples: 600,
  seed: 1,
  scale: 1000,
  fractions: { validation: 0.1, test: 0.1 },
} as const;

const isLink = (path: string) => Deno.lstatSync(path).isSymlink;

Deno.test("links are followed to what is there, and to what is not there yet", async () => {
  using place = new TemporaryDirectory();
  const root = Deno.realPathSync(place.path);
  Deno.mkdirSync(place.join("there"));
  for (
    const [name, target] of [["a", "there"], ["b", "a"], ["c", "missing"], ["d", "c"], ["loop", "loop"], ["self", "."]]
  ) {
    Deno.symlinkSync(target, place.join(name));
  }
  const cases = {
    "plain": "plain",
    "plain/deeper": "plain/deeper",
    "a": "there",
    "b/new": "there/new",
    "c": "missing",
    "d/x/y": "missing/x/y",
    "self/self/c": "missing",
    "there/../d": "missing",
  };
  for (const [path, target] of Object.entries(cases)) {
    assert.equal(throughLinks(place.join(path)), `${root}/${target}`, path);
  }
  assert.throws(
    () => new AtomicFile(place.join("loop")),
    /^HotsetError: Cannot write .*loop: Too many levels of symbolic links$/,
  );
  await assert.rejects(
    () => generateDataset(place.join("loop/x"), GENERATED),
    /^HotsetError: Cannot write dataset .*: Too many levels/,
  );
});

Deno.test("every output goes where a link points, be something there or not", async () => {
  using place = new TemporaryDirectory();
  Deno.mkdirSync(place.join("disk"));
  const link = (name: string) => {
    Deno.symlinkSync(`disk/${name}`, place.join(name));
    return place.join(name);
  };
  Deno.mkdirSync(place.join("disk/data"));
  await generateDataset(link("data"), GENERATED);
  const dataset = await generateDataset(place.join("data"), GENERATED); // replaces what the link points to
  await writeCriteoLog(link("log.tsv"), GENERATED);
  const profile = await profileDataset(dataset, {
    out: link("profile"),
    dim: 8,
    optimizer: "sgd",
    hotMemory: 2 ** 22,
    seed: 1,
  });
  using _layout = await buildLayout(dataset, profile, { out: link("layout"), batchSize: 64 });
  await writeProfileReport(profile, dataset, link("report.html"));
  const config = resolveConfig("kaggle", { bottom: [8], top: [8, 1], dim: 8, device: "cpu", ranks: 1, mode: "cpu" });
  await startRun(config, dataset, { out: link("run"), report: () => {} });
  await exportRun(place.join("run"), "onnx", link("model.onnx"), () => {});
  const names = ["data", "log.tsv", "profile", "layout", "report.html", "run", "model.onnx"];
  for (const name of names) {
    assert.ok(isLink(place.join(name)), `${name} is still a link`);
    assert.ok(!isLink(place.join("disk", name)), name);
  }
  assert.equal(Dataset.open(place.join("disk/data")).id, dataset.id);
  // A model's weights lie beside it, whatever name it was written by.
  const written = [...Deno.readDirSync(place.join("disk"))].map(({ name }) => name).sort();
  assert.deepEqual(written, [...names, "model.onnx.data"].sort());
});

Deno.test("an output is locked whatever name it has", async () => {
  using place = new TemporaryDirectory();
  Deno.symlinkSync("run", place.join("link"));
  const words = ["train", "another process trains it"] as const;
  using _lock = await OutputLock.take(place.join("run"), ...words);
  await assert.rejects(OutputLock.take(place.join("link"), ...words), /Cannot train: another process trains it/);
});
