// CUDA twins of operations in ops.py, fusion.py and others: float32, no atomics, the same result every time.
//
// Names: m rows (minibatch), n columns (width), size = m n. Rows lie one after the other. The comment after an array
// is its number of elements, which Kernels.launch checks (any: it does not). Each header says what the kernel computes;
// its traffic in bytes per element, in and out; and what it replaced, and why.
//
// A CUDA graph replays a launch with the numbers of its capture. There, what changes from step to step comes from
// memory: `elapsed`, the steps since the capture, and `now`, the step's settings. Both are null in a plain launch.

typedef unsigned long long u64;
typedef unsigned short u16;
typedef unsigned char u8;

// ---------------------------------------------------------------------------------------------------------------
// Random numbers: Philox 4x64-10 (Salmon et al. 2011), the bits of streams.Streams on the CPU.
// Key (seed, stream), counter (block, draw, substep, step); NumPy counts blocks from 1.

__device__ u64 step_now(u64 step, const u64* elapsed) {
    return elapsed ? step + *elapsed : step;
}

struct Words { u64 w[4]; };

__device__ Words philox(u64 block, u64 draw, u64 substep, u64 step, u64 seed, u64 stream) {
    u64 a = block, b = draw, c = substep, d = step;
    for (int round = 0; round < 10; ++round) {
        u64 high_a = __umul64hi(0xD2E7470EE14C6C93ull, a), low_a = 0xD2E7470EE14C6C93ull * a;
        u64 high_c = __umul64hi(0xCA5A826395121157ull, c), low_c = 0xCA5A826395121157ull * c;
        a = high_c ^ b ^ seed;
        b = low_c;
        c = high_a ^ d ^ stream;
        d = low_a;
        seed += 0x9E3779B97F4A7C15ull;
        stream += 0xBB67AE8584CAA73Bull;
    }
    return {{a, b, c, d}};
}

// The i-th word. An array whose index is not known at compile time would lie in memory.
__device__ u64 word(const Words& words, int i) {
    return i < 2 ? (i == 0 ? words.w[0] : words.w[1]) : (i == 2 ? words.w[2] : words.w[3]);
}

// The i-th of a block's 8 uniforms: the upper 24 bits of the i-th half word, low half first, over 2^24.
__device__ float uniform_of(const Words& words, int i) {
    unsigned half = (unsigned)(word(words, i / 2) >> (i % 2 * 32));
    return (half >> 8) * (1.0f / 16777216.0f);
}

// The i-th of a block's 16 integers of bits: four of each word, low bits first.
__device__ u16 bits_of(const Words& words, int i) {
    return (u16)(word(words, i / 4) >> (i % 4 * 16));
}

// What a CPU does in another way, with the same results: see ../native/native.h.
#ifndef NATIVE

// The i-th integer of Rng.bits. Sixteen threads compute the same block, which should cost less than a launch of bits.
__device__ u16 bits_at(int i, u64 draw, u64 substep, u64 step, u64 seed, u64 stream) {
    return bits_of(philox(i / 16 + 1, draw, substep, step, seed, stream), i % 16);
}

// Of the i-th number in rows of n.
__device__ int row_of(int i, int n) { return i / n; }
__device__ int column_of(int i, int n) { return i % n; }

// A number of the thread's column, and where it lies. On a CPU: the numbers of several neighbouring columns.
typedef float Column;
__device__ Column& at(float* x, int i) { return x[i]; }
__device__ Column at(const float* x, int i) { return x[i]; }

#endif

// Rng.bits: integers in [0, 2^16). 0 in, 2 out. One thread, one block of 16.
// Replaced: bits drawn on the CPU and copied, which makes the GPU wait for the CPU in every step.
extern "C" __global__ void bits(u16* __restrict__ out /* size */, int size, u64 draw, u64 substep, u64 step,
        u64 seed, u64 stream, const u64* __restrict__ elapsed /* 1 */) {
    int block = blockIdx.x * blockDim.x + threadIdx.x;
    Words words = philox(block + 1, draw, substep, step_now(step, elapsed), seed, stream);
    for (int i = 0; i < 16 && 16 * block + i < size; ++i)
        out[16 * block + i] = bits_of(words, i);
}

// Rng.uniform: u in [0, 1), multiples of 2^-24. 0 in, 4 out. One thread, one block of 8. Replaced: as for bits.
extern "C" __global__ void uniform(float* __restrict__ out /* size */, int size, u64 draw, u64 substep, u64 step,
        u64 seed, u64 stream, const u64* __restrict__ elapsed /* 1 */) {
    int block = blockIdx.x * blockDim.x + threadIdx.x;
    Words words = philox(block + 1, draw, substep, step_now(step, elapsed), seed, stream);
    for (int i = 0; i < 8 && 8 * block + i < size; ++i)
        out[8 * block + i] = uniform_of(words, i);
}

