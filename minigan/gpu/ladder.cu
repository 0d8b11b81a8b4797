// The product y = x W in three steps, each a few lines from the one before; products.cu is the fourth. Read this first:
// what makes a product fast is how often each fetched number is used, and every step raises that.
// `minigan kernelcheck minigan/gpu/ladder.py` runs the steps on a CPU and says how long a GPU needs at least.
//
// The arithmetic intensity is the number of FLOPs for each byte that is read. An A100 computes 19.5e12 FLOPs in the
// second in which its memory delivers 2.0e12 bytes: below 10 FLOPs a byte, it waits for memory. Shared memory serves
// one load of a warp in a cycle, and a load of 4 numbers a thread in four, or in two if lanes n and n ^ 1, or n and
// n ^ 2, want the same 4 (NVIDIA describes this for compute capability 7). In a cycle, a multiprocessor computes 128
// FLOPs (A100) or 256 (H100): with fewer FLOPs for each cycle of shared memory, it waits for that.
// m rows, n_in the depth, n_out columns.

// 1. A thread for each number of y.
//
// Traffic: for each k a thread reads x and W from global memory, 8 bytes for 2 FLOPs: 8 m n_in n_out bytes in all.
// Intensity: 0.25 FLOPs a byte. Caches help: the threads of a warp want the same number of x and neighbours in W. But
// every one of these reads is an instruction, and only one in three instructions computes.
// Next: threads of a block that want the same numbers fetch them once, together.
extern "C" __global__ void one_number(const float* __restrict__ x /* m n_in */,
        const float* __restrict__ W /* n_in n_out */, float* __restrict__ y /* m n_out */, int m, int n_in, int n_out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= m * n_out) return;
    int row = i / n_out, column = i % n_out;
    float sum = 0;
    for (int k = 0; k < n_in; ++k) sum += x[row * n_in + k] * W[k * n_out + column];
    y[i] = sum;
}

// 2. A block of 16 x 16 threads for each tile of 16 x 16 numbers of y.
//
// The block walks down the depth 16 numbers at a time. Each thread fetches one number of x and one of W into shared
// memory, where 16 threads read each of them. The first barrier waits until all are there, the second until all have
// been used.
// Traffic: for each k a block reads 16 + 16 numbers from global memory, 128 bytes for 2 * 16 * 16 = 512 FLOPs:
// m n_in n_out / 2 bytes in all. Intensity: 4 FLOPs a byte from global memory, 16 times as many as before. From shared
// memory, a warp needs two loads for its 64 FLOPs: 32 a cycle.
// Next: shared memory is the limit now. Registers are faster still.
#define SIDE 16

extern "C" __global__ void __launch_bounds__(256) shared_tile(const float* __restrict__ x /* m n_in */,
        const float* __restrict__ W /* n_in n_out */, float* __restrict__ y /* m n_out */, int m, int n_in, int n_out) {
    __shared__ float a[SIDE][SIDE], b[SIDE][SIDE];
    int tx = threadIdx.x, ty = threadIdx.y, row = blockIdx.x * SIDE + ty, column = blockIdx.y * SIDE + tx;
    float sum = 0;
    for (int start = 0; start < n_in; start += SIDE) {
        a[ty][tx] = row < m && start + tx < n_in ? x[row * n_in + start + tx] : 0;
        b[ty][tx] = column < n_out && start + ty < n_in ? W[(start + ty) * n_out + column] : 0;
        __syncthreads();
        for (int k = 0; k < SIDE; ++k) sum += a[ty][k] * b[k][tx];
        __syncthreads();
    }
    if (row < m && column < n_out) y[row * n_out + column] = sum;
}

// 3. A block of 8 x 16 threads for each tile of 32 x 64 numbers; a thread computes 4 x 4 of them.
//
// For each k a thread takes 4 numbers of x and 4 of W out of shared memory, and uses each of them 4 times.
// Traffic: for each k a block reads 32 + 64 numbers from global memory, 384 bytes for 2 * 32 * 64 = 4,096
// FLOPs: 0.19 m n_in n_out bytes in all. Intensity: 10.7 FLOPs a byte from global memory. x lies in shared memory
// transposed, so that the 4 numbers of a thread are neighbours; with the alignment, the compiler fetches them in one
// instruction. So a warp needs two loads for 1,024 FLOPs, of 2 and of 4 cycles: 171 a cycle.
// Next: between the barriers all threads wait for global memory, and few rows make few blocks: 16 for a y of 64 x 512,
// while a large GPU has more than 100 multiprocessors. products.cu fetches the next tile while one is used, and splits
// the depth.
#define ROWS 32
#define WIDTH 64
#define DEPTH 16
#define ACROSS 16  // threads
#define DOWN 8

extern "C" __global__ void __launch_bounds__(128) register_block(const float* __restrict__ x /* m n_in */,
        const float* __restrict__ W /* n_in n_out */, float* __restrict__ y /* m n_out */, int m, int n_in, int n_out) {
    // With the 4, two threads of a warp that write meet in a bank; without, 16 would.
    __shared__ __align__(16) float a[DEPTH][ROWS + 4], b[DEPTH][WIDTH];
    int t = threadIdx.y * ACROSS + threadIdx.x, row = blockIdx.x * ROWS, column = blockIdx.y * WIDTH;
    float sum[4][4] = {};
    for (int start = 0; start < n_in; start += DEPTH) {
        for (int i = t; i < ROWS * DEPTH; i += ACROSS * DOWN) {
            int r = i / DEPTH, k = i % DEPTH;
            a[k][r] = row + r < m && start + k < n_in ? x[(row + r) * n_in + start + k] : 0;
        }
        for (int i = t; i < WIDTH * DEPTH; i += ACROSS * DOWN) {
            int c = i % WIDTH, k = i / WIDTH;
            b[k][c] = column + c < n_out && start + k < n_in ? W[(start + k) * n_out + column + c] : 0;
        }
        __syncthreads();
        for (int k = 0; k < DEPTH; ++k) {
            float p[4], q[4];
            for (int i = 0; i < 4; ++i) p[i] = a[k][4 * threadIdx.y + i];
            for (int i = 0; i < 4; ++i) q[i] = b[k][4 * threadIdx.x + i];
            for (int i = 0; i < 16; ++i) sum[i / 4][i % 4] += p[i / 4] * q[i % 4];
        }
        __syncthreads();
    }
    for (int i = 0; i < 16; ++i) {
        int r = row + 4 * threadIdx.y + i / 4, c = column + 4 * threadIdx.x + i % 4;
        if (r < m && c < n_out) y[r * n_out + c] = sum[i / 4][i % 4];
    }
}
