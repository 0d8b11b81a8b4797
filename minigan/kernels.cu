// CUDA twins of operations in ops.py: float32, no atomics, the same result every time.
//
// Names: m rows (minibatch), n columns (width), size = m n. Rows lie one after the other. Each header says what the
// kernel computes, and its traffic in bytes an element, in and out.

typedef unsigned long long u64;
typedef unsigned short u16;
typedef unsigned char u8;

// ---------------------------------------------------------------------------------------------------------------
// Random numbers: Philox 4x64-10 (Salmon et al. 2011), the bits of backend.Streams on the CPU.
// Key (seed, stream), counter (block, draw, substep, step); NumPy counts blocks from 1.

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

// The i-th of a block's 8 uniforms: the upper 24 bits of the i-th half word, low half first, over 2^24.
__device__ float uniform_of(const Words& words, int i) {
    unsigned half = (unsigned)(words.w[i / 2] >> (i % 2 * 32));
    return (half >> 8) * (1.0f / 16777216.0f);
}

// Draws.bits: integers in [0, 2^16), four of each word, low bits first. 0 in, 2 out. One thread, one block of 16.
extern "C" __global__ void bits(u16* out, int size, u64 draw, u64 substep, u64 step, u64 seed, u64 stream) {
    int block = blockIdx.x * blockDim.x + threadIdx.x;
    if (16 * block >= size) return;
    Words words = philox(block + 1, draw, substep, step, seed, stream);
    for (int i = 0; i < 16 && 16 * block + i < size; ++i)
        out[16 * block + i] = (u16)(words.w[i / 4] >> (i % 4 * 16));
}

// Draws.uniform: u in [0, 1), multiples of 2^-24. 0 in, 4 out. One thread, one block of 8.
extern "C" __global__ void uniform(float* out, int size, u64 draw, u64 substep, u64 step, u64 seed, u64 stream) {
    int block = blockIdx.x * blockDim.x + threadIdx.x;
    if (8 * block >= size) return;
    Words words = philox(block + 1, draw, substep, step, seed, stream);
    for (int i = 0; i < 8 && 8 * block + i < size; ++i)
        out[8 * block + i] = uniform_of(words, i);
}

// Draws.normal, Box & Muller 1958: of 2 h uniforms, h = (size + 1) / 2, the i-th and the (h + i)-th give the i-th and
// the (h + i)-th normal. 0 in, 4 out. Each thread finds its own two blocks: eight threads compute the same one, which
// costs less than to share it.
extern "C" __global__ void normal(float* out, int size, u64 draw, u64 substep, u64 step, u64 seed, u64 stream) {
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

// ops.gather_images: x = images[rows] / 127.5 - 1. 1 in, 4 out.
extern "C" __global__ void gather_images(const u8* __restrict__ images, const long long* __restrict__ rows,
                                         float* __restrict__ x, int m, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < m * n) x[i] = images[rows[i / n] * n + i % n] * (float)(1 / 127.5) - 1.0f;
}

// ops.leaky_relu. 4 in, 4 out.
extern "C" __global__ void leaky_relu(const float* __restrict__ x, float* __restrict__ y, int size, float slope) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < size) y[i] = fmaxf(x[i], slope * x[i]);
}

// ops.leaky_relu_backward: the left slope at the kink. 8 in, 4 out.
extern "C" __global__ void leaky_relu_backward(const float* __restrict__ dy, const float* __restrict__ x,
                                               float* __restrict__ dx, int size, float slope) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < size) dx[i] = x[i] > 0 ? dy[i] : slope * dy[i];
}

// ops.dropout; dropped of the 2^16 values of bits switch a unit off. 6 in, 8 out.
extern "C" __global__ void dropout(const float* __restrict__ x, const u16* __restrict__ bits, float* __restrict__ y,
                                   float* __restrict__ mask, int size, int dropped, float scale) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    mask[i] = bits[i] >= dropped ? scale : 0.0f;
    y[i] = x[i] * mask[i];
}

// ops.tanh_backward. 8 in, 4 out.
extern "C" __global__ void tanh_backward(const float* __restrict__ dy, const float* __restrict__ y,
                                         float* __restrict__ dx, int size) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < size) dx[i] = dy[i] * (1 - y[i] * y[i]);
}

// ops.adam_; n1 and n2 as there, folded into two scalars: rate = learning_rate sqrt(n2) / n1, eps = eps sqrt(n2).
// 16 in, 12 out: all that Adam must touch, once.
extern "C" __global__ void adam_(float* __restrict__ theta, const float* __restrict__ dtheta, float* __restrict__ m,
                                 float* __restrict__ v, int size, float beta1, float beta2, float rate, float eps) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    float g = dtheta[i];
    m[i] = beta1 * m[i] + g;
    v[i] = beta2 * v[i] + g * g;
    theta[i] -= rate * m[i] / (sqrtf(v[i]) + eps);
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

// ops.batch_norm. 12 in (x three times: two of them from the cache), 8 out.
extern "C" __global__ void batch_norm(const float* __restrict__ x, const float* __restrict__ gamma,
                                      const float* __restrict__ beta, float* __restrict__ y, float* __restrict__ xhat,
                                      float* __restrict__ rstd, float* __restrict__ mu, float* __restrict__ var,
                                      int m, int n, float eps) {
    int column = blockIdx.x * COLUMNS + threadIdx.x;
    bool inside = column < n;  // no return here: every thread must reach the barriers
    float sum = 0;
    for (int row = threadIdx.y; inside && row < m; row += LANES) sum += x[row * n + column];
    float mean = column_sum(sum) / m;
    sum = 0;
    for (int row = threadIdx.y; inside && row < m; row += LANES) {
        float d = x[row * n + column] - mean;
        sum += d * d;
    }
    float variance = column_sum(sum) / m, r = 1 / sqrtf(variance + eps);
    if (!inside) return;
    for (int row = threadIdx.y; row < m; row += LANES) {
        float h = (x[row * n + column] - mean) * r;
        xhat[row * n + column] = h;
        y[row * n + column] = gamma[column] * h + beta[column];
    }
    if (threadIdx.y == 0) {
        rstd[column] = r;
        mu[column] = mean;
        var[column] = variance;
    }
}

// ops.batch_norm_backward. 16 in (each twice: the second time from the cache), 4 out.
extern "C" __global__ void batch_norm_backward(const float* __restrict__ dy, const float* __restrict__ gamma,
                                               const float* __restrict__ xhat, const float* __restrict__ rstd,
                                               float* __restrict__ dx, float* __restrict__ dgamma,
                                               float* __restrict__ dbeta, int m, int n) {
    int column = blockIdx.x * COLUMNS + threadIdx.x;
    bool inside = column < n;
    float sum = 0, sum_xhat = 0;
    for (int row = threadIdx.y; inside && row < m; row += LANES) {
        sum += dy[row * n + column];
        sum_xhat += dy[row * n + column] * xhat[row * n + column];
    }
    sum = column_sum(sum);
    sum_xhat = column_sum(sum_xhat);
    if (!inside) return;
    for (int row = threadIdx.y; row < m; row += LANES) {
        int i = row * n + column;
        dx[i] = gamma[column] * rstd[column] * (dy[i] - sum / m - xhat[i] * (sum_xhat / m));
    }
    if (threadIdx.y == 0) {
        dgamma[column] = sum_xhat;
        dbeta[column] = sum;
    }
}
