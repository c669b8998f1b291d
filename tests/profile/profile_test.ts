import assert from "node:assert/strict";
import { ArtifactWriter } from "../../src/storage/artifact_writer.ts";
import { HOT_ROWS_FILE, Profile, type ProfileBody } from "../../src/profile/profile.ts";
import { profileDataset } from "../../src/profile/profile_dataset.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

async function smallProfile(directory: TemporaryDirectory) {
  const options = { samples: { train: 500, validation: 10, test: 10 }, denseFeatures: 1, bags: false, skew: 2 };
  const dataset = tinyDataset(directory.join("dataset"), { ...options, tableRows: [10, 20_000], seed: 1 });
  const other = tinyDataset(directory.join("other"), { ...options, tableRows: [10, 20_000], seed: 2 });
  const out = directory.join("profile");
  const profile = await profileDataset(dataset, { out, dim: 16, optimizer: "sgd", hotMemory: 8000, seed: 1 });
  return { dataset, other, profile };
}

function rewrite(directory: string, body: unknown, rows: Uint32Array): void {
  using writer = new ArtifactWriter("profile", directory);
  writer.file(HOT_ROWS_FILE).append(rows);
  writer.commit(body);
}

Deno.test("a profile opens with what was written, and belongs to its dataset alone", async () => {
  using directory = new TemporaryDirectory();
  const { dataset, other, profile } = await smallProfile(directory);
  const opened = Profile.open(profile.directory);
  assert.deepEqual([opened.id, opened.body, opened.hotRows], [profile.id, profile.body, profile.hotRows]);
  opened.expectDataset(dataset);
  assert.throws(() => opened.expectDataset(other), {
    name: "HotsetError",
    message: `Cannot use profile ${profile.directory}: it was not made from dataset ${other.directory}; build it again`,
  });
});

Deno.test("profiles that contradict themselves do not open", async () => {
  using directory = new TemporaryDirectory();
  const { body, hotRows, directory: path } = (await smallProfile(directory)).profile;
  const cases: [Partial<ProfileBody>, Uint32Array, RegExp][] = [
    [{}, hotRows.subarray(1), /hot_rows.u32 has \d+ bytes, but its manifest implies \d+/],
    [{}, hotRows.slice().reverse(), /hot_rows.u32 is not an ascending list of rows below 20010/],
    [{ hotRows: 2 }, Uint32Array.of(4, 4), /not an ascending list/],
    [{ hotRows: 1 }, Uint32Array.of(20_010), /not an ascending list of rows below 20010/],
    [{ dim: 0 }, hotRows, /manifest.json has dim: /],
    [{ hotLookupShare: 1.5 }, hotRows, /manifest.json has hotLookupShare: /],
  ];
  for (const [change, rows, message] of cases) {
    rewrite(path, { ...body, ...change }, rows);
    assert.throws(
      () => Profile.open(path),
      (error: Error) => error.name === "HotsetError" && message.test(error.message),
    );
  }
});

Deno.test("a profile that was cut off does not open", async () => {
  using directory = new TemporaryDirectory();
  const { profile } = await smallProfile(directory);
  Deno.truncateSync(`${profile.directory}/${HOT_ROWS_FILE}`, 8);
  assert.throws(() => Profile.open(profile.directory), /hot_rows.u32 has 8 bytes instead of \d+/);
});
