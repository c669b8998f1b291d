/** Manifests that are refused before any array is read. */
import assert from "node:assert/strict";
import { z } from "zod";
import { Artifact } from "../../src/storage/artifact.ts";
import { ArtifactWriter } from "../../src/storage/artifact_writer.ts";
import { rewrite } from "../support/rewrite.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const body = z.object({ rows: z.number(), nested: z.unknown() });

/** Writes a profile with one file, and a change to its manifest. */
function written(directory: TemporaryDirectory, change: (manifest: Record<string, unknown>) => unknown): string {
  const path = directory.join("artifact");
  {
    using writer = new ArtifactWriter("profile", path);
    writer.file("a.u32").append(Uint32Array.of(1, 2, 3));
    writer.commit({ rows: 3, nested: 0 });
  }
  const manifest = JSON.parse(Deno.readTextFileSync(`${path}/manifest.json`));
  const changed = change(manifest) ?? manifest;
  if (typeof changed === "string") Deno.writeTextFileSync(`${path}/manifest.json`, changed);
  else rewrite(`${path}/manifest.json`, JSON.stringify(changed));
  return path;
}

function refused(path: string, reason: RegExp): void {
  assert.throws(
    () => Artifact.open("profile", path, body),
    (error: Error) =>
      error.name === "HotsetError" && error.message.startsWith(`Cannot open profile ${path}: `) &&
      reason.test(error.message) && !error.message.includes("\n"),
    String(reason),
  );
}

Deno.test("an artifact opens as it was written", () => {
  using directory = new TemporaryDirectory();
  const artifact = Artifact.open("profile", written(directory, () => undefined), body);
  assert.deepEqual(artifact.readInto("a.u32", new Uint32Array(3)), Uint32Array.of(1, 2, 3));
  assert.ok(artifact.has("a.u32") && !artifact.has("constructor"));
  assert.throws(() => artifact.readInto("a.u32", new Uint32Array(4)), /has 12 bytes, but its manifest implies 16/);
  assert.throws(() => artifact.path("b.u32"), /the manifest does not list it/);
});

Deno.test("manifests of another kind or version, or that name other places, are refused", () => {
  const file = { bytes: 12, crc32: 0 };
  const cases: [Parameters<typeof written>[1], RegExp][] = [
    [(m) => ({ ...m, hotset: "dataset" }), /it is a dataset, not a profile/],
    [(m) => ({ ...m, hotset: "other" }), /manifest\.json has hotset: /],
    [
      (m) => ({ ...m, version: 1 }),
      /its format is version 1 and this Hotset reads from version \d+ on; remove the dir/,
    ],
    [(m) => ({ ...m, version: 99 }), /its format is version 99 and this Hotset reads up to version \d+; use a newer/],
    [(m) => ({ ...m, version: 2 ** 60 }), /manifest\.json has version: /],
    [(m) => ({ ...m, version: undefined }), /manifest\.json has version: /],
    [(m) => ({ ...m, files: { "../a.u32": file } }), /names the file "\.\.\/a\.u32" outside the directory/],
    [(m) => ({ ...m, files: { "..": file } }), /names the file "\.\." outside the directory/],
    [(m) => ({ ...m, files: { "": file } }), /names the file "" outside the directory/],
    [(m) => ({ ...m, files: { "/a.u32": file } }), /outside the directory/],
    [(m) => ({ ...m, files: { "a\0b": file } }), /a\0b/],
    [(m) => ({ ...m, files: { "b.u32": file } }), /b\.u32 is missing/],
    [(m) => ({ ...m, files: { "a.u32": { bytes: 12, crc32: 1 } } }), /a\.u32 is damaged \(checksum does not match\)/],
    [(m) => ({ ...m, files: { "a.u32": { bytes: -1, crc32: 1 } } }), /manifest\.json has files\.a\.u32\.bytes: /],
    [(m) => ({ ...m, body: { rows: "3", nested: 0 } }), /manifest\.json has rows: /],
    [
      (m) => JSON.stringify(m).replace('"nested":0', `"nested":${'{"0":'.repeat(1e5)}1${"}".repeat(1e5)}`),
      /manifest\.json is nested too deeply/,
    ],
    [(m) => JSON.stringify(m).replace('"rows":3', '"rows":4'), /manifest\.json is damaged \(checksum/],
    [() => "[1, 2]", /manifest\.json has a value: /],
    [() => '{"hotset":', /manifest\.json is not JSON/],
  ];
  for (const [change, reason] of cases) {
    using directory = new TemporaryDirectory();
    refused(written(directory, change), reason);
  }
});

Deno.test("what is no file, or no manifest by its length, is not read", () => {
  using directory = new TemporaryDirectory();
  const path = written(directory, () => undefined);
  Deno.removeSync(`${path}/a.u32`);
  Deno.mkdirSync(`${path}/a.u32`);
  refused(path, /a\.u32 is not a file/);
  Deno.truncateSync(`${path}/manifest.json`, 65 * 2 ** 20);
  refused(path, /manifest\.json has 68157440 bytes/);
});

Deno.test({
  name: "a pipe in the place of a file is not waited for",
  ignore: Deno.build.os === "windows",
  fn() {
    using directory = new TemporaryDirectory();
    const path = written(directory, () => undefined);
    Deno.removeSync(`${path}/a.u32`);
    assert.ok(new Deno.Command("mkfifo", { args: [`${path}/a.u32`] }).outputSync().success);
    refused(path, /a\.u32 is not a file/);
  },
});
