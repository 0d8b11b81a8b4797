// Runs the kernels of kernels.cu on a CPU. Their text becomes the methods of a Thread; library.py adds a function for
// each kernel, which loops over the threads.
//
// A loop element by element is left to the compiler, which turns it into vectors. A kernel that goes down the columns
// takes 64 columns at once, and adds row after row, as NumPy does. Nothing is contracted or reordered, so the results
// have the same bits as NumPy's.
#pragma once
#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <system_error>
#include <thread>
#ifndef _WIN32
#include <unistd.h>
#endif

#define NATIVE
#define __device__ __attribute__((always_inline)) inline
#define __global__ __device__
#define __shared__ static
#define __restrict__ __restrict

#ifdef _WIN32
#define EXPORTED extern "C" __declspec(dllexport)
#else
#define EXPORTED extern "C" __attribute__((visibility("default")))
#endif

typedef uint16_t Bits;

// ---------------------------------------------------------------------------------------------------------------
// What kernels.cu expects of CUDA, and what it leaves to this file

static const int WIDE = 64;

struct Index { int x, y; };

// Numbers of N vectors of neighbouring columns.
template <int N>
struct Columns {
    typedef float Vector __attribute__((vector_size(64), aligned(4), may_alias));
    Vector vectors[N];

    __device__ Columns() {}
    __device__ Columns(float x) { for (Vector& one : vectors) one = x - Vector{}; }

    template <class Function>
    friend __device__ Columns each(const Columns& x, const Columns& y, Function f) {
        Columns found;
        for (int i = 0; i < N; ++i) found.vectors[i] = f(x.vectors[i], y.vectors[i]);
        return found;
    }
#define OPERATOR(op) \
    friend __device__ Columns operator op(const Columns& x, const Columns& y) \
    { return each(x, y, [](Vector x, Vector y) { return x op y; }); }
    OPERATOR(+)
    OPERATOR(-)
    OPERATOR(*)
    OPERATOR(/)
    friend __device__ Columns& operator+=(Columns& x, const Columns& y) { return x = x + y; }
    friend __device__ Columns operator>(const Columns& x, float y) {  // 1 or 0
        return each(x, y, [](Vector x, Vector y) { return x > y ? 1.0f - Vector{} : Vector{}; });
    }
};

// A thread of a kernel. Element by element, it has the element threadIdx.x, in `row` and `column`. Down the columns, it
// has the column threadIdx.x, or several from there on.
template <class Column>
struct ThreadOf {
    Index threadIdx = {0, 0};
    int row = 0, column = 0;
    const Bits* drawn = nullptr;  // the bits of the elements from `first` on
    int first = 0;
    Index blockIdx = {0, 0}, blockDim = {0, 0};

    __device__ int row_of(int, int) const { return row; }
    __device__ int column_of(int, int) const { return column; }
    __device__ Bits bits_at(int i, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) const { return drawn[i - first]; }

    static __device__ Column& at(float* x, int i) { return *(Column*)(x + i); }
    static __device__ Column at(const float* x, int i) { return *(const Column*)(x + i); }
    static __device__ Column column_sum(Column value) { return value; }  // LANES is 1 here

    struct Part { int first, last; };
    static __device__ Part part_of(int, int n) { return {0, n}; }

    // On a GPU, a number's sum. Here all of a row, run after run: patches in the same order for each number.
    struct Total {
        float* __restrict__ x;
        int size;

        __device__ Total(float* x, Part part) : x(x), size(part.last) { std::fill(x, x + size, 0.0f); }
        __device__ void add(const float* __restrict__ run, int start, int n) {
            int end = min(size, start + n);
            for (int j = max(0, start); j < end; ++j) x[j] += run[j - start];
        }
        __device__ void store() {}
    };

    static __device__ void __syncthreads() {}
    static __device__ uint64_t __umul64hi(uint64_t a, uint64_t b) { return (unsigned __int128)a * b >> 64; }
    static __device__ int min(int a, int b) { return a < b ? a : b; }
    static __device__ int max(int a, int b) { return a > b ? a : b; }
    static __device__ float fmaxf(float a, float b) { return a > b ? a : b; }
    static __device__ float sqrtf(float x) { return std::sqrt(x); }
    template <int N>
    static __device__ Columns<N> fmaxf(const Columns<N>& x, const std::decay_t<Columns<N>>& y) {
        return each(x, y, [](auto x, auto y) { return x > y ? x : y; });
    }
    template <int N>
    static __device__ Columns<N> sqrtf(const Columns<N>& x) {
        return each(x, x, [](auto x, auto) {
            for (int i = 0; i < 16; ++i) x[i] = std::sqrt(x[i]);
            return x;
        });
    }
};

struct Thread : ThreadOf<float> {
    typedef float Column;
#include "kernels.inc"
};

struct NarrowThread : ThreadOf<Columns<1>> {
    typedef Columns<1> Column;
#include "kernels.inc"
};

struct WideThread : ThreadOf<Columns<4>> {
    typedef Columns<4> Column;
#include "kernels.inc"
};

// ---------------------------------------------------------------------------------------------------------------
// Threads of the CPU: they sleep when there is nothing to do, since OpenBLAS's threads need the cores too. Each takes
// one piece of the work after another, so one that wakes late takes fewer.

class Pool {
    typedef void (*Piece)(void*, int);

    std::mutex mutex, entrance;
    std::condition_variable wake;
    Piece piece = nullptr;  // the work; null: none
    void* context = nullptr;
    int pieces = 0, helpers = 0;
    std::atomic<int> next{0}, active{0};
#ifndef _WIN32
    pid_t owner = getpid();
#endif

    void take(Piece piece, void* context, int pieces) {
        for (int i; (i = next.fetch_add(1)) < pieces;) piece(context, i);
    }

