/** Which hidden units were nonzero for a sample that a rank has scored. */
import type { Backend, Buffer } from "../backend/backend.ts";
import { hiddenLayers, type ModelPlan } from "../model/shape.ts";

/** The units of one rank. */
export class ActiveUnits {
  /** For each hidden layer, true if sums of its units are needed: until each of them was nonzero once. */
  readonly counted: boolean[];
  readonly #widths: readonly number[];
  readonly #flags: Float32Array;
  readonly #sums: Float32Array;

  /** `flags` is 1 for each active unit, (hiddenUnits); the coordinator resets it. */
  constructor(plan: ModelPlan, flags: Float32Array) {
    this.#widths = hiddenLayers(plan).map(({ output }) => output.width);
    this.#flags = flags;
    this.#sums = new Float32Array(flags.length);
    this.counted = this.#widths.map(() => true);
  }

  /** Updates `counted` before samples are scored. */
  look(): readonly boolean[] {
    for (let h = 0, end = 0, unit = 0; h < this.#widths.length; h++) {
      end += this.#widths[h];
      while (unit < end && this.#flags[unit] !== 0) unit++;
      this.counted[h] = unit < end;
      unit = end;
    }
    return this.counted;
  }

  /** Takes the sums of the units of counted layers over the samples that were scored, from a buffer of a device. */
  take(device: Backend, sums: Buffer): void {
    if (!this.counted.includes(true)) return;
    device.download(sums, this.#sums);
    for (let h = 0, end = 0, unit = 0; h < this.#widths.length; h++) {
      end += this.#widths[h];
      // ReLU outputs are not negative, so a sum of 0 means all zeros. NaN counts as active.
      if (this.counted[h]) { for (; unit < end; unit++) if (this.#sums[unit] !== 0) this.#flags[unit] = 1; }
      unit = end;
    }
  }
}