// Two numbers of N(0, 1) from u and v in [0, 1), Box & Muller 1958.
struct Pair { float first, second; };

__device__ Pair normals(float u, float v) {
    float radius = sqrtf(-2.0f * log1pf(-u)), angle = 6.2831853f * v;
    return {radius * cosf(angle), radius * sinf(angle)};
}

// Of 2 h uniforms, h = (size + 1) / 2, the i-th and the (h + i)-th give the i-th and the (h + i)-th normal. Each thread
// computes its own two blocks, and eight threads compute the same one: nothing is shared.
__device__ Pair normals_at(int i, int h, u64 draw, u64 substep, u64 step, u64 seed, u64 stream) {
    float u = uniform_of(philox(i / 8 + 1, draw, substep, step, seed, stream), i % 8);
    float v = uniform_of(philox((h + i) / 8 + 1, draw, substep, step, seed, stream), (h + i) % 8);
    return normals(u, v);
}

// Rng.normal. 0 in, 4 out. Replaced: uniform, then three passes over its numbers.
extern "C" __global__ void normal(float* __restrict__ out /* size */, int size, u64 draw, u64 substep, u64 step,
        u64 seed, u64 stream, const u64* __restrict__ elapsed /* 1 */) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, h = (size + 1) / 2;
    if (i >= h) return;
    Pair pair = normals_at(i, h, draw, substep, step_now(step, elapsed), seed, stream);
    out[i] = pair.first;
    if (h + i < size) out[h + i] = pair.second;
}

// fusion.add_noise: y = x + sigma eps, eps as normal draws it. 4 in, 4 out. Replaced: normal, multiply, add (12 in,
// 12 out). now: sigma.
extern "C" __global__ void add_noise(const float* __restrict__ x /* size */, float* __restrict__ y /* size */, int size,
        float sigma, const float* __restrict__ now /* 1 */, u64 draw, u64 substep, u64 step, u64 seed, u64 stream,
        const u64* __restrict__ elapsed /* 1 */) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, h = (size + 1) / 2;
    if (i >= h) return;
    if (now) sigma = now[0];
    Pair pair = normals_at(i, h, draw, substep, step_now(step, elapsed), seed, stream);
    y[i] = x[i] + sigma * pair.first;
    if (h + i < size) y[h + i] = x[h + i] + sigma * pair.second;
}

// ---------------------------------------------------------------------------------------------------------------
// Element by element

// ops.gather_images: x = images[rows] / 127.5 - 1. 1 in, 4 out. Replaced: take, cast, multiply, add (10 in, 13 out).
extern "C" __global__ void gather_images(const u8* __restrict__ images /* any */,
        const long long* __restrict__ rows /* m */, float* __restrict__ x /* m n */, int m, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < m * n) x[i] = images[rows[i / n] * n + i % n] * (float)(1 / 127.5) - 1.0f;
}

// ops.stack: the elements of a, then those of b. 4 in, 4 out. Replaced: CuPy's concatenate, a launch for each part.
extern "C" __global__ void stack(const float* __restrict__ a /* size_a */, const float* __restrict__ b /* size_b */,
        float* __restrict__ out /* size_a + size_b */, int size_a, int size_b) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < size_a + size_b) out[i] = i < size_a ? a[i] : b[i - size_a];
}

// The factor of dropout for the i-th number: `dropped` of the 2^16 values of a unit's bits switch it off.
__device__ float mask_at(int i, int dropped, float scale, u64 draw, u64 substep, u64 step, u64 seed, u64 stream) {
    return bits_at(i, draw, substep, step, seed, stream) >= dropped ? scale : 0.0f;
}

// fusion.scale_dropout: y = (a x + b) mask. 4 in, 8 out. Replaced: bits, and six passes of CuPy.
extern "C" __global__ void scale_dropout(const float* __restrict__ x /* size */, float* __restrict__ y /* size */,
        float* __restrict__ mask /* size */, int size, float a, float b, int dropped, float scale, u64 draw,
        u64 substep, u64 step, u64 seed, u64 stream, const u64* __restrict__ elapsed /* 1 */) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    mask[i] = mask_at(i, dropped, scale, draw, substep, step_now(step, elapsed), seed, stream);
    y[i] = (a * x[i] + b) * mask[i];
}

