// Matrix products: ops.dense and its two derivatives, alone or with what follows them. ladder.cu comes first: it leads
// here from one thread for each number.
//
// C = A B, where A has m rows, B has n columns, and both have `depth`. A block of TILE_THREADS threads computes a tile
// of C. It walks down the depth, and each time puts one tile of A and one of B into shared memory, where every number
// is read by many threads; each thread keeps 4 x 4 sums in registers. For a tile of 32 x 64 and each depth, a block
// reads (32 + 64) * 4 = 384 bytes from global memory for 2 * 32 * 64 = 4,096 FLOPs: 10.7 FLOPs a byte. A warp needs 4
// cycles of shared memory for 2 * 16 * 32 = 1,024 FLOPs: 256 a cycle (as ladder.cu counts; its last step has 171). What
// differs from that step:
//   - There are two tiles each of A and B. One is used while the next is on its way: it waits in registers until the
//     other buffer is free. So the threads do not wait for global memory, and one barrier a tile is enough.
//   - A warp computes 16 x 32 numbers, not 8 x 64, in an order of lanes for which a load of 4 numbers takes two cycles.
//   - Where few rows and columns leave a GPU idle, the depth is split over blocks. Each leaves a part of C; a second
//     kernel adds the parts in order. How many there are depends on the shape alone, so every GPU gives the same bits.
//   - Each of the two matrices may be transposed: only the order in which a tile is loaded differs.

#define TILE_ROWS 32
#define TILE_COLUMNS 64
#define TILE_DEPTH 32
#define TILE_THREADS 128

// Two tiles of A and two of B; a row of a tile is one depth. The 4 numbers behind each row leave all rows aligned to
// 16 bytes, and put the numbers of 8 rows and 4 columns into 32 different banks.
__shared__ __align__(16) struct {
    float a[2][TILE_DEPTH][TILE_ROWS + 4], b[2][TILE_DEPTH][TILE_COLUMNS + 4];
} tiles;

// Lines of a matrix: rows of A, or columns of B. ALONG: a line's numbers are neighbours in memory; if not, the lines
// are. Holds a thread's part of the next tile. A warp loads 8 neighbours (32 bytes, what memory gives at once) of each
// of 4 lines, or 32 neighbouring lines, and its numbers go to 32 different banks.
template <bool ALONG, int SIZE> struct Lines {
    static constexpr int COUNT = SIZE * TILE_DEPTH / TILE_THREADS, STEP = ALONG ? 4 : TILE_THREADS / SIZE;
    const float* from;
    int lines, depth, first;
    float held[COUNT];

    // Where a thread's i-th number lies in a tile.
    __device__ __forceinline__ int line(int i) { return ALONG ? threadIdx.x / 8 % 4 + STEP * i : threadIdx.x % SIZE; }
    __device__ __forceinline__ int along(int i) {
        return ALONG ? threadIdx.x % 8 + threadIdx.x / 32 * 8 : threadIdx.x / SIZE + STEP * i;
    }

    __device__ __forceinline__ void load(int begin, int end) {  // zeros beyond the matrix
        const float* start = from + (ALONG ? (first + line(0)) * depth + begin + along(0)
                                           : (begin + along(0)) * lines + first + line(0));
        #pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            bool inside = first + line(i) < lines && begin + along(i) < end;
            held[i] = inside ? start[i * STEP * (ALONG ? depth : lines)] : 0.0f;
        }
    }

    __device__ __forceinline__ void store(float (&tile)[TILE_DEPTH][SIZE + 4]) {
        #pragma unroll
        for (int i = 0; i < COUNT; ++i) tile[along(i)][line(i)] = held[i];
    }
};

// Adds the product of two tiles to a thread's 4 x 4 sums.
__device__ __forceinline__ void multiply(const float (&a)[TILE_DEPTH][TILE_ROWS + 4],
        const float (&b)[TILE_DEPTH][TILE_COLUMNS + 4], int row, int column, float (&sum)[4][4]) {
    #pragma unroll
    for (int k = 0; k < TILE_DEPTH; ++k) {
        float p[4], q[4];
        #pragma unroll
        for (int i = 0; i < 4; ++i) p[i] = a[k][row + i];
        #pragma unroll
        for (int i = 0; i < 4; ++i) q[i] = b[k][column + i];
        #pragma unroll
        for (int i = 0; i < 16; ++i) sum[i / 4][i % 4] += p[i / 4] * q[i % 4];
    }
}

