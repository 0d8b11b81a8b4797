// What CuPy's own headers and generated kernels need from CUDA and what emulator.h, which follows, lacks.
#pragma once
#include <assert.h>
#include <float.h>
#include <initializer_list>
#include <limits>
#include <math.h>
#include <stdint.h>
#include <string.h>

static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }

template <class To, class From> static To same_bits(From from) {
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
static inline unsigned __float_as_uint(float x) { return same_bits<unsigned>(x); }
static inline float __int_as_float(int x) { return same_bits<float>(x); }
static inline double __longlong_as_double(long long x) { return same_bits<double>(x); }