// fusion.scale_dropout_backward. 8 in, 4 out. Replaced: two passes of CuPy.
extern "C" __global__ void scale_dropout_backward(const float* __restrict__ dy /* size */,
        const float* __restrict__ mask /* size */, float* __restrict__ dx /* size */, int size, float a) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < size) dx[i] = a * (dy[i] * mask[i]);
}

// The larger of two; NaN if one is NaN, as in NumPy. fmaxf would lose it.
__device__ float larger(float a, float b) {
    return b > a || b != b ? b : a;
}

// fusion.maxout_dropout: y_j = mask_j times the largest of x_ij, i = 1 ... pieces. 4 pieces in, 8 out. Replaced: max,
// bits and four passes of CuPy.
extern "C" __global__ void maxout_dropout(const float* __restrict__ x /* m pieces n */,
        float* __restrict__ y /* m n */, float* __restrict__ mask /* m n */, int m, int n, int pieces, int dropped,
        float scale, u64 draw, u64 substep, u64 step, u64 seed, u64 stream, const u64* __restrict__ elapsed /* 1 */) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= m * n) return;
    const float* group = x + row_of(i, n) * pieces * n + column_of(i, n);
    float largest = group[0];
    for (int piece = 1; piece < pieces; ++piece) largest = larger(largest, group[piece * n]);
    mask[i] = mask_at(i, dropped, scale, draw, substep, step_now(step, elapsed), seed, stream);
    y[i] = largest * mask[i];
}

// fusion.maxout_dropout_backward. 8 + 12 pieces in (x three times, twice from the cache), 4 pieces out. Replaced: seven
// passes of CuPy.
extern "C" __global__ void maxout_dropout_backward(const float* __restrict__ dy /* m n */,
        const float* __restrict__ x /* m pieces n */, const float* __restrict__ mask /* m n */,
        float* __restrict__ dx /* m pieces n */, int m, int n, int pieces) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= m * n) return;
    int start = row_of(i, n) * pieces * n + column_of(i, n), count = 0;
    float largest = x[start];
    for (int piece = 1; piece < pieces; ++piece) largest = larger(largest, x[start + piece * n]);
    for (int piece = 0; piece < pieces; ++piece) count += x[start + piece * n] == largest;
    float share = dy[i] * mask[i] / count;  // count is 0 for NaN, and 0 * share is NaN
    for (int piece = 0; piece < pieces; ++piece) dx[start + piece * n] = (x[start + piece * n] == largest) * share;
}

// fusion.sigmoid_scale: y = a p + b. 4 in, 8 out. Replaced: nine passes of CuPy.
extern "C" __global__ void sigmoid_scale(const float* __restrict__ x /* size */, float* __restrict__ y /* size */,
        float* __restrict__ p /* size */, int size, float a, float b) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    p[i] = expf(fminf(x[i], 0)) / (1 + expf(-fabsf(x[i])));
    y[i] = a * p[i] + b;
}

// fusion.sigmoid_scale_backward. 8 in, 4 out. Replaced: four passes of CuPy.
extern "C" __global__ void sigmoid_scale_backward(const float* __restrict__ dy /* size */,
        const float* __restrict__ p /* size */, float* __restrict__ dx /* size */, int size, float a) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < size) dx[i] = a * dy[i] * p[i] * (1 - p[i]);
}

// ops.tanh_backward. 8 in, 4 out. Replaced: square, subtract, multiply (16 in, 12 out).
extern "C" __global__ void tanh_backward(const float* __restrict__ dy /* size */,
        const float* __restrict__ y /* size */, float* __restrict__ dx /* size */, int size) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < size) dx[i] = dy[i] * (1 - y[i] * y[i]);
}

// ops.cross_entropy_backward, scale = 1 / m. 4 in, 4 out. Replaced: nineteen passes of CuPy, each over so few numbers
// that it took no longer than its launch.
extern "C" __global__ void cross_entropy_backward(const float* __restrict__ x /* size */,
        float* __restrict__ dx /* size */, int size, float target, float scale) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    float e = expf(-fabsf(x[i]));  // at most 1: sigmoid(|x|) = 1 / (1 + e), sigmoid(-|x|) = e / (1 + e)
    dx[i] = scale * ((1 - target) * (x[i] > 0 ? 1 : e) - target * (x[i] > 0 ? e : 1)) / (1 + e);
}