    void help() {
        std::unique_lock<std::mutex> lock(mutex);
        for (;;) {
            wake.wait(lock, [this] { return piece && next < pieces; });
            Piece work = piece;  // a copy: this may change while it works
            void* with = context;
            int count = pieces;
            ++active;
            lock.unlock();
            take(work, with, count);
            --active;
            lock.lock();
        }
    }

public:
    // work(with, i) for every i in 0 ... count - 1, by `threads` threads, this one included. Returns false, and does
    // nothing, while another thread is here.
    bool run(int threads, int count, Piece work, void* with) {
        std::unique_lock<std::mutex> alone(entrance, std::try_to_lock);
        if (!alone) return false;
        try {
            for (; helpers < threads - 1; ++helpers) std::thread(&Pool::help, this).detach();
        } catch (const std::system_error&) {  // there are too many threads: work with fewer
        }
        {
            std::lock_guard<std::mutex> lock(mutex);
            piece = work, context = with, pieces = count, next = 0;
        }
        for (int i = 1; i < threads; ++i) wake.notify_one();
        take(work, with, count);
        {
            std::lock_guard<std::mutex> lock(mutex);
            piece = nullptr;
        }
        while (active) std::this_thread::yield();
        return true;
    }

    // The pool of this process. It is never destroyed, as its threads wait in it; a child of fork has none of them.
    static Pool& here() {
        static Pool* pool = new Pool;
#ifndef _WIN32
        if (pool->owner != getpid()) pool = new Pool;
#endif
        return *pool;
    }
};

static const int ENOUGH = 16;  // fewer pieces are not shared: waking a thread takes as long as a few of them
static int threads = 1;

EXPORTED void set_threads(int count) { threads = count; }

// function(first, last) over 0 ... count - 1, in pieces of `size`.
template <class Function>
static void split(int count, int size, Function function) {
    struct Work { int count, size; Function& function; } work = {count, size, function};
    int pieces = (count + size - 1) / size;
    auto piece = [](void* context, int i) {
        Work& work = *(Work*)context;
        work.function(i * work.size, std::min(work.count, (i + 1) * work.size));
    };
    if (threads == 1 || pieces < ENOUGH || !Pool::here().run(threads, pieces, piece, &work)) function(0, count);
}

// ---------------------------------------------------------------------------------------------------------------
// Loops over the threads of a kernel

typedef unsigned long long u64;
struct Key { bool needed; u64 draw, substep, step, seed, stream; };
static const int DRAWN = 4096;  // bits that are drawn at a time, which stay in the core's cache
// Elements of a piece; each kind takes about as long.
static const int PIECE = 1 << 14, DRAWING = 1 << 12, COLUMN = 1 << 13, ROW = 1 << 11;

// The bits of the elements from the first of a block to `last`.
static void draw(Bits* out, int block, int last, const Key& key) {
    for (; 16 * block < last; ++block, out += 16) {
        auto words = Thread().philox(block + 1, key.draw, key.substep, key.step, key.seed, key.stream);
        std::memcpy(out, words.w, sizeof words.w);  // four bits of each word, low bits first: little-endian
    }
}

// kernel(thread) for the elements from `first` to `last` - 1, in rows of n. DRAWS: it may need bits.
template <bool DRAWS, class Kernel>
__device__ void by_element(int first, int last, int n, const Key& key, Kernel kernel) {
    alignas(64) Bits drawn[DRAWS ? DRAWN + 32 : 1];
    while (first < last) {
        int row = first / n, start = row * n, end = std::min(last, start + n), block = first / 16;
        if (DRAWS) {
            end = std::min(end, first + DRAWN);  // a kernel may read bits that are not needed
            if (key.needed)
                draw(drawn, block, end, key);
            else
                std::fill(drawn, drawn + end - 16 * block, 0);
        }
#pragma omp simd
        for (int i = first; i < end; ++i) {
            Thread thread;
            thread.threadIdx.x = i, thread.row = row, thread.column = i - start;
            thread.drawn = drawn, thread.first = 16 * block;
            kernel(thread);
        }
        first = end;
    }
}

// kernel(thread) for the rows from `first` to `last` - 1: a thread has a whole one.
template <class Kernel>
__device__ void by_row(int first, int last, Kernel kernel) {
    for (int row = first; row < last; ++row) {
        Thread thread;
        thread.row = row;
        kernel(thread);
    }
}

// kernel(thread) for the columns from `first` to `last` - 1: as many as a Column has, until fewer are left.
template <class Thread, int WIDTH, class Kernel>
__device__ int by_columns(int first, int last, Kernel kernel) {
    for (; first + WIDTH <= last; first += WIDTH) {
        Thread thread;
        thread.threadIdx.x = first;
        kernel(thread);
    }
    return first;
}

// Of a row, 64 columns at once touch whole lines of the cache; the last few go 16 by 16, then one by one.
template <class Kernel>
__device__ void by_column(int first, int last, Kernel kernel) {
    first = by_columns<WideThread, WIDE>(first, last, kernel);
    first = by_columns<NarrowThread, 16>(first, last, kernel);
    by_columns<Thread, 1>(first, last, kernel);
}

// How many rows of n numbers are a piece.
static int rows(int n) { return std::max(1, ROW / n); }

// How many columns of m rows are a piece: a multiple of WIDE.
static int columns(int m) { return WIDE * std::max(1, COLUMN / (WIDE * std::max(1, m))); }

// y = x: what the speed of a kernel is compared with.
EXPORTED void copy(int size, const float* __restrict__ x, float* __restrict__ y) {
    split(size, PIECE, [=](int first, int last) { std::memcpy(y + first, x + first, sizeof(float) * (last - first)); });
}
