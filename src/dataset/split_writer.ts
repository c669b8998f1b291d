/** Writes the samples of a dataset's splits. */
import type { Words } from "../storage/artifact.ts";
import type { ArtifactWriter } from "../storage/artifact_writer.ts";
import { type DatasetBody, type Split, splitFiles } from "./dataset.ts";

/** Arrays of consecutive samples, each for the file of its name; `firstLookups` count from the first of the samples. */
export interface SplitArrays extends Readonly<Partial<Record<keyof ReturnType<typeof splitFiles>, Words | undefined>>> {
  readonly labels: Uint8Array;
  readonly indices: Uint32Array;
  readonly firstLookups?: ArrayLike<number> & Words | undefined;
}

/** Appends samples to the files of their splits. */
export class SplitWriter {
  /** What was written. */
  readonly sizes: DatasetBody["splits"] = {
    train: { samples: 0, lookups: 0 },
    validation: { samples: 0, lookups: 0 },
    test: { samples: 0, lookups: 0 },
  };
  readonly #writer: Pick<ArtifactWriter, "file">;

  constructor(writer: Pick<ArtifactWriter, "file">) {
    this.#writer = writer;
  }

  /** Makes files that exist even if they are empty. */
  create(split: Split, names: readonly (keyof SplitArrays)[]): void {
    for (const name of names) this.#writer.file(splitFiles(split)[name]);
  }

  /** Appends samples. Files are made in the order of the arrays. */
  write(split: Split, arrays: SplitArrays): void {
    const files = splitFiles(split);
    const size = this.sizes[split];
    for (const [name, array] of Object.entries(arrays) as [keyof SplitArrays, Words | undefined][]) {
      if (array === undefined) continue;
      const words = name === "firstLookups" ? Float64Array.from(array, (first) => size.lookups + first) : array;
      this.#writer.file(files[name]).append(words);
    }
    size.samples += arrays.labels.length;
    size.lookups += arrays.indices.length;
  }

  /** Ends the positions of a split with bags. */
  endBags(split: Split): void {
    this.create(split, ["bagLengths"]);
    this.#writer.file(splitFiles(split).firstLookups).append(Float64Array.of(this.sizes[split].lookups));
  }
}