// ops.adam_; n1 and n2 as there, folded into two scalars: rate = learning_rate sqrt(n2) / n1, eps = eps sqrt(n2).
// 16 in, 12 out: all that Adam must touch, once; 12 in, 8 out if m is null. Replaced: the ten passes of ops.adam_ (56
// in, 40 out). now: rate, eps.
extern "C" __global__ void adam_(float* __restrict__ theta /* size */, const float* __restrict__ dtheta /* size */,
        float* __restrict__ m /* size */, float* __restrict__ v /* size */, int size, float beta1, float beta2,
        float rate, float eps, const float* __restrict__ now /* 2 */) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    if (now) rate = now[0], eps = now[1];
    float g = dtheta[i];
    v[i] = beta2 * v[i] + g * g;
    if (m) g = m[i] = beta1 * m[i] + g;
    theta[i] -= g / (sqrtf(v[i]) + eps) * rate;
}

// ops.moving_average_, weight = 1 - momentum. 8 in, 4 out. Replaced: its three passes (20 in, 12 out).
extern "C" __global__ void moving_average_(float* __restrict__ moving /* size */,
        const float* __restrict__ statistic /* size */, int size, float weight) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < size) moving[i] += weight * (statistic[i] - moving[i]);
}

// ops.sgd_momentum_. 12 in, 8 out. Replaced: its four passes (24 in, 16 out). now: learning_rate, momentum.
extern "C" __global__ void sgd_momentum_(float* __restrict__ theta /* size */,
        const float* __restrict__ dtheta /* size */, float* __restrict__ velocity /* size */, int size,
        float learning_rate, float momentum, const float* __restrict__ now /* 2 */) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    if (now) learning_rate = now[0], momentum = now[1];
    velocity[i] = momentum * velocity[i] - learning_rate * dtheta[i];
    theta[i] += velocity[i];
}

// ---------------------------------------------------------------------------------------------------------------
// After a product, element by element: its parts, if its depth was split, are added in order. size = m n.

__device__ float sum_of_parts(const float* parts, int splits, int size, int i) {
    float sum = 0.0f + parts[i];  // as in NumPy: a sum of -0 alone is 0
    for (int split = 1; split < splits; ++split) sum += parts[split * size + i];
    return sum;
}

// fusion.sum_parts: y = the sum of the parts + b, with b unless it is null. 4 splits in, 4 out.
extern "C" __global__ void sum_parts(const float* __restrict__ parts /* splits m n */,
        const float* __restrict__ b /* n */, float* __restrict__ y /* m n */, int splits, int m, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= m * n) return;
    float sum = sum_of_parts(parts, splits, m * n, i);
    y[i] = b ? sum + b[column_of(i, n)] : sum;
}

// fusion.bias_tanh: y = tanh(h), h = the sum of the parts + b. 4 splits in, 4 out. Replaced: a sum, then tanh.
extern "C" __global__ void bias_tanh(const float* __restrict__ parts /* splits m n */,
        const float* __restrict__ b /* n */, float* __restrict__ y /* m n */, int splits, int m, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < m * n) y[i] = tanhf(sum_of_parts(parts, splits, m * n, i) + b[column_of(i, n)]);
}

// The factor of dropout for the i-th number h, negative unless h > 0. That is all that backward needs.
__device__ float signed_mask(float h, int i, int dropped, float scale, u64 draw, u64 substep, u64 step, u64 seed,
        u64 stream) {
    float mask = dropped > 0 ? mask_at(i, dropped, scale, draw, substep, step, seed, stream) : 1.0f;
    return h > 0 ? mask : -mask;
}

// fusion.bias_leaky_relu_dropout: y = max(h, slope h) |s|, h = the sum of the parts + b, s = signed_mask. 4 splits in,
// 8 out. Replaced: a sum, bits, leaky_relu and dropout, a launch each, which kept both h and the mask for backward.
extern "C" __global__ void bias_leaky_relu_dropout(const float* __restrict__ parts /* splits m n */,
        const float* __restrict__ b /* n */, float* __restrict__ y /* m n */, float* __restrict__ s /* m n */,
        int splits, int m, int n, float slope, int dropped, float scale, u64 draw, u64 substep, u64 step, u64 seed,
        u64 stream, const u64* __restrict__ elapsed /* 1 */) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= m * n) return;
    float h = sum_of_parts(parts, splits, m * n, i) + b[column_of(i, n)];
    s[i] = signed_mask(h, i, dropped, scale, draw, substep, step_now(step, elapsed), seed, stream);
    y[i] = fmaxf(h, slope * h) * fabsf(s[i]);
}

// fusion.leaky_relu_dropout_backward: dh = dy |s|, times slope unless s > 0. 8 in, 4 out. Replaced: six passes of CuPy.
extern "C" __global__ void leaky_relu_dropout_backward(const float* __restrict__ dy /* size */,
        const float* __restrict__ s /* size */, float* __restrict__ dh /* size */, int size, float slope) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < size) dh[i] = dy[i] * fabsf(s[i]) * (s[i] > 0 ? 1.0f : slope);
}

