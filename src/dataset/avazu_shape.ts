/**
 * The shape of Avazu, measured: rows and popularity of its 21 tables and its click rate. Made by tools/fit_avazu.ts from
 * the counts of all values seen 50 times or more. Figures only; no value of the data set is here.
 */
import type { NamedShape } from "./table_shape.ts";

/** C1 to C21 in the order of format avazu. */
// deno-fmt-ignore
export const AVAZU_TABLES: readonly NamedShape[] = [
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

/** Share of clicks among the samples. */
export const AVAZU_CLICK_RATE = 0.1698;
