// The product's kernels, compiled for the host.
#include "kernel_host.h"

#include "prelude.h"

#include "kernels.h"  // written by support/cuda_standin.ts: every .cu file in a namespace of its own

namespace interaction {
SHARED float4 memory[48 * 1024 / 16 + 1];  // dynamic shared memory; a launch without an attribute gets 48 KiB at most
}

char* standin_dynamic_shared() { return (char*)interaction::memory; }
