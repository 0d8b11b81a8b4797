// Sees races while emulator.h runs a kernel: two threads touch the same place of shared or global memory, at least one
// of them writes, and nothing says which comes first. A barrier orders the threads of a block; nothing orders blocks.
// Two threads that write the same number are a race too: CUDA promises nothing there that a reader could rely on.
//
// The compiler does half of the work: -fsanitize=thread puts a call such as __tsan_read4(p) before each access to
// memory. ThreadSanitizer's library, which usually has these functions, is not linked; the end of this file has them.
//
// Every place has a cell, which remembers its last write and up to two reads. That is enough: a launch with a race is
// stopped in any order of threads, since until the first race the order changes nothing.
//   Writes: until then, each write comes after all the earlier ones, so the last stands for them.
//   Reads: `read` is the last one, `other` one that is not ordered with it. A write that comes after both comes after
//   every read; see remember().
// A place is a byte of shared memory (a word, as long as nothing smaller is touched), or an element of an array: two
// threads that write different bytes of one element are reported, too. All other memory, such as local variables,
// belongs to one thread and is not watched. Nor are __device__ variables, what functions of the C library touch (with
// g++, memcpy of many bytes), and accesses that the compiler leaves out, as it may (x[i] = x[i]).
#pragma once
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#define UNWATCHED __attribute__((no_sanitize("thread")))
#define INLINE UNWATCHED static inline __attribute__((always_inline))  // for what every access runs through

extern "C" const char __ehdr_start[] __attribute__((visibility("hidden")));  // where the library begins in memory

namespace races {

// A thread in one of its stretches from barrier to barrier. Stretches are numbered from 1 through all blocks, so each
// number belongs to one block, and all threads of the block finish a stretch before any begins the next.
struct Access {
    unsigned stretch, block, thread;  // stretch 0: none yet
    unsigned code;                    // where in the library: emulator.py finds the line
};

struct Cell { Access write, read, other; };

struct Array {
    const char* begin;
    size_t bytes;
    unsigned item;     // bytes of a place
    unsigned written;  // 0: behind a const pointer
    const char* name;  // nullptr: shared memory
    Cell* cells;       // one a place
};

struct Found {
    const Array* array;
    size_t place;
    bool write, wrote;  // what the present access is, and what the earlier one was
    Access past;
};

static Array* arrays;   // of this launch; the first is shared memory
static unsigned number;  // how many there are
static unsigned count;  // how many are watched; 0: no launch
static Access now;      // who runs; the scheduler keeps it up to date
static const char* touched;  // the place of the last access
static const char* did;      // and whether it reads or writes
static Found found;

static const size_t NULL_BYTES = 1 << 22;  // an address below this is an element of a null pointer

enum Stop { RACE = 1000, CONST };  // beyond the numbers of signals
[[noreturn]] static void stop(Stop reason);

// Whether, on a GPU, an earlier access may come before or after the present one.
INLINE bool unordered(const Access& past, const Array& array) {
    if (past.stretch == now.stretch) return past.thread != now.thread;
    return past.stretch && past.block != now.block && array.name;  // each block has shared memory of its own
}

// `other` is replaced only when it is ordered with the present read, and so with all that follow.
INLINE void remember(Cell& cell, const Array& array) {
    if (unordered(cell.read, array) && !unordered(cell.other, array)) cell.other = cell.read;
    cell.read = now;
}

INLINE void compare(const Access& past, bool wrote, bool write, const Array& array, size_t place) {
    if (!unordered(past, array)) return;
    found = {&array, place, write, wrote, past};
    stop(RACE);
}

INLINE void touch_place(const Array& array, size_t place, bool write) {
    Cell& cell = array.cells[place];
    compare(cell.write, true, write, array, place);
    if (!write) return remember(cell, array);
    compare(cell.read, false, true, array, place);
    compare(cell.other, false, true, array, place);
    cell.write = now;
}

// Until something smaller than a word of shared memory is touched, its places are words: they take a third of the time.
UNWATCHED static void watch_bytes(Array& shared) {
    for (size_t i = shared.bytes; i-- > 0;) shared.cells[i] = shared.cells[i / 4];
    shared.item = 1;
}

// An access to memory. code: the instruction after it.
INLINE void touch(const void* pointer, size_t bytes, bool write, const void* code) {
    if (!count) return;  // no kernel runs
    now.code = (const char*)code - __ehdr_start;
    touched = (const char*)pointer; did = write ? "writes" : "reads";
    for (unsigned i = 0; i < count; ++i) {
        Array& array = arrays[i];
        size_t offset = (const char*)pointer - array.begin;  // huge where the pointer is lower
        if (offset >= array.bytes) continue;
        if (!array.name && array.item == 4 && (offset % 4 || bytes % 4)) watch_bytes(array);
        size_t place = offset / array.item, end = offset + bytes < array.bytes ? offset + bytes : array.bytes;
        if (array.written) {
            do touch_place(array, place, write); while (++place * array.item < end);
        } else if (write) {
            found = {&array, place, true, false, {}};
            stop(CONST);
        }
        return;
    }
}

// How many bytes lie between a place and an array.
UNWATCHED static size_t distance(const Array& array, const char* place) {
    return place < array.begin ? array.begin - place : place - array.begin - array.bytes;
}

// The nearest array of the launch; nullptr if it has shared memory alone.
static const Array* nearest(const char* place) {
    const Array* found = nullptr;
    for (unsigned i = 1; i < number; ++i)
        if (!found || distance(arrays[i], place) < distance(*found, place)) found = &arrays[i];
    return found;
}

// Begins to watch these arrays, none of which has been touched. count = 0 ends it.
UNWATCHED static void watch(Array* watched, unsigned n) {
    static std::vector<Cell> cells;
    size_t places = 0;
    for (unsigned i = 0; i < n; ++i) if (watched[i].written) places += watched[i].bytes / watched[i].item;
    cells.assign(places, {});
    Cell* next = cells.data();
    for (unsigned i = 0; i < n; ++i) {
        watched[i].cells = next;
        if (watched[i].written) next += watched[i].bytes / watched[i].item;
    }
    watched[0].item = 4;
    arrays = watched; count = number = n; now = {}; touched = nullptr; did = "touches";
}

static std::string text(const char* format, ...) {
    char buffer[128];
    va_list values;
    va_start(values, format);
    vsnprintf(buffer, sizeof buffer, format, values);
    va_end(values);
    return buffer;
}

static std::string who(unsigned block, unsigned thread) {
    return text("block %u,%u thread %u,%u", block % gridDim.x, block / gridDim.x, thread % blockDim.x,
                thread / blockDim.x);
}

static std::string access(const Access& access, const char* did) {
    return who(access.block, access.thread) + " " + did + text(" it (line @%x)", access.code);
}

// The report on an access to a place that faults.
static std::string outside(const char* place) {
    if (place < (const char*)NULL_BYTES) return "a null pointer is touched, " + access(now, did);
    std::string what = "memory outside an array is touched, ";
    if (const Array* array = nearest(place)) {
        long item = array->item, bytes = place - array->begin;
        long index = (bytes < 0 ? bytes - item + 1 : bytes) / item;
        what += array->name + text("[%ld] of %zu elements: ", index, array->bytes / array->item);
    }
    return what + access(now, did);
}

static std::string explanation(Stop reason) {
    bool shared = !found.array->name;
    size_t index = shared ? found.place * found.array->item : found.place;
    std::string place = text(shared ? "byte %zu of shared memory" : "[%zu]", index);
    if (found.array->name) place = found.array->name + place;
    std::string access_now = place + ": " + access(now, found.write ? "writes" : "reads");
    if (reason == CONST) return "an input behind a const pointer is written, " + access_now;
    return "a race on " + access_now + ", " + access(found.past, found.wrote ? "wrote" : "read") +
           (now.block == found.past.block ? ", and no barrier is between them" : ", and blocks have no order");
}

}  // namespace races

