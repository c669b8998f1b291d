// libcublasLt: products with a bias and ReLU. An algorithm works only for the sizes and alignments that were asked for.
#include <cstring>
#include <map>
#include <set>

#include "blas.h"

namespace {
enum { INVALID = 7, NOT_SUPPORTED = 15 };
enum { TRANSPOSED_A = 3, EPILOGUE = 7, BIAS_POINTER = 8, BIAS = 4, RELU_BIAS = 6, WORKSPACE = 1, ALIGNMENT = 5 };

// A handle, a product, a layout or a preference, each with what it was set to.
struct Object {
  int compute = 0, rows = 0, columns = 0, ld = 0;
  std::map<int, uint64_t> attributes;
};
std::set<void*>& objects = *new std::set<void*>;

struct Algorithm {
  int m, n, k, epilogue;
  uint64_t workspace;
  uint32_t alignment[4];
};
struct Result {
  union {
    Algorithm algorithm;
    uint64_t words[8];
  };
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};
static_assert(sizeof(Result) == 96 && sizeof(Algorithm) <= 64, "as cublasLt.h has them");

Object& object_of(void* handle) {
  std::lock_guard held(world);
  if (!objects.count(handle)) throw Refusal{INVALID, "an object that does not exist"};
  return *(Object*)handle;
}

int make(const char* name, void* slot, Object object) {
  return called(name, [&] {
    not_while_capturing(name);
    std::lock_guard held(world);
    *(void**)slot = *objects.insert(new Object(object)).first;
  });
}

int destroy(const char* name, void* handle) {
  return called(name, [&] {
    object_of(handle);
    std::lock_guard held(world);
    objects.erase(handle);
    delete (Object*)handle;
  });
}

int set(const char* name, void* handle, int key, void* value, size_t bytes) {
  return called(name, [&] {
    if (bytes != 4 && bytes != 8) throw Refusal{INVALID, "an attribute of another size"};
    uint64_t word = 0;
    memcpy(&word, value, bytes);
    object_of(handle).attributes[key] = word;
  });
}

uint64_t attribute(const Object& object, int key, uint64_t otherwise) {
  auto found = object.attributes.find(key);
  return found == object.attributes.end() ? otherwise : found->second;
}

// The sizes of a product whose first matrix is transposed and whose epilogue has a bias.
Algorithm sizes_of(void* product, void* a, void* b, void* d) {
  const Object &described = object_of(product), &left = object_of(a), &right = object_of(b), &out = object_of(d);
  int epilogue = attribute(described, EPILOGUE, 1);
  Algorithm sizes = {out.rows, out.columns, right.rows, epilogue, 0, {}};
  if (left.rows != sizes.k || left.columns != sizes.m || right.columns != sizes.n) throw Refusal{INVALID, "other sizes"};
  bool isBiased = epilogue == BIAS || epilogue == RELU_BIAS;
  if (attribute(described, TRANSPOSED_A, 0) != 1 || !isBiased || dropped_bits(described.compute) < 0) {
    throw Refusal{NOT_SUPPORTED, "an unsupported product"};
  }
  return sizes;
}
}  // namespace

extern "C" {
void* cublasLtGetStatusName(int code) { return (void*)(code == INVALID ? "CUBLAS_STATUS_INVALID_VALUE" : "CUBLAS_STATUS"); }
void* cublasLtGetStatusString(int code) { return (void*)text_of(code); }
int cublasLtGetProperty(int type, void* value) { return *(int*)value = type == 0 ? 12 : 0, 0; }
int cublasLtCreate(void* slot) { return make(__func__, slot, {}); }
int cublasLtDestroy(void* handle) { return destroy(__func__, handle); }
int cublasLtMatmulDescDestroy(void* product) { return destroy(__func__, product); }
int cublasLtMatrixLayoutDestroy(void* layout) { return destroy(__func__, layout); }
int cublasLtMatmulPreferenceCreate(void* slot) { return make(__func__, slot, {}); }
int cublasLtMatmulPreferenceDestroy(void* preference) { return destroy(__func__, preference); }

int cublasLtMatmulDescCreate(void* slot, int compute, int) {
  Object product;
  product.compute = compute;
  return make(__func__, slot, product);
}

int cublasLtMatrixLayoutCreate(void* slot, int type, uint64_t rows, uint64_t columns, int64_t ld) {
  if (type != 0 || rows < 1 || columns < 1 || ld < (int64_t)rows) return INVALID;
  Object layout;
  layout.rows = rows, layout.columns = columns, layout.ld = ld;
  return make(__func__, slot, layout);
}

int cublasLtMatmulDescSetAttribute(void* product, int key, void* value, size_t bytes) {
  return set(__func__, product, key, value, bytes);
}

int cublasLtMatmulPreferenceSetAttribute(void* preference, int key, void* value, size_t bytes) {
  return set(__func__, preference, key, value, bytes);
}

int cublasLtMatmulAlgoGetHeuristic(void* handle, void* product, void* a, void* b, void* c, void* d, void* preference,
                                   int count, void* results, void* found) {
  return called(__func__, [&] {
    not_while_capturing("cublasLtMatmulAlgoGetHeuristic");
    object_of(handle), object_of(c);
    if (count < 1) throw Refusal{INVALID, "no room for an algorithm"};
    Result result = {};
    result.algorithm = sizes_of(product, a, b, d);
    const Object& wanted = object_of(preference);
    result.workspace = result.algorithm.workspace = attribute(wanted, WORKSPACE, 0);
    for (int i = 0; i < 4; i++) result.algorithm.alignment[i] = attribute(wanted, ALIGNMENT + i, 256);
    memcpy(results, &result, sizeof result);
    *(int*)found = 1;
  });
}

int cublasLtMatmul(void* handle, void* product, void* alpha, uint64_t a, void* aLayout, uint64_t b, void* bLayout, void* beta,
                   uint64_t c, void* cLayout, uint64_t d, void* dLayout, void* algorithm, uint64_t workspace, size_t bytes,
                   void* stream) {
  return called(__func__, [&] {
    object_of(handle), object_of(cLayout);
    Algorithm sizes = sizes_of(product, aLayout, bLayout, dLayout), chosen;
    memcpy(&chosen, algorithm, sizeof chosen);
    bool isSame = chosen.m == sizes.m && chosen.n == sizes.n && chosen.k == sizes.k && chosen.epilogue == sizes.epilogue;
    if (!isSame || c != d || bytes < chosen.workspace) throw Refusal{INVALID, "another product than the algorithm's"};
    const uint64_t operands[] = {a, b, c, d};
    for (int i = 0; i < 4; i++) {
      if (operands[i] % chosen.alignment[i] != 0) throw Refusal{INVALID, "an operand with less than the promised alignment"};
    }
    if (workspace % 256 != 0 || !is_memory(current_device, workspace, bytes)) throw Refusal{INVALID, "an invalid workspace"};
    const Object& described = object_of(product);
    uint64_t bias = attribute(described, BIAS_POINTER, 0);
    if (!is_memory(current_device, bias, 4 * sizes.m)) throw Refusal{INVALID, "a bias outside memory"};
    multiply(stream_of(stream), "product", sizes.m, sizes.n, sizes.k, *(float*)alpha,
             {(float*)a, object_of(aLayout).ld, true}, {(float*)b, object_of(bLayout).ld, false}, *(float*)beta, (float*)d,
             object_of(dLayout).ld, dropped_bits(described.compute), {(float*)bias, sizes.epilogue == RELU_BIAS});
  });
}
}
