/** What generated logs look like. */
import { AVAZU_CLICK_RATE, AVAZU_TABLES } from "./avazu_shape.ts";
import { CRITEO_CLICK_RATE, CRITEO_DENSE, CRITEO_TABLES } from "./criteo_shape.ts";
import type { DenseShape, TableShape } from "./table_shape.ts";

/** Names of the shapes. */
export const SHAPES = ["kaggle", "terabyte", "avazu", "uniform"] as const;
/** Name of a shape. */
export type Shape = typeof SHAPES[number];

/** What is known of a log. */
export interface LogShape {
  readonly tables: readonly TableShape[];
  readonly dense: readonly DenseShape[];
  readonly clickRate: number;
}

/** Rows of the tables of Criteo 1TB, each at most 40 million, as MLPerf used them. */
const TERABYTE_ROWS = [
  ...[39_884_406, 39_043, 17_289, 7_420, 20_263, 3, 7_120, 1_543, 63, 38_532_951, 2_953_546, 403_346, 10],
  ...[2_208, 11_938, 155, 4, 976, 14, 39_979_771, 25_641_295, 39_664_984, 585_935, 12_972, 108, 36],
];

/** The hour of the day over 24, spread over the day. */
const AVAZU_DENSE: readonly DenseShape[] = [{ missing: 0, mean: 2.3, deviation: 0.7 }];

/**
 * The shape of that name. kaggle and avazu are measured. terabyte has Criteo 1TB's cardinalities with the curve of the
 * Kaggle table next in size, drawn out to them, because no curves of it are at hand: a stand-in. uniform has Kaggle's
 * cardinalities without any popularity, the worst case for hot rows.
 */
export function shapeOf(name: Shape): LogShape {
  const criteo = { dense: CRITEO_DENSE, clickRate: CRITEO_CLICK_RATE };
  if (name === "kaggle") return { ...criteo, tables: CRITEO_TABLES };
  if (name === "terabyte") return { ...criteo, tables: TERABYTE_ROWS.map(stretched) };
  if (name === "avazu") return { tables: AVAZU_TABLES, dense: AVAZU_DENSE, clickRate: AVAZU_CLICK_RATE };
  return { ...criteo, tables: CRITEO_TABLES.map(({ rows }) => ({ rows, shares: [1 / rows] })) };
}

function stretched(rows: number): TableShape {
  const distance = (shape: TableShape) => Math.abs(Math.log(shape.rows / rows));
  const next = CRITEO_TABLES.reduce((best, shape) => distance(shape) < distance(best) ? shape : best);
  return { ...next, rows, stretch: Math.log(rows) / Math.log(next.rows) };
}