#define HOOK extern "C" __attribute__((visibility("hidden"))) UNWATCHED void
#define HERE __builtin_return_address(0)
#define HOOKS(bytes) \
    HOOK __tsan_read##bytes(void* p) { races::touch(p, bytes, false, HERE); } \
    HOOK __tsan_write##bytes(void* p) { races::touch(p, bytes, true, HERE); } \
    HOOK __tsan_unaligned_read##bytes(void* p) { races::touch(p, bytes, false, HERE); } \
    HOOK __tsan_unaligned_write##bytes(void* p) { races::touch(p, bytes, true, HERE); }
HOOKS(1) HOOKS(2) HOOKS(4) HOOKS(8) HOOKS(16)
HOOK __tsan_read_range(void* p, size_t n) { races::touch(p, n, false, HERE); }
HOOK __tsan_write_range(void* p, size_t n) { races::touch(p, n, true, HERE); }
HOOK __tsan_func_entry(void*) {}
HOOK __tsan_func_exit() {}
HOOK __tsan_init() {}
// Clang alone calls these:
HOOK __tsan_vptr_read(void*) {}
HOOK __tsan_vptr_update(void*, void*) {}
HOOK* __tsan_memset(void* p, int byte, size_t n) { races::touch(p, n, true, HERE); return memset(p, byte, n); }
#define COPY(name) HOOK* name(void* to, const void* from, size_t n) { \
    races::touch(from, n, false, HERE); \
    races::touch(to, n, true, HERE); \
    return memmove(to, from, n); \
}
COPY(__tsan_memcpy) COPY(__tsan_memmove)
