/**
 * DCNv2 (Wang et al. 2021) with low-rank weights, as in MLPerf's recommendation benchmark:
 *
 * ```
 * dense features -> bottom MLP --.
 * pooled rows --------------------+-> x0 -> cross layers -> top MLP -> logit
 * ```
 * x0 is the concatenation; cross layer l computes `x[l + 1] = x0 (W (V x[l]) + b) + x[l]` with V (rank, width) and W
 * (width, rank), where the outer product is element by element.
 */
import { Composition, type Value } from "../composition.ts";
import { interaction } from "../layers/interaction.ts";
import type { Part } from "../layers/layer.ts";
import { product } from "../layers/linear.ts";
import { multiplyAdd } from "../layers/multiply_add.ts";
import { BOTTOM, type DlrmShape, expectWidths, INTERACTION, TOP } from "./dlrm.ts";

/** The cross network of a DCNv2. */
export interface CrossShape {
  /** Number of cross layers. */
  readonly layers: number;
  /** Rank of their weights. */
  readonly rank: number;
}

const CROSS: Part = { name: "cross", title: "cross network", ifDead: "features no longer interact" };

/** Builds the layers and returns them with the logit. Throws HotsetError. */
export function composeDcnv2(shape: DlrmShape, { layers, rank }: CrossShape): { model: Composition; logit: Value } {
  expectWidths(shape);
  const { dim, tableRows: { length: tables }, bottom: [denseFeatures = 0, ...bottom], top, pooling, dropout } = shape;
  const model = new Composition({ denseFeatures, bags: tables, dim, pooling, dropout });
  const { inputs: { dense }, pooled } = model;
  const x = dense && model.mlp({ input: dense, widths: bottom, last: "relu", part: BOTTOM, tensors: "bot_l" });
  const x0 = x && pooled
    ? model.add(interaction({ kind: "cat", bottom: true, tables, dim }, INTERACTION), x, pooled)
    : (x ?? pooled)!;
  const { width } = x0;
  let features = x0;
  for (let l = 0; l < layers; l++) {
    const place = (kind: string, tensor: string) => ({
      part: CROSS,
      title: `${kind} of layer ${l + 1} of the ${CROSS.title}`,
      tensors: `cross_l.${l}.${tensor}`,
    });
    const low = model.add(product({ inputs: width, outputs: rank }, place("product V", "V")), features);
    const u = model.add(product({ inputs: rank, outputs: width }, place("product W", "W")), low);
    features = model.add(multiplyAdd(width, place("sum", "W")), x0, u, features);
  }
  return { model, logit: model.mlp({ input: features, widths: top, last: "identity", part: TOP, tensors: "top_l" }) };
}
