/**
 * DeepFM (Guo et al. 2017) and Wide & Deep (Cheng et al. 2016): the logit of MLPs over all features, plus that of a
 * factorisation machine over the pooled rows.
 *
 * ```
 * dense features -> bottom MLP --.
 * pooled rows --------------------+-> top MLP --.
 * pooled rows ----------------------------------+-> factorisation machine -> logit
 * ```
 * The last value of a row is its weight in the machine. DeepFM adds the products of the other values of all pairs of rows,
 * Wide & Deep only the weights. The MLP reads rows as a whole, unlike in the papers, where weights are tables of their own.
 */
import type { Composition, Value } from "../composition.ts";
import { factorisationMachine } from "../layers/factorisation_machine.ts";
import { composeDlrm, type DlrmShape, expectTables } from "./dlrm.ts";
import { MACHINE } from "./matrix_factorisation.ts";

/** Builds the layers and returns them with the logit. Degree 2 is DeepFM, 1 Wide & Deep. Throws HotsetError. */
export function composeDeepFm(shape: DlrmShape, degree: 1 | 2): { model: Composition; logit: Value } {
  expectTables(shape.tableRows);
  const { model, logit } = composeDlrm({ ...shape, interaction: "cat" });
  const { dim, tableRows: { length: tables } } = shape;
  const place = { part: MACHINE, title: `the ${MACHINE.title}`, tensors: "machine" };
  const machine = factorisationMachine({ degree, sharedBias: false, tables, dim }, place);
  return { model, logit: model.add(machine, model.pooled!, logit) };
}
