// CUDA twins of operations in ops.py and fusion.py: float32, no atomics, the same result every time.
//
// Names: m rows (minibatch), n columns (width), size = m n. Rows lie one after the other. The comment after an array
// is its number of elements, which Kernels.launch checks (any: it does not). Each header says what the kernel computes;
// its traffic in bytes per element, in and out; and what it replaced, and why.

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

// Rng.bits: integers in [0, 2^16). 0 in, 2 out. One thread, one block of 16.
// Replaced: bits drawn on the CPU and copied, which makes the GPU wait for the CPU in every step.
extern "C" __global__ void bits(u16* __restrict__ out /* size */, int size, u64 draw, u64 substep, u64 step, u64 seed,
        u64 stream) {
    int block = blockIdx.x * blockDim.x + threadIdx.x;
    Words words = philox(block + 1, draw, substep, step, seed, stream);
    for (int i = 0; i < 16 && 16 * block + i < size; ++i)
        out[16 * block + i] = bits_of(words, i);
}

// Rng.uniform: u in [0, 1), multiples of 2^-24. 0 in, 4 out. One thread, one block of 8. Replaced: as for bits.
extern "C" __global__ void uniform(float* __restrict__ out /* size */, int size, u64 draw, u64 substep, u64 step,
        u64 seed, u64 stream) {
    int block = blockIdx.x * blockDim.x + threadIdx.x;
    Words words = philox(block + 1, draw, substep, step, seed, stream);
    for (int i = 0; i < 8 && 8 * block + i < size; ++i)
        out[8 * block + i] = uniform_of(words, i);
}

// Rng.normal, Box & Muller 1958: of 2 h uniforms, h = (size + 1) / 2, the i-th and the (h + i)-th give the i-th and
// the (h + i)-th normal. 0 in, 4 out. Each thread computes its own two blocks, and eight threads compute the same
// one: nothing is shared. Replaced: uniform, then three passes over its numbers.
extern "C" __global__ void normal(float* __restrict__ out /* size */, int size, u64 draw, u64 substep, u64 step,
        u64 seed, u64 stream) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, h = (size + 1) / 2;
    if (i >= h) return;
    float u = uniform_of(philox(i / 8 + 1, draw, substep, step, seed, stream), i % 8);
    float v = uniform_of(philox((h + i) / 8 + 1, draw, substep, step, seed, stream), (h + i) % 8);
    float radius = sqrtf(-2.0f * log1pf(-u)), angle = 6.2831853f * v;
    out[i] = radius * cosf(angle);
    if (h + i < size) out[h + i] = radius * sinf(angle);
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

// ops.tanh_backward. 8 in, 4 out. Replaced: square, subtract, multiply (16 in, 12 out).
extern "C" __global__ void tanh_backward(const float* __restrict__ dy /* size */,
        const float* __restrict__ y /* size */, float* __restrict__ dx /* size */, int size) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < size) dx[i] = dy[i] * (1 - y[i] * y[i]);
}

// ops.cross_entropy_backward, scale = 1 / m. 4 in, 4 out. Replaced: twenty passes of CuPy, each over so few numbers
// that it took no longer than its launch.
extern "C" __global__ void cross_entropy_backward(const float* __restrict__ x /* size */,
        float* __restrict__ dx /* size */, int size, float target, float scale) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    float e = expf(-fabsf(x[i]));  // at most 1: sigmoid(|x|) = 1 / (1 + e), sigmoid(-|x|) = e / (1 + e)
    dx[i] = scale * ((1 - target) * (x[i] > 0 ? 1 : e) - target * (x[i] > 0 ? e : 1)) / (1 + e);
}

// ops.adam_; n1 and n2 as there, folded into two scalars: rate = learning_rate sqrt(n2) / n1, eps = eps sqrt(n2).
// 16 in, 12 out: all that Adam must touch, once. Replaced: the ten passes of ops.adam_ (56 in, 40 out).
extern "C" __global__ void adam_(float* __restrict__ theta /* size */, const float* __restrict__ dtheta /* size */,
        float* __restrict__ m /* size */, float* __restrict__ v /* size */, int size, float beta1, float beta2,
        float rate, float eps) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    float g = dtheta[i];
    m[i] = beta1 * m[i] + g;
    v[i] = beta2 * v[i] + g * g;
    theta[i] -= rate * m[i] / (sqrtf(v[i]) + eps);
}

// ---------------------------------------------------------------------------------------------------------------
// One number: a single block of THREADS, each of which walks over every THREADS-th element.

#define THREADS 256

