/** Messages of `--device auto` without a GPU. */
import assert from "node:assert/strict";
import { TINY_MODEL, Workplace } from "./support.ts";

/** A driver that is not there, so that the tests say the same on a machine with a GPU. */
const noGpu = (place: Workplace) => ({ HOTSET_CUDA_DRIVER: place.join("no.so"), HOTSET_CUDART: place.join("no.so") });
const SMALL = [...TINY_MODEL, "--batch-size", "64", "--print-freq", "1"];

Deno.test("without a GPU --device auto computes on the CPU and says in one line why", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 300);
  const { code, stderr } = await place.runWith(noGpu(place), "train", "log.tsv", ...SMALL);
  assert.equal(code, 0, stderr);
  const lines = stderr.split("\n").filter((line) => /GPU/.test(line));
  assert.equal(lines.length, 1, stderr);
  assert.match(lines[0], /^No GPU found; training on the CPU \(doctor says why\)$/);
});

Deno.test("what only a GPU can do is refused where --device auto finds none, before anything is prepared", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 300);
  const flags = ["log.tsv", ...SMALL, "--precision", "tf32"];
  const { code, stderr, stdout } = await place.runWith(noGpu(place), "train", ...flags);
  assert.deepEqual([code, stdout], [1, ""]);
  assert.match(stderr, /^error: Cannot use precision tf32 on the CPU: leave it out, or train on a GPU\. Cannot /);
  assert.deepEqual(place.files(), ["log.tsv"]);
});