// Calls use(i, column, number) for each number of C or of its parts (splits, rows, columns); i is its index there. If
// sum_b is not null, it takes the sums of B's columns (splits, columns), which the first row of blocks computes. The
// numbers pass through shared memory, so that neighbouring threads write neighbours; once a block, two threads meet
// in a bank.
template <bool A_ALONG, bool B_ALONG, class Use>
__device__ __forceinline__ void product(const float* a, const float* b, int rows, int columns, int depth,
        int splits, float* sum_b, Use use) {
    int t = threadIdx.x, across = (columns + TILE_COLUMNS - 1) / TILE_COLUMNS, split = blockIdx.y / across;
    int first_row = blockIdx.x * TILE_ROWS, first_column = blockIdx.y % across * TILE_COLUMNS;
    int each = ((depth + TILE_DEPTH - 1) / TILE_DEPTH + splits - 1) / splits * TILE_DEPTH;  // whole tiles
    int begin = split * each, end = min(depth, begin + each);
    // Where a thread's 4 x 4 sums lie in the tile. Lanes n and n ^ 1 want the same numbers of A, lanes n and n ^ 2 of
    // B: then shared memory delivers 16 bytes for each lane in two cycles, not in four.
    int row = t / 64 * 16 + t / 2 % 4 * 4, column = t / 32 % 2 * 32 + (t / 8 % 4 * 2 + t % 2) * 4;
    bool sums_b = sum_b && blockIdx.x == 0 && t < TILE_COLUMNS;
    float sum[4][4] = {}, total = 0;
    Lines<A_ALONG, TILE_ROWS> of_a = {a, rows, depth, first_row};
    Lines<B_ALONG, TILE_COLUMNS> of_b = {b, columns, depth, first_column};
    of_a.load(begin, end);
    of_b.load(begin, end);
    of_a.store(tiles.a[0]);
    of_b.store(tiles.b[0]);
    __syncthreads();
    for (int k = begin, now = 0; k < end; k += TILE_DEPTH, now = 1 - now) {
        bool more = k + TILE_DEPTH < end;
        if (more) {
            of_a.load(k + TILE_DEPTH, end);
            of_b.load(k + TILE_DEPTH, end);
        }
        // Without it, NVRTC 12.9 moves the loads behind the product (in the SASS of most architectures).
        __syncwarp();
        multiply(tiles.a[now], tiles.b[now], row, column, sum);
        if (sums_b)
            for (int i = 0; i < TILE_DEPTH; ++i) total += tiles.b[now][i][t];
        if (more) {
            of_a.store(tiles.a[1 - now]);
            of_b.store(tiles.b[1 - now]);
        }
        __syncthreads();
    }
    if (sums_b && first_column + t < columns) sum_b[split * columns + first_column + t] = total;
    #pragma unroll
    for (int i = 0; i < 16; ++i) tiles.b[0][row + i / 4][column + i % 4] = sum[i / 4][i % 4];
    __syncthreads();
    #pragma unroll 4
    for (int i = t; i < TILE_ROWS * TILE_COLUMNS; i += TILE_THREADS) {
        int r = first_row + i / TILE_COLUMNS, c = first_column + i % TILE_COLUMNS;
        if (r < rows && c < columns)
            use((split * rows + r) * columns + c, c, tiles.b[0][i / TILE_COLUMNS][i % TILE_COLUMNS]);
    }
}

// ops.dense: y = x W + b, with b unless it is null; with splits > 1, the parts of x W.
// 4 (m n_in + n_in n_out + m n_out) bytes at least. Replaced: cuBLAS, which CuPy refuses to call in a capture, and a
// launch for b.
extern "C" __global__ void __launch_bounds__(128) dense(const float* __restrict__ x /* m n_in */,
        const float* __restrict__ W /* n_in n_out */, const float* __restrict__ b /* n_out */,
        float* __restrict__ y /* splits m n_out */, int m, int n_in, int n_out, int splits) {
    product<true, false>(x, W, m, n_out, n_in, splits, nullptr, [=](int i, int column, float sum) {
        y[i] = b ? sum + b[column] : sum;
    });
}

// ops.dense_backward_input: dx = dy W^T, or its parts. Replaced: cuBLAS.
extern "C" __global__ void __launch_bounds__(128) dense_backward_input(const float* __restrict__ dy /* m n_out */,
        const float* __restrict__ W /* n_in n_out */, float* __restrict__ dx /* splits m n_in */, int m, int n_in,
        int n_out, int splits) {
    product<true, true>(dy, W, m, n_in, n_out, splits, nullptr, [=](int i, int column, float sum) {
        dx[i] = sum;
    });
}

// ops.dense_backward_params_: dW = x^T dy and, unless it is null, db; or their parts. Replaced: cuBLAS, and a sum down
// the columns, which read dy once more.
extern "C" __global__ void __launch_bounds__(128) dense_backward_params_(const float* __restrict__ dy /* m n_out */,
        const float* __restrict__ x /* m n_in */, float* __restrict__ dW /* splits n_in n_out */,
        float* __restrict__ db /* splits n_out */, int m, int n_in, int n_out, int splits) {
    product<false, false>(x, dy, n_in, n_out, m, splits, db, [=](int i, int column, float sum) {
        dW[i] = sum;
    });
}

// fusion.dense_tanh: y = tanh(x W + b). Replaced: dense and bias_tanh, which read and wrote y once more.
extern "C" __global__ void __launch_bounds__(128) dense_tanh(const float* __restrict__ x /* m n_in */,
        const float* __restrict__ W /* n_in n_out */, const float* __restrict__ b /* n_out */,
        float* __restrict__ y /* m n_out */, int m, int n_in, int n_out) {
    product<true, false>(x, W, m, n_out, n_in, 1, nullptr, [=](int i, int column, float sum) {
        y[i] = tanhf(sum + b[column]);
    });
}

// fusion.dense_leaky_relu_dropout. Replaced: dense and bias_leaky_relu_dropout, which read and wrote h once more.
extern "C" __global__ void __launch_bounds__(128) dense_leaky_relu_dropout(const float* __restrict__ x /* m n_in */,
        const float* __restrict__ W /* n_in n_out */, const float* __restrict__ b /* n_out */,
        float* __restrict__ y /* m n_out */, float* __restrict__ s /* m n_out */, int m, int n_in, int n_out,
        float slope, int dropped, float scale, u64 draw, u64 substep, u64 step, u64 seed, u64 stream,
        const u64* __restrict__ elapsed /* 1 */) {
    step = step_now(step, elapsed);
    product<true, false>(x, W, m, n_out, n_in, 1, nullptr, [=](int i, int column, float sum) {
        float h = sum + b[column];
        s[i] = signed_mask(h, i, dropped, scale, draw, substep, step, seed, stream);
        y[i] = fmaxf(h, slope * h) * fabsf(s[i]);
    });
}
