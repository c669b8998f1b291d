/** The memory that a backend on a device takes for itself, in bytes, whatever is computed on it. */

/** NVIDIA's advice for Hopper; with a workspace of our own cuBLAS allocates nothing while a graph is recorded. */
export const WORKSPACE_BYTES = 32 << 20;
/** Bytes of an upload slot; longer uploads go in pieces. A batch of 2,048 samples and 26 tables takes about 1 MB. */
export const SLOT_BYTES = 4 << 20;
/** Upload slots, each in pinned host memory and on the device. */
export const UPLOAD_SLOTS = 2;

/** All of it, by where it lies. */
export const DEVICE_OVERHEAD = {
  host: UPLOAD_SLOTS * SLOT_BYTES,
  device: UPLOAD_SLOTS * SLOT_BYTES + WORKSPACE_BYTES,
} as const;
