/**
 * Published data sets, for planning before one has them: rows of their tables, and how popular those rows are. Figures
 * only; no value of any data set is here.
 */
import { CRITEO_DENSE, CRITEO_TABLES } from "../dataset/criteo_shape.ts";
import { RANKS, type TableShape } from "../dataset/table_shape.ts";
import { UsageError } from "../errors.ts";
import type { Preset } from "../config/config.ts";

/** A table with its name. */
export interface NamedShape extends TableShape {
  /** Name of the feature. */
  readonly name: string;
}

/** What is known of a data set. */
export interface PublishedData {
  /** Where the figures come from. */
  readonly source: string;
  /** Number of its dense features. */
  readonly denseFeatures: number;
  /** Its embedding tables. */
  readonly tables: readonly NamedShape[];
  /** True if it is known how the popularities of a sample's rows depend on each other: the tables' loadings. */
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

/** Avazu: shares of the lookups that go to the first RANKS[i] rows, counted over all 40.4 million samples. */
// deno-fmt-ignore
const AVAZU: readonly NamedShape[] = [
  { name: "C1", rows: 7, shares: [0.9187, 0.9736, 0.9959, 0.9999] },
  { name: "banner_pos", rows: 7, shares: [0.72, 0.9982, 0.9993, 0.9999] },
  { name: "site_id", rows: 4737, shares: [0.361, 0.5215, 0.5867, 0.6522, 0.7003, 0.8168, 0.9098, 0.9626, 0.9931] },
  { name: "site_domain", rows: 7745, shares: [0.3743, 0.5347, 0.617, 0.6947, 0.7409, 0.8551, 0.9372, 0.9753, 0.9948] },
  { name: "site_category", rows: 26, shares: [0.409, 0.7221, 0.9046, 0.9903, 0.998] },
  { name: "app_id", rows: 8552, shares: [0.639, 0.6774, 0.7054, 0.7581, 0.8015, 0.8902, 0.9476, 0.9777, 0.9949] },
  { name: "app_domain", rows: 559, shares: [0.6737, 0.8033, 0.8499, 0.9142, 0.9672, 0.9984, 0.9998] },
  { name: "app_category", rows: 36, shares: [0.6472, 0.8837, 0.9265, 0.9941, 0.9984] },
  { name: "device_id", rows: 2686408, shares: [0.8251, 0.8256, 0.8261, 0.8268, 0.8272, 0.8279, 0.8289, 0.8304, 0.8335, 0.8382] },
  { name: "device_ip", rows: 6729486, shares: [0.0052, 0.0085, 0.0107, 0.0171, 0.0255, 0.0518, 0.0726, 0.0987, 0.1312, 0.1757, 0.2547, 0.3582] },
  { name: "device_model", rows: 8251, shares: [0.0607, 0.096, 0.1307, 0.1842, 0.2431, 0.4237, 0.6368, 0.8033, 0.9399, 0.9941] },
  { name: "device_type", rows: 5, shares: [0.9227, 0.9777, 0.9968] },
  { name: "device_conn_type", rows: 4, shares: [0.8629, 0.945, 0.9989] },
  { name: "C14", rows: 2626, shares: [0.0235, 0.0459, 0.0648, 0.1199, 0.1775, 0.3826, 0.6441, 0.8699, 0.9816] },
  { name: "C15", rows: 8, shares: [0.9327, 0.9905, 0.9979, 0.9999] },
  { name: "C16", rows: 9, shares: [0.9433, 0.988, 0.9954, 0.9998] },
  { name: "C17", rows: 435, shares: [0.1116, 0.1495, 0.1859, 0.2616, 0.3417, 0.5819, 0.8601, 0.9943] },
  { name: "C18", rows: 4, shares: [0.419, 0.7567, 0.9327] },
  { name: "C19", rows: 68, shares: [0.301, 0.5194, 0.5972, 0.6994, 0.7858, 0.9637] },
  { name: "C20", rows: 172, shares: [0.4684, 0.5287, 0.5731, 0.6928, 0.7955, 0.9244, 0.995] },
  { name: "C21", rows: 60, shares: [0.22, 0.345, 0.4591, 0.6155, 0.7723, 0.9677] },
];

const criteoNames = CRITEO_TABLES.map((_, t) => `C${t + 1}`);

/**
 * Criteo Terabyte's popularities are not published, but its features are Criteo's: the table with the n-th most rows
 * is given the curve of Kaggle's table with the n-th most rows.
 */
function likeKaggle(tableRows: readonly number[]): NamedShape[] {
  const bySize = (rows: readonly number[]) => rows.map((_, t) => t).sort((a, b) => rows[b] - rows[a]);
  const kaggle = bySize(CRITEO_TABLES.map(({ rows }) => rows));
  const shapes = new Array<NamedShape>(tableRows.length);
  bySize(tableRows).forEach((t, n) => {
    const { shares, loading } = CRITEO_TABLES[kaggle[n]];
    const rows = tableRows[t];
    const known = shares.filter((_, i) => RANKS[i] < rows);
    shapes[t] = { name: criteoNames[t], rows, shares: known, ...(loading === undefined ? {} : { loading }) };
  });
  return shapes;
}

const ESTIMATED = "popularity estimated from Criteo Kaggle's tables of the same place by size";

const KAGGLE: PublishedData = {
  source: "Criteo Kaggle, as measured",
  denseFeatures: CRITEO_DENSE.length,
  tables: CRITEO_TABLES.map((shape, t) => ({ name: criteoNames[t], ...shape })),
  joint: true,
};

/** The data set that each preset is trained on, as far as its popularities are known. */
const PUBLISHED: Readonly<Record<Exclude<Preset, "taobao">, PublishedData>> = {
  default: KAGGLE,
  kaggle: KAGGLE,
  terabyte: {
    source: `Criteo Terabyte with at most 10 M rows a table; ${ESTIMATED}`,
    denseFeatures: CRITEO_DENSE.length,
    tables: likeKaggle(TERABYTE_10M),
    joint: true,
  },
  mlperf: {
    source: `Criteo Terabyte with at most 40 M rows a table; ${ESTIMATED}`,
    denseFeatures: CRITEO_DENSE.length,
    tables: likeKaggle(TERABYTE_40M),
    joint: true,
  },
  avazu: { source: "Avazu, as measured", denseFeatures: 1, tables: AVAZU, joint: false },
};

/** The data set that a preset is trained on. Throws UsageError where nothing is known of it. */
export function publishedData(preset: Preset): PublishedData {
  if (preset !== "taobao") return PUBLISHED[preset];
  throw new UsageError("Cannot plan for preset taobao: the popularities of its rows are not known; name a dataset");
}
