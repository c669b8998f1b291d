/** Device and pinned memory that every CUDA backend allocates, in bytes. */

/**
 * cuBLAS workspace: NVIDIA's recommendation for Hopper. With a workspace of its own cuBLAS allocates nothing while a
 * graph is recorded.
 */
export const WORKSPACE_BYTES = 32 << 20;
/** Bytes of an upload slot; longer uploads are split. A batch of 2,048 samples and 26 tables takes about 1 MB. */
export const SLOT_BYTES = 4 << 20;
/** Number of upload slots, each in pinned host memory and in device memory. */
export const UPLOAD_SLOTS = 2;

/** The sums, by location. */
export const DEVICE_OVERHEAD = {
  host: UPLOAD_SLOTS * SLOT_BYTES,
  device: UPLOAD_SLOTS * SLOT_BYTES + WORKSPACE_BYTES,
} as const;
