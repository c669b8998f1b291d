/** Derives a DLRM from the tensors of facebookresearch/dlrm's state dict. */
import { type InteractionKind, interactionWidth } from "../backend/backend.ts";
import { HotsetError } from "../errors.ts";
import type { DlrmShape } from "../model/models/dlrm.ts";

/**
 * Derives the model of a state dict. The input width of the top MLP determines the interaction; if both fit it is
 * `dot`. Throws Error with the reason if the tensors are not those of a DLRM.
 */
export function dlrmShape(tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>): DlrmShape {
  const known = new Set<string>();
  const fail = (reason: string): never => {
    throw new HotsetError(reason);
  };
  const take = (name: string, dimensions: number): readonly number[] | undefined => {
    const shape = tensors.get(name)?.shape;
    if (shape === undefined) return undefined;
    known.add(name);
    if (shape.length !== dimensions || shape.includes(0)) {
      fail(`${name} has the shape (${shape.join(", ")}) but needs ${dimensions} positive sizes`);
    }
    return shape;
  };
  const widths = (mlp: string): number[] => {
    const found: number[] = [];
    for (let i = 0;; i += 2) {
      const weight = take(`${mlp}.${i}.weight`, 2);
      if (weight === undefined) break;
      const [outputs, inputs] = weight;
      if (found.length === 0) found.push(inputs);
      if (found.at(-1) !== inputs) {
        fail(`${mlp}.${i}.weight has ${inputs} inputs, but the layer before has ${found.at(-1)} outputs`);
      }
      const bias = take(`${mlp}.${i}.bias`, 1);
      if (bias?.[0] !== outputs) {
        fail(`${mlp}.${i}.bias ${bias === undefined ? "is missing" : `has ${bias[0]} values`}`);
      }
      found.push(outputs);
    }
    if (found.length === 0) fail(`${mlp}.0.weight is missing; this is not the state dict of a DLRM`);
    return found;
  };
  const bottom = [...tensors.keys()].some((name) => name.startsWith("bot_l.")) ? widths("bot_l") : [];
  const [input, ...top] = widths("top_l");
  const dim = bottom.at(-1) ?? tensors.get("emb_l.0.weight")?.shape[1] ?? 0;
  const tableRows: number[] = [];
  for (;;) {
    const name = `emb_l.${tableRows.length}.weight`;
    const shape = take(name, 2);
    if (shape === undefined) break;
    if (shape[1] !== dim) fail(`${name} has rows of ${shape[1]} values, but the bottom MLP has ${dim} outputs`);
    tableRows.push(shape[0]);
  }
  const hasTables = bottom.length === 0 || [...tensors.keys()].some((name) => name.startsWith("emb_l."));
  if (hasTables && tableRows.length === 0) fail("emb_l.0.weight is missing; this is not the state dict of a DLRM");
  const unknown = [...tensors.keys()].find((name) => !known.has(name));
  if (unknown !== undefined) fail(`it has a tensor ${JSON.stringify(unknown)}, which is not part of a DLRM`);
  const fits = (kind: InteractionKind) =>
    interactionWidth({ kind, bottom: bottom.length > 0, tables: tableRows.length, dim }) === input;
  const interaction = fits("dot") ? "dot" : fits("cat") ? "cat" : fail(
    `top_l.0.weight has ${input} inputs, which fits neither the dot nor the cat interaction of ${tableRows.length} ` +
      `tables and rows of ${dim}`,
  );
  return { dim, tableRows, bottom, top, interaction };
}
