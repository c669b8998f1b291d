/**
 * Shapes of published data sets: presets are trained on them, `plan` estimates for them without data, and `generate`
 * imitates them. Contains statistics only, no value of any data set.
 */
import { AVAZU_CLICK_RATE, AVAZU_TABLES } from "./avazu_shape.ts";
import { MULTI_HOT_SIZES } from "./multi_hot.ts";
import { CRITEO_CLICK_RATE, CRITEO_DENSE, CRITEO_TABLES } from "./criteo_shape.ts";
import { type DenseShape, type NamedShape, RANKS } from "./table_shape.ts";

/** Names of the shapes for generated data. */
export const SHAPES = ["kaggle", "terabyte", "mlperf", "mlperf-dcnv2", "avazu", "uniform"] as const;
/** Name of a shape. */
export type Shape = typeof SHAPES[number];

/** Shape of a log. */
export interface LogShape {
  /** Its embedding tables. */
  readonly tables: readonly NamedShape[];
  /** Its dense features. */
  readonly dense: readonly DenseShape[];
  /** Share of clicks among the samples. */
  readonly clickRate: number;
  /** Ids of a sample in each table, of which the first has its popularity; undefined for one. */
  readonly multiHotSizes?: readonly number[];
}

/** What is known about a data set. */
export interface PublishedData extends LogShape {
  /** Source of the figures. */
  readonly source: string;
  /** True if the dependence of the popularities within a sample is known: the loadings of the tables. */
  readonly joint: boolean;
}

/** C1 to C26 of Criteo Terabyte with ids hashed into 10 million (facebookresearch/dlrm's --max-ind-range). */
// deno-fmt-ignore
const TERABYTE_10M = [
  9980333, 36084, 17217, 7378, 20134, 3, 7112, 1442, 61, 9758201, 1333352, 313829, 10,
  2208, 11156, 122, 4, 970, 14, 9994222, 7267859, 9946608, 415421, 12420, 101, 36,
];

/** C1 to C26 of Criteo Terabyte as MLPerf trains on it, ids hashed into 40 million. */
// deno-fmt-ignore
const TERABYTE_40M = [
  39884406, 39043, 17289, 7420, 20263, 3, 7120, 1543, 63, 38532951, 2953546, 403346, 10,
  2208, 11938, 155, 4, 976, 14, 39979771, 25641295, 39664984, 585935, 12972, 108, 36,
];

/**
 * The popularities of Criteo Terabyte are not published, but its features are those of Kaggle: the table with the n-th
 * most rows gets the curve of Kaggle's table with the n-th most rows.
 */
function likeKaggle(tableRows: readonly number[]): NamedShape[] {
  const bySize = (rows: readonly number[]) => rows.map((_, t) => t).sort((a, b) => rows[b] - rows[a]);
  const kaggle = bySize(CRITEO_TABLES.map(({ rows }) => rows));
  const shapes = new Array<NamedShape>(tableRows.length);
  bySize(tableRows).forEach((t, n) => {
    const { shares, loading } = CRITEO_TABLES[kaggle[n]];
    const rows = tableRows[t];
    const known = shares.filter((_, i) => RANKS[i] < rows);
    shapes[t] = { name: CRITEO_TABLES[t].name, rows, shares: known, ...(loading === undefined ? {} : { loading }) };
  });
  return shapes;
}

/** The hour of the day over 24, uniformly distributed. */
const AVAZU_DENSE: readonly DenseShape[] = [{ missing: 0, mean: 2.3, deviation: 0.7 }];

const ESTIMATED = "popularity estimated from Criteo Kaggle's tables of the same place by size";
const CRITEO = { dense: CRITEO_DENSE, clickRate: CRITEO_CLICK_RATE, joint: true } as const;

/** Data sets by the name of the preset that is trained on them. */
export const PUBLISHED: Readonly<Record<Exclude<Shape, "mlperf-dcnv2" | "uniform">, PublishedData>> = {
  kaggle: { ...CRITEO, source: "Criteo Kaggle, as measured", tables: CRITEO_TABLES },
  terabyte: {
    ...CRITEO,
    source: `Criteo Terabyte with at most 10 M rows a table; ${ESTIMATED}`,
    tables: likeKaggle(TERABYTE_10M),
  },
  mlperf: {
    ...CRITEO,
    source: `Criteo Terabyte with at most 40 M rows a table; ${ESTIMATED}`,
    tables: likeKaggle(TERABYTE_40M),
  },
  avazu: {
    ...{ source: "Avazu, as measured", dense: AVAZU_DENSE, clickRate: AVAZU_CLICK_RATE, joint: false },
    tables: AVAZU_TABLES,
  },
};

/**
 * The shape with this name. uniform has Kaggle's cardinalities without popularity, the worst case for hot rows;
 * mlperf-dcnv2 is mlperf with several ids a feature.
 */
export function shapeOf(name: Shape): LogShape {
  if (name === "mlperf-dcnv2") return { ...PUBLISHED.mlperf, multiHotSizes: MULTI_HOT_SIZES };
  if (name !== "uniform") return PUBLISHED[name];
  return { ...CRITEO, tables: CRITEO_TABLES.map(({ name, rows }) => ({ name, rows, shares: [1 / rows] })) };
}
