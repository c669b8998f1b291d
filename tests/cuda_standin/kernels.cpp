// The product's kernels, compiled for the host.
#include "kernel_host.h"

#include "prelude.h"

namespace activation {
#include "activation.cu"
}
namespace gather {
#include "gather.cu"
}
namespace interaction {
SHARED float4 memory[48 * 1024 / 16 + 1];  // dynamic shared memory; a launch without an attribute gets 48 KiB at most
#include "interaction.cu"
}
namespace loss {
#include "loss.cu"
}
namespace scatter {
#include "scatter.cu"
}
namespace update_dense {
#include "update_dense.cu"
}
namespace update_rows {
#include "update_rows.cu"
}

char* standin_dynamic_shared() { return (char*)interaction::memory; }
