/** A run is refused if the disk has too little space for its rows, and only then. */
import assert from "node:assert/strict";
import type { ModelPlan } from "../../src/model/shape.ts";
import { roomForRows, touchedRows } from "../../src/run/row_room.ts";
import { freeBytes } from "../../src/storage/disk.ts";
import { CONFIG, dataOf } from "../support/row_runs.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

for (const bags of [false, true]) {
  Deno.test(`rows on a disk need room for those that the samples use${bags ? ", in bags" : ""}`, () => {
    using directory = new TemporaryDirectory();
    const dataset = dataOf(directory, { rows: 40_000, bags });
    const used = new Set<number>();
    const samples = dataset.samples("train");
    using reader = dataset.reader("train", samples);
    const { indices, offsets } = reader.read(0, samples);
    const lookups = offsets?.[samples * dataset.tables] ?? samples * dataset.tables;
    for (const row of indices.subarray(0, lookups)) used.add(row);
    assert.equal(touchedRows(dataset), used.size);

    const out = directory.join("run");
    const free = freeBytes(out)!;
    /** The room for rows that take this share of what is free, were each used row all that there is. */
    const room = (share: number, config: Partial<typeof CONFIG> = {}) => {
      const shape = { dim: Math.floor(free * share / 1.5 / used.size / 4), optimizer: "sgd" };
      return roomForRows(
        out,
        { ...CONFIG, ...config },
        { rows: dataset.rows, denseWords: 0, shape } as ModelPlan,
        dataset,
        undefined,
      );
    };
    assert.ok(room(1e-6).bytes > 0);
    // As many rows as samples may use would not fit. Last, best and the rows themselves are counted.
    const { bytes } = room(0.17);
    assert.ok(bytes > 0.16 * free && bytes < 0.4 * free, `${bytes} of ${free}`);
    assert.throws(() => room(0.5), {
      code: "no-space",
      message: /^Cannot train run .*\/run: its disk has .*its rows and checkpoints take 3 times /,
    });
    assert.ok(room(0.5, { save: false }).bytes > 0.4 * free);
    assert.throws(() => room(1.5, { save: false }), { code: "no-space", message: /its rows take 1 times .*--dim$/ });
  });
}
