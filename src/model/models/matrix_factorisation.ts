/**
 * Matrix factorisation with biases (Koren, Bell and Volinsky 2009), for data of two sparse features such as user and
 * item; with more of them it is a factorisation machine (Rendle 2010):
 *
 * ```
 * dense features -> linear layer (or a bias) --.
 * pooled rows ----------------------------------+-> factorisation machine -> logit
 * ```
 * The last value of a row is its bias, the others are its factors. The logit is the sum of the biases and of the products
 * of the factors of all pairs of rows.
 */
import { Composition, type Value } from "../composition.ts";
import { factorisationMachine } from "../layers/factorisation_machine.ts";
import type { Part } from "../layers/layer.ts";
import { linear } from "../layers/linear.ts";
import { type DlrmShape, expectTables } from "./dlrm.ts";

/** The part that reads pooled rows. */
export const MACHINE: Part = {
  name: "machine",
  title: "factorisation machine",
  ifDead: "sparse features no longer change any prediction",
};
const LINEAR: Part = {
  name: "linear",
  title: "linear layer",
  ifDead: "dense features no longer change any prediction",
};

/** Builds the layers and returns them with the logit. Throws HotsetError without tables. */
export function composeMatrixFactorisation(
  { dim, tableRows, bottom: [denseFeatures = 0], pooling }: DlrmShape,
): { model: Composition; logit: Value } {
  expectTables(tableRows);
  const { length: tables } = tableRows;
  const model = new Composition({ denseFeatures, bags: tables, dim, pooling });
  const { inputs: { dense }, pooled } = model;
  const shape = { inputs: denseFeatures, outputs: 1, activation: "identity" } as const;
  const bias = dense &&
    model.add(linear(shape, { part: LINEAR, title: `the ${LINEAR.title}`, tensors: "linear" }), dense);
  const machine = factorisationMachine({ degree: 2, sharedBias: bias === undefined, tables, dim }, {
    ...{ part: MACHINE, title: `the ${MACHINE.title}`, tensors: "machine" },
  });
  return { model, logit: bias === undefined ? model.add(machine, pooled!) : model.add(machine, pooled!, bias) };
}