// ---------------------------------------------------------------------------------------------------------------
// One number: a single block of THREADS, each of which walks over every THREADS-th element.

#define THREADS 256

// ops.cross_entropy, where softplus(x) = max(x, 0) + log(1 + exp(-|x|)), and the last term is the same for -x.
// 4 in, one number out. Replaced: sixteen passes and a mean. One block should be slow for tens of thousands of
// elements; a step has one for each row of a minibatch.
extern "C" __global__ void cross_entropy(const float* __restrict__ x /* size */, float* __restrict__ mean /* 1 */,
        int size, float target) {
    __shared__ float part[THREADS];
    float sum = 0;
    for (int i = threadIdx.x; i < size; i += THREADS) {
        sum += target * fmaxf(-x[i], 0) + (1 - target) * fmaxf(x[i], 0) + log1pf(expf(-fabsf(x[i])));
    }
    part[threadIdx.x] = sum;
    for (int half = THREADS / 2; half > 0; half /= 2) {  // a tree: the same order of additions every time
        __syncthreads();
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    }
    if (threadIdx.x == 0) *mean = part[0] / size;  // written by this same thread
}

// The sum of the threads' values, in a fixed order: a tree. Every thread must call it.
__device__ double sum_of_threads(double value) {
    __shared__ double part[THREADS];
    part[threadIdx.x] = value;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    }
    __syncthreads();
    return part[0];
}

// The largest of the threads' values, in the same way.
__device__ float largest_of_threads(float value) {
    __shared__ float part[THREADS];
    part[threadIdx.x] = value;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) part[threadIdx.x] = fmaxf(part[threadIdx.x], part[threadIdx.x + half]);
    }
    __syncthreads();
    return part[0];
}

// The first half of ops.euclidean_norm and ops.clip_norm_. Each of `count` blocks takes every count-th run of THREADS
// numbers, and leaves the sum of their squares and the largest |x|. In double, no square of a float overflows or is
// lost. 4 in.
extern "C" __global__ void square_sums(const float* __restrict__ x /* size */, double* __restrict__ sums /* count */,
        float* __restrict__ largest /* count */, int size, int count) {
    double sum = 0;
    float most = 0;
    for (int i = blockIdx.x * THREADS + threadIdx.x; i < size; i += count * THREADS) {
        sum += (double)x[i] * x[i];
        most = fmaxf(most, fabsf(x[i]));
    }
    sum = sum_of_threads(sum);
    most = largest_of_threads(most);
    if (threadIdx.x > 0) return;
    sums[blockIdx.x] = sum;
    largest[blockIdx.x] = most;
}

// ops.euclidean_norm, from the sums: |s x| and s. One block. Replaced: its thirteen launches.
extern "C" __global__ void euclidean_norm(const double* __restrict__ sums /* count */,
        const float* __restrict__ largest /* count */, float* __restrict__ length /* 1 */,
        float* __restrict__ s /* 1 */, int count) {
    double sum = 0;
    float most = 0;
    for (int i = threadIdx.x; i < count; i += THREADS) {
        sum += sums[i];
        most = fmaxf(most, largest[i]);
    }
    sum = sum_of_threads(sum);
    most = largest_of_threads(most);
    if (threadIdx.x > 0) return;
    int exponent;
    frexpf(most, &exponent);
    *s = ldexpf(1, -(int)floorf(2 * exponent / 3.0f));
    *length = (float)(*s * sqrt(sum));
}

// ops.clip_norm_, from the sums: every block adds them, and scales its run of numbers. 4 in, 4 out. Replaced: the
// thirteen launches of ops.euclidean_norm, and seven more.
extern "C" __global__ void clip_norm_(float* __restrict__ x /* size */, const double* __restrict__ sums /* count */,
        int size, int count, float limit) {
    double sum = 0;
    for (int part = threadIdx.x; part < count; part += THREADS) sum += sums[part];
    double norm = sqrt(sum_of_threads(sum));
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i < size && norm > limit) x[i] *= (float)(limit / norm);
}

// ---------------------------------------------------------------------------------------------------------------
// Images of h x w pixels with c channels, and their oh x ow patches of k x k pixels (variants/convolution.py).
//
// A row is a patch, or a line of an image. A thread has a part of it: on a GPU one number, so that neighbours read and
// write neighbouring numbers, as k c numbers of a patch are neighbours in the image too; on a CPU the whole row.

