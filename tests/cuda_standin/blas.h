// Products of libcublas and libcublasLt.
#pragma once
#include "device.h"

struct Matrix {
  const float* words;
  int ld;
  bool isTransposed;
};

// What is done to a sum: nothing, or a bias for each row is added and ReLU may be applied.
struct Epilogue {
  const float* bias = nullptr;
  bool isRelu = false;
};

// Bits of the mantissa that a compute type drops from its operands; -1 for one that does not exist.
inline int dropped_bits(int compute) { return compute == 68 ? 0 : compute == 77 ? 13 : compute == 75 ? 16 : -1; }

// Queues a product of column-major matrices, after a check that the device has them.
void multiply(Stream& stream, const char* name, int m, int n, int k, float alpha, Matrix a, Matrix b, float beta, float* c,
              int ldc, int dropped, Epilogue epilogue = {});
