/**
 * The measured shape of Criteo Kaggle: rows and popularity of its 26 tables, and its 13 dense features. Generated data
 * follows it. Contains statistics only, no value of the data set.
 */

import type { DenseShape, NamedShape, TableShape } from "./table_shape.ts";

/** C1 to C26, from the popularity ranks of 20,000 rows. Lists end where they reach 1. */
// deno-fmt-ignore
const TABLES: readonly TableShape[] = [
  { rows: 1460, shares: [0.4966, 0.6633, 0.7512, 0.8603, 0.9111, 0.9679, 0.9904, 0.9966, 0.9993] },
  { rows: 583, shares: [0.1368, 0.1588, 0.1891, 0.3225, 0.4428, 0.6279, 0.8371, 0.9771] },
  { rows: 10131227, shares: [0.0407, 0.0799, 0.0964, 0.1321, 0.1612, 0.2135, 0.2717, 0.3441, 0.4187, 0.4915, 0.5631,
    0.619, 0.6685, 0.7084, 0.7659, 0.826], loading: 0.995 },
  { rows: 2202608, shares: [0.0558, 0.0964, 0.105, 0.1893, 0.2263, 0.2871, 0.3676, 0.4604, 0.5636, 0.6609, 0.7645,
    0.8404, 0.8998, 0.9367, 0.9664], loading: 0.95 },
  { rows: 305, shares: [0.6726, 0.8306, 0.8916, 0.9564, 0.9779, 0.9961, 0.9994] },
  { rows: 24, shares: [0.4622, 0.6564, 0.7713, 0.9705, 0.9999] },
  { rows: 12517, shares: [0.0051, 0.0105, 0.029, 0.0373, 0.0599, 0.1235, 0.2527, 0.4189, 0.6407, 0.855, 0.9967] },
  { rows: 633, shares: [0.5935, 0.762, 0.835, 0.9213, 0.9555, 0.9877, 0.9972, 0.9993] },
  { rows: 3, shares: [0.8868, 0.9997] },
  { rows: 93145, shares: [0.2596, 0.267, 0.2756, 0.2874, 0.3014, 0.3629, 0.4425, 0.5558, 0.7208, 0.8566, 0.9529,
    0.9907] },
  { rows: 5683, shares: [0.0073, 0.0185, 0.0327, 0.0723, 0.1058, 0.2175, 0.3548, 0.554, 0.7957, 0.976] },
  { rows: 8351593, shares: [0.0407, 0.0799, 0.0885, 0.1272, 0.1601, 0.2198, 0.2878, 0.3631, 0.4405, 0.513, 0.5867,
    0.6445, 0.6957, 0.7349, 0.7903, 0.8558], loading: 0.995 },
  { rows: 3194, shares: [0.0073, 0.0201, 0.0354, 0.0766, 0.1174, 0.2528, 0.4082, 0.6128, 0.8604, 0.9993] },
  { rows: 27, shares: [0.3469, 0.7018, 0.8589, 0.935, 0.9807] },
  { rows: 14992, shares: [0.0053, 0.0282, 0.0336, 0.0697, 0.0906, 0.1947, 0.3979, 0.593, 0.8124, 0.9507, 0.9989] },
  { rows: 5461306, shares: [0.0407, 0.0799, 0.0885, 0.1272, 0.1657, 0.2388, 0.318, 0.4039, 0.489, 0.5685, 0.6567,
    0.7223, 0.7785, 0.8208, 0.8734, 0.9345], loading: 0.995 },
  { rows: 10, shares: [0.4376, 0.5603, 0.6847, 0.8675] },
  { rows: 5652, shares: [0.065, 0.0944, 0.1041, 0.1895, 0.2285, 0.3787, 0.5943, 0.7881, 0.9422, 0.9964] },
  { rows: 2173, shares: [0.4177, 0.7304, 0.756, 0.7772, 0.8013, 0.8515, 0.9062, 0.9576, 0.9941] },
  { rows: 4, shares: [0.4177, 0.5964, 0.7933] },
  { rows: 7046547, shares: [0.0407, 0.0799, 0.0885, 0.1272, 0.1656, 0.233, 0.3061, 0.3839, 0.4616, 0.5381, 0.6155,
    0.6749, 0.7272, 0.7701, 0.8252, 0.8885], loading: 0.995 },
  { rows: 18, shares: [0.8017, 0.9174, 0.9812, 0.9996] },
  { rows: 15, shares: [0.4147, 0.6108, 0.736, 0.9382, 0.9961] },
  { rows: 286181, shares: [0.077, 0.1108, 0.1713, 0.2948, 0.3574, 0.4416, 0.5359, 0.637, 0.7452, 0.8387, 0.9203,
    0.9659, 0.9902], loading: 0.6 },
  { rows: 105, shares: [0.4177, 0.516, 0.6786, 0.8442, 0.9235, 0.9968] },
  { rows: 142572, shares: [0.4177, 0.4755, 0.502, 0.5312, 0.5608, 0.6134, 0.6786, 0.7431, 0.8236, 0.8901, 0.9486,
    0.9819, 0.9977], loading: 0.6 },
];

/** C1 to C26. */
export const CRITEO_TABLES: readonly NamedShape[] = TABLES.map((shape, t) => ({ name: `C${t + 1}`, ...shape }));

/** I1 to I13. */
export const CRITEO_DENSE: readonly DenseShape[] = [
  { missing: 0.43, mean: 0.94, deviation: 1.02 },
  { missing: 0, mean: 2.17, deviation: 2.18 },
  { missing: 0.19, mean: 2.33, deviation: 1.34 },
  { missing: 0.21, mean: 1.72, deviation: 0.96 },
  { missing: 0.05, mean: 7.07, deviation: 2.95 },
  { missing: 0.24, mean: 3.42, deviation: 1.83 },
  { missing: 0.04, mean: 1.59, deviation: 1.4 },
  { missing: 0, mean: 2.08, deviation: 1.16 },
  { missing: 0.04, mean: 3.59, deviation: 1.66 },
  { missing: 0.43, mean: 0.43, deviation: 0.4 },
  { missing: 0.04, mean: 0.88, deviation: 0.76 },
  { missing: 0.78, mean: 0.28, deviation: 0.59 },
  { missing: 0.21, mean: 1.84, deviation: 1.07 },
];

/** Share of clicks among the samples. */
export const CRITEO_CLICK_RATE = 0.2568;
