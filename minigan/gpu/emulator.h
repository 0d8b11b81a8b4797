// Runs CUDA C on a CPU, for tests. It runs every thread of a block, one at a time, in an order that the caller picks,
// until the thread ends or waits at a barrier; a waiting thread keeps its stack. It reports three mistakes even if they
// do not change the result: a race (emulator_races.h), a barrier that not every thread reaches, and an access outside
// an array, where emulator.py puts pages that fault. It also reports a kernel that does not end.
//
// It lacks flush-to-zero (hence tolerances), warps whose threads run in step, a third dimension, and what emulator.py
// lists as MISSING. Functions that are fast and inexact on a GPU, such as __expf, are exact here. It needs ucontext and
// signals: Linux, most likely other Unix systems too.
#pragma once
#include <cmath>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <deque>
#include <string>
#include <type_traits>
#include <ucontext.h>
#include <unistd.h>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
// One section, so that all of it can be made undefined at once. `used` keeps the compiler from leaving out arrays that
// no thread reads.
#define __shared__ static __attribute__((section("cuda_shared"), used))
extern "C" char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));

struct uint3 { unsigned x, y, z; };
static uint3 threadIdx, blockIdx, blockDim, gridDim;

#include "emulator_races.h"

namespace host {

static const unsigned SECONDS = 5;  // that a launch may take

// A stack of its own. Threads run on it one after the other until one waits at a barrier; there that thread resumes.
// With no thread left it waits for those of the next block: setcontext, which calls the kernel, runs once a context.
struct Context {
    ucontext_t start;
    bool begun = false;
    jmp_buf here;  // where it stopped: jumps between stacks take a tenth of the time of swapcontext
    std::vector<char> stack = std::vector<char>(1 << 14);
};

struct Thread {
    uint3 index;
    bool done;
    const char* file;  // of the barrier where it waits
    int line;
    Context* context;  // where it waits
};

static std::vector<Thread> threads;
static std::deque<Context> contexts;  // as many as have ever waited at once; a deque does not move them
static std::vector<unsigned> order;
static unsigned current, started;     // a thread's number; how many of the order have begun
static Context* running;              // where that thread runs
static jmp_buf scheduler;
static void (*kernel)(void**);
static void** arguments;
static std::string error;
static sigjmp_buf fault;

UNWATCHED static void become(unsigned t) { current = races::now.thread = t; threadIdx = threads[t].index; }

UNWATCHED static void run_threads() {
    for (;;) {
        while (started < order.size()) {
            become(order[started++]);
            kernel(arguments);
            threads[current].done = true;
        }
        if (!_setjmp(running->here)) _longjmp(scheduler, 1);
    }
}

UNWATCHED static void wait(const char* file, int line) {
    threads[current].file = file; threads[current].line = line; threads[current].context = running;
    if (!_setjmp(running->here)) _longjmp(scheduler, 1);
}

UNWATCHED static void start(Context& context) {
    running = &context;
    if (_setjmp(scheduler)) return;
    if (context.begun) _longjmp(context.here, 1);
    context.begun = true;
    getcontext(&context.start);
    context.start.uc_stack.ss_sp = context.stack.data();
    context.start.uc_stack.ss_size = context.stack.size();
    context.start.uc_link = nullptr;
    makecontext(&context.start, run_threads, 0);
    setcontext(&context.start);
}

UNWATCHED static void resume(unsigned t) {
    become(t);
    running = threads[t].context;
    if (!_setjmp(scheduler)) _longjmp(running->here, 1);
}

static bool fail_at_barrier(const char* what, unsigned t) {
    const Thread& at = threads[t];
    std::string file = strcmp(at.file, "kernels.cu") ? std::string(" of ") + at.file : "";
    error = std::string(what) + ", " + races::who(races::now.block, t) + races::text(" (line %d", at.line) + file + ")";
    return false;
}

// reason: a signal's number, or a races::Stop.
static bool fail(int reason) {
    using races::now;
    if (reason == races::RACE || reason == races::CONST) error = races::explanation(races::Stop(reason));
    else if (reason == SIGSEGV || reason == SIGBUS) error = races::outside(races::touched);
    else error = (reason == SIGALRM ? "it does not end, " : "memory outside a shared array is touched, ") +
                 races::who(now.block, now.thread) + races::text(" (line @%x)", now.code);
    return false;
}

UNWATCHED static bool run_block() {
    memset(__start_cuda_shared, 0xFF, __stop_cuda_shared - __start_cuda_shared);  // NaN: it starts undefined
    for (Thread& t : threads) { t.done = false; t.file = ""; t.line = 0; }
    ++races::now.stretch;
    started = 0;
    for (unsigned used = 0; started < order.size(); ++used) {
        if (used == contexts.size()) contexts.emplace_back();
        start(contexts[used]);
    }
    for (;;) {
        unsigned done = 0, waiting = 0;
        for (unsigned t = 0; t < threads.size(); ++t)
            if (threads[t].done) ++done; else waiting = t;
        if (done == threads.size()) return true;
        if (done) return fail_at_barrier("a barrier is not reached by every thread", waiting);
        for (unsigned t = 0; t < threads.size(); ++t)
            if (threads[t].line != threads[0].line || threads[t].file != threads[0].file)
                return fail_at_barrier("threads wait at different barriers", t);
        ++races::now.stretch;
        for (unsigned t : order) resume(t);
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

UNWATCHED static void on_signal(int signal, siginfo_t* info, void*) {
    if ((signal == SIGSEGV || signal == SIGBUS) && info->si_code != SI_KERNEL) {  // else si_addr says nothing
        size_t beyond = (const char*)info->si_addr - races::touched;
        if (beyond >= 16) races::did = "touches";  // an access that no hook has reported
        races::touched = (const char*)info->si_addr;
    }
    if (signal == SIGILL) races::now.code = (const char*)info->si_addr + 1 - __ehdr_start;  // after the instruction
    siglongjmp(fault, signal);
}

// Runs the whole grid. watched: the arrays among the arguments, after a free entry for shared memory.
// Returns nullptr, or what went wrong, in which @ and a place in the library's code stand for a line.
UNWATCHED static const char* launch(void (*k)(void**), const unsigned* grid, const unsigned* block, void** args,
                                    unsigned seed, races::Array* watched, unsigned count) {
    kernel = k; arguments = args; error.clear();
    gridDim = {grid[0], grid[1], 1}; blockDim = {block[0], block[1], 1};
    unsigned n = block[0] * block[1];
    threads.resize(n);
    for (unsigned t = 0; t < n; ++t) threads[t].index = {t % block[0], t / block[0], 0};
    order = permutation(n, seed);
    watched[0] = {__start_cuda_shared, size_t(__stop_cuda_shared - __start_cuda_shared), 1, true};
    races::watch(watched, count);
    static char signal_stack[1 << 16];
    stack_t stack = {}, old_stack; stack.ss_sp = signal_stack; stack.ss_size = sizeof signal_stack;
    struct sigaction action = {}, old_segv, old_bus, old_ill, old_alarm;
    action.sa_sigaction = on_signal; action.sa_flags = SA_ONSTACK | SA_SIGINFO;
    sigaltstack(&stack, &old_stack); sigaction(SIGSEGV, &action, &old_segv); sigaction(SIGBUS, &action, &old_bus);
    sigaction(SIGILL, &action, &old_ill);  // what -fsanitize=bounds stops with
    sigaction(SIGALRM, &action, &old_alarm); alarm(SECONDS);
    bool right = true;
    if (int reason = sigsetjmp(fault, 1)) {
        races::count = 0;
        right = fail(reason);
    } else {
        for (unsigned b : permutation(grid[0] * grid[1], seed)) {
            races::now.block = b;
            blockIdx = {b % grid[0], b / grid[0], 0};
            if (!(right = run_block())) break;
        }
        races::count = 0;
    }
    sigaction(SIGSEGV, &old_segv, nullptr); sigaction(SIGBUS, &old_bus, nullptr);
    sigaction(SIGILL, &old_ill, nullptr); sigaltstack(&old_stack, nullptr);
    alarm(0); sigaction(SIGALRM, &old_alarm, nullptr);
    if (!right) contexts.clear();  // threads are left in the middle of the kernel
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

UNWATCHED static void races::stop(races::Stop reason) { siglongjmp(host::fault, reason); }

#define __syncthreads() host::wait(__FILE__, __LINE__)
#define __syncwarp(...)  // orders nothing here: accesses that it alone orders are reported as a race

// Macros, because glibc has functions of the same names.
#define __expf(x) expf(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __log10f(x) log10f(x)
#define __powf(x, y) powf(x, y)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanf(x) tanf(x)
__forceinline__ float __fdividef(float x, float y) { return x / y; }
__forceinline__ float __saturatef(float x) { return fminf(fmaxf(x, 0), 1); }
__forceinline__ float rsqrtf(float x) { return 1 / sqrtf(x); }
__forceinline__ double rsqrt(double x) { return 1 / sqrt(x); }
template <class T> __forceinline__ T __ldg(const T* p) { return *p; }

// min and max are NaN only if both numbers are.
template <class A, class B> using Both = std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>,
                                                          std::common_type_t<A, B>>;
template <class A, class B> __forceinline__ Both<A, B> min(A a, B b) {
    using T = Both<A, B>;
    if constexpr (std::is_floating_point_v<T>) return std::fmin(T(a), T(b)); else return T(b) < T(a) ? b : a;
}
template <class A, class B> __forceinline__ Both<A, B> max(A a, B b) {
    using T = Both<A, B>;
    if constexpr (std::is_floating_point_v<T>) return std::fmax(T(a), T(b)); else return T(a) < T(b) ? b : a;
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned __int128)a * b >> 64;
}