#ifndef NATIVE

struct Part { int first, last; };  // the numbers from first to last - 1

__device__ Part part_of(int i, int n) { return {i % n, i % n + 1}; }

// The sums of a part of a row, x. Only what reaches the part is added.
struct Total {
    float* x;
    Part part;
    float sum = 0;

    // The numbers of a run, which begins at `start` of the row.
    __device__ void add(const float* run, int start, int) { sum += run[part.first - start]; }
    __device__ void store() { x[part.first] = sum; }
};

#endif

// convolution.patches. 4 / k^2 to 4 in (x is small next to y, and neighbouring patches find it in the cache), 4 out.
// Replaced: pad, and CuPy's copy of a view with six dimensions.
extern "C" __global__ void patches(const float* __restrict__ x /* m h w c */, float* __restrict__ y /* m oh ow k k c */,
        int m, int h, int w, int c, int oh, int ow, int k, int stride, int pad) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= m * oh * ow * k * k * c) return;
    int patch = row_of(i, k * k * c), s = patch % ow, r = patch / ow % oh, image = patch / ow / oh;
    Part part = part_of(i, k * k * c);
    for (int tap = part.first / (k * c); tap * k * c < part.last; ++tap) {
        int line = stride * r + tap - pad, start = (stride * s - pad - tap * k) * c;
        int end = min(part.last, (tap + 1) * k * c);
        bool inside = line >= 0 && line < h;
        const float* from = x + (image * h + line) * w * c + start;
        for (int j = max(part.first, tap * k * c); j < end; ++j)
            y[patch * k * k * c + j] = inside && start + j >= 0 && start + j < w * c ? from[j] : 0.0f;
    }
}

// convolution.unpatches, number by number: each adds up the at most ceil(k / stride)^2 patches that it lies in, in the
// order of the specification. 4 (k / stride)^2 in, 4 out. Replaced: CuPy's zeros, then for each of as many sets of taps
// an addition in place (8 in, 4 out), and a copy without the edges.
extern "C" __global__ void unpatches(const float* __restrict__ y /* m oh ow k k c */,
        float* __restrict__ x /* m h w c */, int m, int h, int w, int c, int oh, int ow, int k, int stride, int pad) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= m * h * w * c) return;
    int row = row_of(i, w * c), top = row % h + pad, image = row / h;
    Part part = part_of(i, w * c);
    int left = part.first / c + pad, right = (part.last - 1) / c + pad;
    Total total = {x + row * w * c, part};
    for (int r = min(top / stride, oh - 1); r >= 0 && top - stride * r < k; --r)
        for (int s = min(right / stride, ow - 1); s >= 0 && left - stride * s < k; --s)
            total.add(y + (((image * oh + r) * ow + s) * k + top - stride * r) * k * c, (stride * s - pad) * c, k * c);
    total.store();
}

// ---------------------------------------------------------------------------------------------------------------
// The clock of a CUDA graph

