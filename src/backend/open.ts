/** Chooses and opens backends. The only file that imports a backend's folder; what is not chosen is not evaluated. */
import type { HostBackend } from "./backend.ts";

/** What computes matrix products on the CPU. */
export type Gemm = "auto" | "openblas";

/** How to open a host backend; can be posted to a worker, which then opens the same. */
export interface HostOptions {
  readonly kind: "cpu" | "reference";
}

/** Opens a backend over host memory. */
export async function openHost({ kind }: HostOptions): Promise<HostBackend> {
  if (kind === "reference") return new (await import("./reference/reference.ts")).ReferenceBackend();
  const { openOpenBlas } = await import("../../ffi/openblas.ts");
  return new (await import("./cpu/cpu.ts")).CpuBackend(openOpenBlas());
}
