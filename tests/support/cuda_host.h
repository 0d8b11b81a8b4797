// Runs CUDA C on a CPU, for tests: every thread of a block is a context of its own with its own stack. Threads run one
// at a time, in an order that the caller picks, each until it ends or waits at a barrier. So a missing barrier changes
// the answer in some order, and a barrier that not every thread reaches is reported.
//
// What it does not have: fused multiply-add and flush-to-zero (hence tolerances), warp exchanges, atomics, dynamic
// shared memory, a third dimension. Needs ucontext and signals: Linux, most likely other Unix systems too.
#pragma once
#include <cmath>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <type_traits>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __restrict__ __restrict
#define __shared__ static __attribute__((section("cuda_shared")))  // one section: it can be made undefined as a whole
extern "C" char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));

struct uint3 { unsigned x, y, z; };
static uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace host {

enum State { READY, AT_BARRIER, DONE };

struct Thread {
    ucontext_t context;
    std::vector<char> stack;
    uint3 index;
    State state;
    int line;  // of the barrier where it waits
};

static std::vector<Thread> threads;
static unsigned current;
static ucontext_t scheduler;
static void (*kernel)(void**);
static void** arguments;
static std::string error;
static sigjmp_buf fault;

static void run_thread() {
    kernel(arguments);
    threads[current].state = DONE;
    swapcontext(&threads[current].context, &scheduler);
}

static void wait(int line) {
    threads[current].state = AT_BARRIER; threads[current].line = line;
    swapcontext(&threads[current].context, &scheduler);
}

static bool fail(const char* what, unsigned t) {
    char text[256];
    snprintf(text, sizeof text, "%s (block %u,%u, thread %u,%u, line %d)", what, blockIdx.x, blockIdx.y,
             threads[t].index.x, threads[t].index.y, threads[t].line);
    error = text;
    return false;
}

static bool run_block(const std::vector<unsigned>& order) {
    memset(__start_cuda_shared, 0xFF, __stop_cuda_shared - __start_cuda_shared);  // NaN: it starts undefined
    for (Thread& t : threads) {
        getcontext(&t.context);
        t.context.uc_stack.ss_sp = t.stack.data();
        t.context.uc_stack.ss_size = t.stack.size();
        t.context.uc_link = nullptr;
        makecontext(&t.context, run_thread, 0);
        t.state = READY; t.line = 0;
    }
    for (;;) {
        for (unsigned t : order)
            if (threads[t].state == READY) {
                current = t; threadIdx = threads[t].index;
                swapcontext(&scheduler, &threads[t].context);
            }
        unsigned done = 0, waiting = 0;
        for (unsigned t = 0; t < threads.size(); ++t)
            if (threads[t].state == DONE) ++done; else waiting = t;
        if (done == threads.size()) return true;
        if (done) return fail("a barrier is not reached by every thread", waiting);
        for (unsigned t = 0; t < threads.size(); ++t)
            if (threads[t].line != threads[0].line) return fail("threads wait at different barriers", t);
        for (Thread& t : threads) t.state = READY;
    }
}

// seed 0: in order; 1: from the last to the first; any other: shuffled, blocks and threads.
static std::vector<unsigned> permutation(unsigned n, unsigned seed) {
    std::vector<unsigned> order(n);
    for (unsigned i = 0; i < n; ++i) order[i] = seed == 1 ? n - 1 - i : i;
    for (unsigned i = n; seed > 1 && i > 1; --i) {
        seed = seed * 1664525u + 1013904223u;
        std::swap(order[i - 1], order[(seed >> 8) % i]);
    }
    return order;
}

static void on_fault(int) { siglongjmp(fault, 1); }

// Runs the whole grid. Returns nullptr, or what went wrong.
static const char* launch(void (*k)(void**), const unsigned* grid, const unsigned* block, void** args, unsigned seed) {
    kernel = k; arguments = args; error.clear();
    gridDim = {grid[0], grid[1], 1}; blockDim = {block[0], block[1], 1};
    unsigned n = block[0] * block[1];
    threads.resize(n);
    for (unsigned t = 0; t < n; ++t) {
        threads[t].stack.resize(1 << 14);
        threads[t].index = {t % block[0], t / block[0], 0};
    }
    static char signal_stack[1 << 16];
    stack_t stack = {}, old_stack; stack.ss_sp = signal_stack; stack.ss_size = sizeof signal_stack;
    struct sigaction action = {}, old_segv, old_bus; action.sa_handler = on_fault; action.sa_flags = SA_ONSTACK;
    sigaltstack(&stack, &old_stack); sigaction(SIGSEGV, &action, &old_segv); sigaction(SIGBUS, &action, &old_bus);
    bool right = true;
    if (sigsetjmp(fault, 1)) right = fail("memory outside an array is touched", current);
    else {
        std::vector<unsigned> order = permutation(n, seed);
        for (unsigned b : permutation(grid[0] * grid[1], seed)) {
            blockIdx = {b % grid[0], b / grid[0], 0};
            if (!(right = run_block(order))) break;
        }
    }
    sigaction(SIGSEGV, &old_segv, nullptr); sigaction(SIGBUS, &old_bus, nullptr); sigaltstack(&old_stack, nullptr);
    return right ? nullptr : error.c_str();
}

// A parameter's type as text: "f4*" writes, "cf4*" only reads, "i4" by value.
template <class T> struct Type {
    static std::string text() {
        if constexpr (std::is_pointer_v<T>) {
            using Item = std::remove_pointer_t<T>;
            return (std::is_const_v<Item> ? "c" : "") + Type<std::remove_cv_t<Item>>::text() + "*";
        } else {
            return (std::is_floating_point_v<T> ? "f" : std::is_signed_v<T> ? "i" : "u") + std::to_string(sizeof(T));
        }
    }
};

template <class F> struct Kernel;
template <class... A> struct Kernel<void (*)(A...)> {
    template <auto K, size_t... I> static void call(void** a, std::index_sequence<I...>) { K(*(A*)a[I]...); }
    template <auto K> static void run(void** a) { call<K>(a, std::index_sequence_for<A...>{}); }
    static std::string signature() {
        std::string text;
        ((text += Type<std::remove_cv_t<A>>::text() + " "), ...);
        return text;
    }
};

}  // namespace host

#define __syncthreads() host::wait(__LINE__)
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned __int128)a * b >> 64;
}
