// libcublas: products of matrices, summed in the order of k in double precision, as the emulated device does.
#include <cmath>
#include <cstring>
#include <set>

#include "blas.h"

namespace {
enum { NOT_INITIALIZED = 1, INVALID = 7, NOT_SUPPORTED = 15 };
struct Handle {
  void* stream = nullptr;
};
std::set<void*>& handles = *new std::set<void*>;

Handle& handle_of(void* handle) {
  std::lock_guard held(world);
  if (!handles.count(handle)) throw Refusal{NOT_INITIALIZED, "a handle that does not exist"};
  return *(Handle*)handle;
}

// Rounds to nearest, ties to even, without the lowest bits of the mantissa.
float rounded(float value, int dropped) {
  if (dropped == 0) return value;
  uint32_t bits;
  memcpy(&bits, &value, 4);
  bits += (1u << (dropped - 1)) - 1 + (bits >> dropped & 1);
  bits &= ~((1u << dropped) - 1);
  memcpy(&value, &bits, 4);
  return value;
}

// A row of `k` words for each of `rows`; in BLAS a column-major matrix that is not transposed has them apart.
std::vector<double> packed(const Matrix& matrix, int rows, int k, bool isContiguous, int dropped) {
  std::vector<double> result(size_t(rows) * k);
  for (int i = 0; i < rows; i++) {
    for (int l = 0; l < k; l++) {
      size_t at = isContiguous ? size_t(i) * matrix.ld + l : size_t(l) * matrix.ld + i;
      result[size_t(i) * k + l] = rounded(matrix.words[at], dropped);
    }
  }
  return result;
}
}  // namespace

void multiply(Stream& stream, const char* name, int m, int n, int k, float alpha, Matrix a, Matrix b, float beta, float* c,
              int ldc, int dropped, Epilogue epilogue) {
  auto expect = [](const void* address, int rows, int columns, int ld) {
    if (ld < std::max(1, rows)) throw Refusal{INVALID, "a leading dimension that is smaller than the rows"};
    size_t words = rows == 0 || columns == 0 ? 0 : size_t(ld) * (columns - 1) + rows;
    if (words > 0 && !is_memory(current_device, (uint64_t)address, 4 * words)) throw Refusal{INVALID, "a matrix outside memory"};
  };
  expect(a.words, a.isTransposed ? k : m, a.isTransposed ? m : k, a.ld);
  expect(b.words, b.isTransposed ? n : k, b.isTransposed ? k : n, b.ld);
  expect(c, m, n, ldc);
  enqueue(stream, name, [=] {
    std::vector<double> left = packed(a, m, k, a.isTransposed, dropped), right = packed(b, n, k, !b.isTransposed, dropped);
    for (int j = 0; j < n; j++) {
      for (int i = 0; i < m; i++) {
        const double *x = &left[size_t(i) * k], *y = &right[size_t(j) * k];
        double sum = 0;
        for (int l = 0; l < k; l++) sum += x[l] * y[l];
        float& word = c[size_t(j) * ldc + i];
        float product = alpha * sum + (beta == 0 ? 0 : beta * word);  // as a GPU has it before an epilogue adds the bias
        double value = double(product) + (epilogue.bias == nullptr ? 0 : epilogue.bias[i]);
        word = epilogue.isRelu && value < 0 ? 0 : value;
      }
    }
  });
}

extern "C" {
void* cublasGetStatusName(int code) { return (void*)(code == INVALID ? "CUBLAS_STATUS_INVALID_VALUE" : "CUBLAS_STATUS"); }
void* cublasGetStatusString(int code) { return (void*)text_of(code); }
int cublasGetProperty(int type, void* value) { return *(int*)value = type == 0 ? 12 : 0, 0; }

int cublasCreate_v2(void* slot) {
  return called(__func__, [&] {
    not_while_capturing("cublasCreate");
    std::lock_guard held(world);
    *(void**)slot = *handles.insert(new Handle).first;
  });
}

int cublasDestroy_v2(void* handle) {
  return called(__func__, [&] {
    handle_of(handle);
    std::lock_guard held(world);
    handles.erase(handle);
    delete (Handle*)handle;
  });
}

int cublasSetStream_v2(void* handle, void* stream) {
  return called(__func__, [&] {
    stream_of(stream);
    handle_of(handle).stream = stream;
  });
}

int cublasSetWorkspace_v2(void* handle, uint64_t workspace, size_t bytes) {
  return called(__func__, [&] {
    if (handle_of(handle).stream == nullptr) throw Refusal{INVALID, "a workspace before the stream, which resets it"};
    if (workspace % 256 != 0 || !is_memory(current_device, workspace, bytes)) throw Refusal{INVALID, "an invalid workspace"};
  });
}

int cublasSetMathMode(void* handle, int) {
  return called(__func__, [&] { handle_of(handle); });
}

int cublasSgemm_v2(void* handle, int transA, int transB, int m, int n, int k, void* alpha, uint64_t a, int lda, uint64_t b,
                   int ldb, void* beta, uint64_t c, int ldc) {
  return called(__func__, [&] {
    multiply(stream_of(handle_of(handle).stream), "product", m, n, k, *(float*)alpha, {(float*)a, lda, transA != 0}, {(float*)b, ldb, transB != 0},
             *(float*)beta, (float*)c, ldc, 0);
  });
}

int cublasGemmEx(void* handle, int transA, int transB, int m, int n, int k, void* alpha, uint64_t a, int typeA, int lda,
                 uint64_t b, int typeB, int ldb, void* beta, uint64_t c, int typeC, int ldc, int compute, int) {
  return called(__func__, [&] {
    int dropped = dropped_bits(compute);
    if (typeA != 0 || typeB != 0 || typeC != 0 || dropped < 0) throw Refusal{NOT_SUPPORTED, "an unsupported product"};
    multiply(stream_of(handle_of(handle).stream), "product", m, n, k, *(float*)alpha, {(float*)a, lda, transA != 0}, {(float*)b, ldb, transB != 0},
             *(float*)beta, (float*)c, ldc, dropped);
  });
}
}
