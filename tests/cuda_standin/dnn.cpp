// libcudnn: activations.
#include <cmath>
#include <set>

#include "device.h"

namespace {
enum { BAD_PARAM = 3, NOT_SUPPORTED = 9 };
// A handle, a tensor or an activation, each with what it was set to.
struct Object {
  void* stream = nullptr;
  size_t words = 0;
  int mode = -1;
};
std::set<void*>& objects = *new std::set<void*>;

Object& object_of(void* handle) {
  std::lock_guard held(world);
  if (!objects.count(handle)) throw Refusal{BAD_PARAM, "an object that does not exist"};
  return *(Object*)handle;
}

int make(const char* name, void* slot) {
  return called(name, [&] {
    not_while_capturing(name);
    std::lock_guard held(world);
    *(void**)slot = *objects.insert(new Object).first;
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

// The memory of a tensor, after a check that the device has it.
float* words_of(uint64_t address, size_t words) {
  if (!is_memory(current_device, address, 4 * words)) throw Refusal{BAD_PARAM, "a tensor outside memory"};
  return (float*)address;
}

void expect_plain(void* alpha, void* beta, int mode) {
  if (*(float*)alpha != 1 || *(float*)beta != 0 || mode < 0 || mode > 1) throw Refusal{NOT_SUPPORTED, "an unsupported call"};
}
}  // namespace

extern "C" {
size_t cudnnGetVersion() { return 92400; }
void* cudnnGetErrorString(int code) { return (void*)text_of(code); }
int cudnnCreate(void* slot) { return make(__func__, slot); }
int cudnnDestroy(void* handle) { return destroy(__func__, handle); }
int cudnnCreateTensorDescriptor(void* slot) { return make(__func__, slot); }
int cudnnDestroyTensorDescriptor(void* tensor) { return destroy(__func__, tensor); }
int cudnnCreateActivationDescriptor(void* slot) { return make(__func__, slot); }
int cudnnDestroyActivationDescriptor(void* activation) { return destroy(__func__, activation); }

int cudnnSetStream(void* handle, void* stream) {
  return called(__func__, [&] {
    stream_of(stream);
    object_of(handle).stream = stream;
  });
}

int cudnnSetTensor4dDescriptor(void* tensor, int format, int type, int n, int c, int h, int w) {
  return called(__func__, [&] {
    if (format != 0 || type != 0 || n < 1 || c < 1 || h < 1 || w < 1) throw Refusal{BAD_PARAM, "an invalid tensor"};
    object_of(tensor).words = size_t(n) * c * h * w;
  });
}

int cudnnSetActivationDescriptor(void* activation, int mode, int nan, double) {
  return called(__func__, [&] {
    if (nan != 1) throw Refusal{NOT_SUPPORTED, "NaN that does not propagate"};
    object_of(activation).mode = mode;
  });
}

int cudnnActivationForward(void* handle, void* activation, void* alpha, void* xTensor, uint64_t xs, void* beta, void* yTensor,
                           uint64_t ys) {
  return called(__func__, [&] {
    int mode = object_of(activation).mode;
    expect_plain(alpha, beta, mode);
    size_t words = object_of(xTensor).words;
    if (object_of(yTensor).words != words) throw Refusal{BAD_PARAM, "tensors of different sizes"};
    float *x = words_of(xs, words), *y = words_of(ys, words);
    enqueue(stream_of(object_of(handle).stream), "activation", [=] {
      for (size_t i = 0; i < words; i++) y[i] = mode == 1 ? (x[i] < 0 ? 0 : x[i]) : 1 / (1 + std::exp(-(double)x[i]));
    });
  });
}

int cudnnActivationBackward(void* handle, void* activation, void* alpha, void* yTensor, uint64_t ys, void* dYTensor,
                            uint64_t dYs, void* xTensor, uint64_t xs, void* beta, void* dXTensor, uint64_t dXs) {
  return called(__func__, [&] {
    int mode = object_of(activation).mode;
    expect_plain(alpha, beta, mode);
    size_t words = object_of(yTensor).words;
    for (void* tensor : {dYTensor, xTensor, dXTensor}) {
      if (object_of(tensor).words != words) throw Refusal{BAD_PARAM, "tensors of different sizes"};
    }
    words_of(xs, words);
    float *y = words_of(ys, words), *dY = words_of(dYs, words), *dX = words_of(dXs, words);
    enqueue(stream_of(object_of(handle).stream), "activation", [=] {
      for (size_t i = 0; i < words; i++) dX[i] = mode == 1 ? (y[i] <= 0 ? 0 : dY[i]) : dY[i] * (y[i] * (1 - y[i]));
    });
  });
}
}