// ops.cross_entropy, where softplus(x) = max(x, 0) + log(1 + exp(-|x|)), and the last term is the same for -x.
// 4 in, one number out. Replaced: sixteen passes and a mean.
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

// ---------------------------------------------------------------------------------------------------------------
// Down the columns: a block of COLUMNS x LANES threads; each lane walks down every LANES-th row of its column.

#define COLUMNS 32
#define LANES 8

// The sum of the lanes' values in each column, for every thread, in a fixed order.
__device__ float column_sum(float value) {
    __shared__ float part[LANES][COLUMNS];
    part[threadIdx.y][threadIdx.x] = value;
    __syncthreads();
    float sum = 0;
    for (int lane = 0; lane < LANES; ++lane) sum += part[lane][threadIdx.x];
    __syncthreads();  // before the next sum is written there
    return sum;
}

// fusion.batch_norm_leaky_relu_: y = max(h, slope h), h = gamma xhat + beta; the moving averages follow. 12 in (x three
// times, twice from the cache), 8 out. Replaced: batch_norm, leaky_relu (4 in, 4 out) and six launches for the
// moving averages; before that, ten launches of CuPy for batch_norm alone.
extern "C" __global__ void batch_norm_leaky_relu_(const float* __restrict__ x /* m n */,
        const float* __restrict__ gamma /* n */, const float* __restrict__ beta /* n */,
        float* __restrict__ moving_mean /* n */, float* __restrict__ moving_var /* n */,
        float* __restrict__ y /* m n */, float* __restrict__ xhat /* m n */, float* __restrict__ rstd /* n */, int m,
        int n, float eps, float momentum, float slope) {
    int column = blockIdx.x * COLUMNS + threadIdx.x;
    bool inside = column < n;
    float sum = 0;
    for (int row = threadIdx.y; inside && row < m; row += LANES) sum += x[row * n + column];
    float mu = column_sum(sum) / m;
    sum = 0;
    for (int row = threadIdx.y; inside && row < m; row += LANES) {
        float d = x[row * n + column] - mu;
        sum += d * d;
    }
    float var = column_sum(sum) / m, r = 1 / sqrtf(var + eps);
    if (!inside) return;
    for (int row = threadIdx.y; row < m; row += LANES) {
        int i = row * n + column;
        xhat[i] = (x[i] - mu) * r;
        float h = gamma[column] * xhat[i] + beta[column];
        y[i] = fmaxf(h, slope * h);
    }
    if (threadIdx.y == 0) {
        rstd[column] = r;
        moving_mean[column] += (1 - momentum) * (mu - moving_mean[column]);
        moving_var[column] += (1 - momentum) * (var - moving_var[column]);
    }
}

// dh = dy times the slope at h.
__device__ float leaky_backward(float dy, float h, float slope) {
    return h > 0 ? dy : slope * dy;
}

// fusion.batch_norm_leaky_relu_backward_; dgamma and dbeta are left alone if they are null. 16 in (dy and xhat twice:
// the second time from the cache), 4 out. Replaced: leaky_relu_backward (8 in, 4 out) before batch_norm_backward, which
// needed h from memory; here h is recomputed from xhat.
extern "C" __global__ void batch_norm_leaky_relu_backward_(const float* __restrict__ dy /* m n */,
        const float* __restrict__ gamma /* n */, const float* __restrict__ beta /* n */,
        const float* __restrict__ xhat /* m n */, const float* __restrict__ rstd /* n */,
        float* __restrict__ dx /* m n */, float* __restrict__ dgamma /* n */, float* __restrict__ dbeta /* n */, int m,
        int n, float slope) {
    int column = blockIdx.x * COLUMNS + threadIdx.x;
    bool inside = column < n;
    float sum = 0, sum_xhat = 0;
    for (int row = threadIdx.y; inside && row < m; row += LANES) {
        int i = row * n + column;
        float dh = leaky_backward(dy[i], gamma[column] * xhat[i] + beta[column], slope);
        sum += dh;
        sum_xhat += dh * xhat[i];
    }
    sum = column_sum(sum);
    sum_xhat = column_sum(sum_xhat);
    if (!inside) return;
    for (int row = threadIdx.y; row < m; row += LANES) {
        int i = row * n + column;
        float dh = leaky_backward(dy[i], gamma[column] * xhat[i] + beta[column], slope);
        dx[i] = gamma[column] * rstd[column] * (dh - sum / m - xhat[i] * (sum_xhat / m));
    }
    if (dgamma && threadIdx.y == 0) {
        dgamma[column] = sum_xhat;
        dbeta[column] = sum;
    }
}