// graph.advance_, the first node of a step's graph: one more step has elapsed; its settings and the rows of its k
// minibatches are copied to where the other nodes read them. One block. Replaced: numbers that the host passes to each
// launch, which a graph cannot change.
extern "C" __global__ void advance_(u64* __restrict__ elapsed /* 1 */, float* __restrict__ now /* width */,
        long long* __restrict__ rows /* k m */, const float* __restrict__ settings /* length width */,
        const long long* __restrict__ orders /* 2 n */, int width, int length, int k, int m, int n, int per_epoch,
        u64 first) {
    u64 t = first + *elapsed + 1;
    __syncthreads();  // before it is written
    if (threadIdx.x == 0) *elapsed += 1;
    for (int i = threadIdx.x; i < width; i += THREADS) now[i] = settings[t % length * width + i];
    for (int i = threadIdx.x; i < k * m; i += THREADS) {
        u64 j = t * k + i / m;  // the number of the minibatch
        rows[i] = orders[j / per_epoch % 2 * n + j % per_epoch * m + i % m];
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Down the columns: a block of COLUMNS x LANES threads; each lane walks down every LANES-th row of its column.
//
// Batch norm cuts many rows into chunks, and block (x, y) has the y-th chunk of its columns. A first kernel sums each
// chunk, a second adds up the sums of all chunks, in every block anew and in the same order, and goes on with its own
// chunk. A minibatch of one chunk needs no first kernel: it should cost more than it saves. Replaced: one block for all
// rows, which leaves nearly all of a GPU idle at the 10,000 rows and 32 columns of a convolution.

#define COLUMNS 32
#define LANES 8

#ifndef NATIVE

// The sum of the lanes' values in each column, for every thread, in a fixed order.
__device__ Column column_sum(Column value) {
    __shared__ float part[LANES][COLUMNS];
    part[threadIdx.y][threadIdx.x] = value;
    __syncthreads();
    float sum = 0;
    for (int lane = 0; lane < LANES; ++lane) sum += part[lane][threadIdx.x];
    __syncthreads();  // before the next sum is written there
    return sum;
}

#endif

// Of a column: its mean, and the sum of its squared deviations from that mean.
struct Moments { Column mean, deviations; };

// Of the rows from first to last - 1. Two passes: in one, over x and x^2, a large mean would cancel.
__device__ Moments moments(const float* x, int first, int last, int n, int column) {
    bool inside = column < n;  // no return: every thread must reach the barriers
    Column sum = 0.0f;
    for (int row = first + threadIdx.y; inside && row < last; row += LANES) sum += at(x, row * n + column);
    Column mean = column_sum(sum) / (float)(last - first);
    sum = 0.0f;
    for (int row = first + threadIdx.y; inside && row < last; row += LANES) {
        Column d = at(x, row * n + column) - mean;
        sum += d * d;
    }
    return {mean, column_sum(sum)};
}

// Of all rows, from those of the chunks (Chan et al. 1979): deviations within the chunks and between them.
__device__ Moments merged(const float* means, const float* deviations, int m, int n, int rows, int chunks, int column) {
    bool inside = column < n;
    Column sum = 0.0f;
    for (int chunk = threadIdx.y; inside && chunk < chunks; chunk += LANES)
        sum += (float)min(rows, m - chunk * rows) * at(means, chunk * n + column);
    Column mean = column_sum(sum) / (float)m;
    sum = 0.0f;
    for (int chunk = threadIdx.y; inside && chunk < chunks; chunk += LANES) {
        Column d = at(means, chunk * n + column) - mean;
        sum += at(deviations, chunk * n + column) + (float)min(rows, m - chunk * rows) * d * d;
    }
    return {mean, column_sum(sum)};
}

// fusion.batch_norm_moments: mean and deviations of each chunk. 8 in (x twice, the second time from the cache).
// Replaced: see above.
extern "C" __global__ void batch_norm_moments(const float* __restrict__ x /* m n */,
        float* __restrict__ means /* chunks n */, float* __restrict__ deviations /* chunks n */, int m, int n, int rows,
        int chunks) {
    int column = blockIdx.x * COLUMNS + threadIdx.x, first = blockIdx.y * rows;
    Moments chunk = moments(x, first, min(first + rows, m), n, column);
    if (column >= n || threadIdx.y > 0) return;
    at(means, blockIdx.y * n + column) = chunk.mean;
    at(deviations, blockIdx.y * n + column) = chunk.deviations;
}

// fusion.batch_norm_leaky_relu_: y = max(h, slope h), h = gamma xhat + beta; the moving averages follow. means and
// deviations are those of the chunks, null if there is one chunk. 12 in (x three times, twice from the cache; with
// chunks once, and their moments), 8 out. Replaced: batch_norm, leaky_relu (4 in, 4 out) and six launches for the
// moving averages; before that, ten launches of CuPy for batch_norm alone.
extern "C" __global__ void batch_norm_leaky_relu_(const float* __restrict__ x /* m n */,
        const float* __restrict__ gamma /* n */, const float* __restrict__ beta /* n */,
        const float* __restrict__ means /* chunks n */, const float* __restrict__ deviations /* chunks n */,
        float* __restrict__ moving_mean /* n */, float* __restrict__ moving_var /* n */,
        float* __restrict__ y /* m n */, float* __restrict__ xhat /* m n */, float* __restrict__ rstd /* n */, int m,
        int n, int rows, int chunks, float eps, float weight, float slope) {
    int column = blockIdx.x * COLUMNS + threadIdx.x, first = blockIdx.y * rows, last = min(first + rows, m);
    Moments all = means ? merged(means, deviations, m, n, rows, chunks, column) : moments(x, first, last, n, column);
    Column mu = all.mean, var = all.deviations / (float)m, r = 1.0f / sqrtf(var + eps);
    if (column >= n) return;
    for (int row = first + threadIdx.y; row < last; row += LANES) {
        int i = row * n + column;
        at(xhat, i) = (at(x, i) - mu) * r;
        Column h = at(gamma, column) * at(xhat, i) + at(beta, column);
        at(y, i) = fmaxf(h, slope * h);
    }
    if (blockIdx.y == 0 && threadIdx.y == 0) {
        at(rstd, column) = r;
        at(moving_mean, column) += weight * (mu - at(moving_mean, column));
        at(moving_var, column) += weight * (var - at(moving_var, column));
    }
}

// dh = dy times the slope at h.
__device__ Column leaky_backward(Column dy, Column h, float slope) {
    return fmaxf(h > 0, slope) * dy;
}

// Of a column: the sums of dh and of dh xhat.
struct Sums { Column dh, dh_xhat; };

// Of the rows from first to last - 1. h is recomputed from xhat.
__device__ Sums sums(const float* dy, const float* gamma, const float* beta, const float* xhat, int first, int last,
        int n, int column, float slope) {
    Sums sum = {0.0f, 0.0f};
    for (int row = first + threadIdx.y; column < n && row < last; row += LANES) {
        int i = row * n + column;
        Column dh = leaky_backward(at(dy, i), at(gamma, column) * at(xhat, i) + at(beta, column), slope);
        sum.dh += dh;
        sum.dh_xhat += dh * at(xhat, i);
    }
    return {column_sum(sum.dh), column_sum(sum.dh_xhat)};
}

// Of all rows, from those of the chunks.
__device__ Sums added(const float* dh, const float* dh_xhat, int chunks, int n, int column) {
    Sums sum = {0.0f, 0.0f};
    for (int chunk = threadIdx.y; column < n && chunk < chunks; chunk += LANES) {
        sum.dh += at(dh, chunk * n + column);
        sum.dh_xhat += at(dh_xhat, chunk * n + column);
    }
    return {column_sum(sum.dh), column_sum(sum.dh_xhat)};
}

// fusion.batch_norm_leaky_relu_sums: the two sums of each chunk. 8 in. Replaced: see above.
extern "C" __global__ void batch_norm_leaky_relu_sums(const float* __restrict__ dy /* m n */,
        const float* __restrict__ gamma /* n */, const float* __restrict__ beta /* n */,
        const float* __restrict__ xhat /* m n */, float* __restrict__ sums_dh /* chunks n */,
        float* __restrict__ sums_dh_xhat /* chunks n */, int m, int n, int rows, int chunks, float slope) {
    int column = blockIdx.x * COLUMNS + threadIdx.x, first = blockIdx.y * rows;
    Sums chunk = sums(dy, gamma, beta, xhat, first, min(first + rows, m), n, column, slope);
    if (column >= n || threadIdx.y > 0) return;
    at(sums_dh, blockIdx.y * n + column) = chunk.dh;
    at(sums_dh_xhat, blockIdx.y * n + column) = chunk.dh_xhat;
}

// fusion.batch_norm_leaky_relu_backward_; dgamma and dbeta are left alone if they are null, and sums_dh and
// sums_dh_xhat are those of the chunks, null if there is one chunk. 16 in (dy and xhat twice: the second time from the
// cache; with chunks once, and their sums), 4 out. Replaced: leaky_relu_backward (8 in, 4 out) before
// batch_norm_backward, which needed h from memory; here h is recomputed from xhat.
extern "C" __global__ void batch_norm_leaky_relu_backward_(const float* __restrict__ dy /* m n */,
        const float* __restrict__ gamma /* n */, const float* __restrict__ beta /* n */,
        const float* __restrict__ xhat /* m n */, const float* __restrict__ rstd /* n */,
        const float* __restrict__ sums_dh /* chunks n */, const float* __restrict__ sums_dh_xhat /* chunks n */,
        float* __restrict__ dx /* m n */, float* __restrict__ dgamma /* n */, float* __restrict__ dbeta /* n */, int m,
        int n, int rows, int chunks, float slope) {
    int column = blockIdx.x * COLUMNS + threadIdx.x, first = blockIdx.y * rows, last = min(first + rows, m);
    Sums all = sums_dh ? added(sums_dh, sums_dh_xhat, chunks, n, column)
                       : sums(dy, gamma, beta, xhat, first, last, n, column, slope);
    if (column >= n) return;
    for (int row = first + threadIdx.y; row < last; row += LANES) {
        int i = row * n + column;
        Column dh = leaky_backward(at(dy, i), at(gamma, column) * at(xhat, i) + at(beta, column), slope);
        at(dx, i) = at(gamma, column) * at(rstd, column)
                    * (dh - all.dh / (float)m - at(xhat, i) * (all.dh_xhat / (float)m));
    }
    if (dgamma && blockIdx.y == 0 && threadIdx.y == 0) {
        at(dgamma, column) = all.dh_xhat;
        at(dbeta, column) = all.dh;
    }
}
