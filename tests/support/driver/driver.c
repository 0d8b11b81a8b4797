// Stands in for CUDA's driver and runtime below the real CuPy, without a GPU. __init__.py says how it works.
//
// CuPy's modules call each other through function pointers (__pyx_capi__); install.py points them at the functions
// here that are called fake_NAME. A function that fails raises CuPy's own exception, as CuPy's function would. Device
// memory is the host's, a kernel is a function of a library that minigan.gpu.emulator built, and everything is done
// when its call returns, except in a capture, where it is recorded.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// Of Python's C interface, declared here so that its headers need not be installed.
typedef struct PyObject PyObject;
extern PyObject _Py_NoneStruct, *PyExc_RuntimeError;
PyObject *PyLong_FromLong(long), *Py_BuildValue(const char*, ...), *PyErr_Format(PyObject*, const char*, ...);
const char *PyBytes_AsString(PyObject*), *PyUnicode_AsUTF8(PyObject*);
void PyErr_SetObject(PyObject*, PyObject*), Py_IncRef(PyObject*), Py_DecRef(PyObject*);

#define EXPORT __attribute__((visibility("default")))

// What install.py reads and sets.
EXPORT struct {
    long launches, replays, nodes, uploads, downloads, copies, memsets, allocations, frees, host_allocations, waits;
} counts;
EXPORT PyObject* runtime_error;  // CUDARuntimeError
EXPORT int executes = 1;         // 0: kernels are counted but not run
EXPORT size_t memory, used;      // of the device, in bytes

enum {  // cudaError_t
    INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500, NOT_SUPPORTED = 801,
    CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901, CAPTURE_IMPLICIT = 906, CAPTURED_EVENT = 907,
};

static PyObject* none(void) { Py_IncRef(&_Py_NoneStruct); return &_Py_NoneStruct; }

static PyObject* fail(int status) {
    PyObject* number = PyLong_FromLong(status);
    PyErr_SetObject(runtime_error, number);
    Py_DecRef(number);
    return NULL;
}

// ---------------------------------------------------------------------------------------------------------------------
// Kernels. A module is a host library; its launch_NAME takes the pointers to the arguments that cuLaunchKernel takes.

enum { MOST = 64 };  // arguments

typedef const char* Launch(unsigned* grid, unsigned* block, void** arguments, unsigned seed, void* watched,
                           unsigned count);

typedef struct Kernel {
    struct Kernel* next;
    char* name;
    long launches;                   // by launchKernel or by a replay, since the counts were cleared
    Launch* launch;
    int loops;                       // over all elements, whatever the grid (CUPY_FOR): one thread will do, and is fast
    unsigned arguments, size[MOST];  // bytes of each
} Kernel;

EXPORT Kernel* kernels;
EXPORT unsigned order;  // of blocks and threads: emulator.h, permutation

EXPORT intptr_t fake_moduleLoadData(PyObject* image, int skip) {
    void* library = dlopen(PyBytes_AsString(image), RTLD_NOW | RTLD_LOCAL);
    if (!library) PyErr_Format(PyExc_RuntimeError, "%s", dlerror());
    return (intptr_t)library;
}

EXPORT PyObject* fake_moduleUnload(intptr_t module, int skip) { return none(); }  // a graph may still need it

static void* symbol(intptr_t library, const char* kind, const char* name) {
    char text[1024];
    strcat(strcpy(text, kind), strncpy((char[1000]){0}, name, 999));
    return dlsym((void*)library, text);
}

// The signature is a text such as "f4* cf4* i4": 8 bytes for a pointer, else as many as the number says.
static void read_sizes(Kernel* kernel, const char* signature) {
    while (*signature && kernel->arguments < MOST) {
        const char* end = strchr(signature, ' ');
        unsigned bytes = end[-1] == '*' ? 8 : strtoul(signature + strcspn(signature, "0123456789"), NULL, 10);
        kernel->size[kernel->arguments++] = bytes;
        signature = end + 1;
    }
}

EXPORT intptr_t fake_moduleGetFunction(intptr_t module, PyObject* text, int skip) {
    const char* name = PyUnicode_AsUTF8(text);
    Launch* launch = (Launch*)symbol(module, "launch_", name);
    const char* (*signature)(void) = (const char* (*)(void))symbol(module, "signature_", name);
    if (!launch) return (intptr_t)fail(NOT_FOUND);
    Kernel* kernel = calloc(1, sizeof *kernel);
    *kernel = (Kernel){kernels, strdup(name), 0, launch, symbol(module, "one_thread_will_do", "") != NULL};
    read_sizes(kernel, signature());
    if (kernel->arguments == MOST) return (intptr_t)PyErr_Format(PyExc_RuntimeError, "%s: too many arguments", name);
    kernels = kernel;
    return (intptr_t)kernel;
}

EXPORT int fake_funcGetAttribute(int attribute, intptr_t kernel, int skip) { return attribute == 0 ? 1024 : 0; }

EXPORT PyObject* fake_funcSetAttribute(intptr_t kernel, int attribute, int value, int skip) { return none(); }

EXPORT int fake_occupancyMaxActiveBlocksPerMultiprocessor(intptr_t kernel, int block, size_t shared, int skip) {
    return 2048 / block;
}

EXPORT PyObject* fake_occupancyMaxPotentialBlockSize(intptr_t kernel, size_t shared, int limit, int skip) {
    return Py_BuildValue("ii", 264, 256);
}

// ---------------------------------------------------------------------------------------------------------------------
// Graphs: what was recorded, in order. A graph and what is instantiated from it are one thing with two owners.

typedef struct {
    Kernel* kernel;  // NULL: a copy, or a memset if `from` is NULL too
    unsigned grid[2], block[2];
    char* arguments;  // the bytes of all, one after the other, each at a multiple of 8
    void* to;
    const void* from;
    size_t bytes;
    int value;
} Node;

typedef struct { Node* nodes; unsigned count, owners; } Graph;

typedef struct { unsigned flags; } Stream;  // flags 1: it does not wait for the legacy stream

typedef struct { double milliseconds; Graph* graph; } Event;  // graph: in whose capture it was recorded

static struct { Stream* stream; int relaxed, invalid; Graph* graph; } capture;  // stream NULL: there is none
static unsigned graphs;                                                         // alive

static PyObject* invalidate(int status) { capture.invalid = 1; return fail(status); }

static int captured(intptr_t stream) { return capture.stream && stream == (intptr_t)capture.stream; }

// Whether work may be given to the stream: the legacy stream waits for blocking ones, so not for one in a capture.
static int open_stream(intptr_t stream) {
    if (!capture.stream || stream > 1 || capture.stream->flags & 1) return 1;
    invalidate(CAPTURE_IMPLICIT);
    return 0;
}

// Whether a call may be made that CUDA calls potentially unsafe, such as cudaMalloc: a relaxed capture lets it pass.
static int safe(void) {
    if (!capture.stream || capture.relaxed) return 1;
    invalidate(CAPTURE_UNSUPPORTED);
    return 0;
}

static int run(Node* node) {
    if (!node->kernel) {
        if (node->from) memmove(node->to, node->from, node->bytes);
        else memset(node->to, node->value, node->bytes);
        return 1;
    }
    ++node->kernel->launches;
    if (!executes) return 1;
    void* pointers[MOST];
    char* next = node->arguments;
    for (unsigned i = 0; i < node->kernel->arguments; next += (node->kernel->size[i++] + 7) / 8 * 8) pointers[i] = next;
    uintptr_t watched[8];  // room for the races::Array that launch() writes; nothing is watched
    unsigned one[] = {1, 1};
    const char* error = node->kernel->launch(node->kernel->loops ? one : node->grid,
                                             node->kernel->loops ? one : node->block, pointers, order, watched, 0);
    if (error) PyErr_Format(PyExc_RuntimeError, "%s: %s", node->kernel->name, error);
    return !error;
}

// Run what was asked for on a stream, or record it if the stream is in a capture. Takes over node.arguments.
static PyObject* enqueue(intptr_t stream, Node node, long* counter) {
    if (captured(stream)) {
        if (capture.invalid) { free(node.arguments); return fail(CAPTURE_INVALIDATED); }
        Graph* graph = capture.graph;
        graph->nodes = realloc(graph->nodes, (graph->count + 1) * sizeof node);
        graph->nodes[graph->count++] = node;
        return none();
    }
    int right = open_stream(stream) && (++*counter, run(&node));
    free(node.arguments);
    return right ? none() : NULL;
}

EXPORT PyObject* fake_launchKernel(intptr_t function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
        unsigned bz, unsigned shared, intptr_t stream, intptr_t arguments, intptr_t extra, int skip) {
    Kernel* kernel = (Kernel*)function;
    if (!gx || !gy || !gz || !bx || !by || !bz || bx * by * bz > 1024) return fail(INVALID_VALUE);
    if (gz > 1 || bz > 1 || shared)
        return PyErr_Format(PyExc_RuntimeError, "%s: the stand-in for CUDA has no third dimension and no dynamic "
                            "shared memory", kernel->name);
    size_t bytes = 0;
    for (unsigned i = 0; i < kernel->arguments; ++i) bytes += (kernel->size[i] + 7) / 8 * 8;
    Node node = {kernel, {gx, gy}, {bx, by}, calloc(bytes + 1, 1)};
    char* next = node.arguments;
    for (unsigned i = 0; i < kernel->arguments; next += (kernel->size[i++] + 7) / 8 * 8)
        memcpy(next, ((void**)arguments)[i], kernel->size[i]);
    return enqueue(stream, node, &counts.launches);
}

EXPORT PyObject* fake_streamBeginCapture(intptr_t stream, int skip, void* optional) {  // optional: {int n; int mode;}
    if (stream < 3) return fail(CAPTURE_UNSUPPORTED);
    if (capture.stream) return fail(NOT_SUPPORTED);  // real CUDA lets several streams capture
    capture.stream = (Stream*)stream;
    capture.relaxed = !optional || *(int*)optional == 0 || ((int*)optional)[1] == 2;
    capture.invalid = 0;
    capture.graph = calloc(1, sizeof(Graph));
    capture.graph->owners = 1;
    ++graphs;
    return none();
}

static void disown(Graph* graph) {
    if (--graph->owners) return;
    for (unsigned i = 0; i < graph->count; ++i) free(graph->nodes[i].arguments);
    free(graph->nodes);
    free(graph);
    --graphs;
}

EXPORT intptr_t fake_streamEndCapture(intptr_t stream, int skip) {
    if (!captured(stream)) return (intptr_t)fail(INVALID_VALUE);
    capture.stream = NULL;
    if (!capture.invalid) return (intptr_t)capture.graph;
    disown(capture.graph);
    return (intptr_t)fail(CAPTURE_INVALIDATED);
}

EXPORT int fake_streamIsCapturing(intptr_t stream, int skip) {
    if (!capture.stream) return 0;
    if (stream < 2 && !(capture.stream->flags & 1)) { fail(CAPTURE_IMPLICIT); return -1; }
    if (!captured(stream)) return 0;
    if (!capture.invalid) return 1;
    PyErr_Format(PyExc_RuntimeError, "the stream was capturing, but an error has invalidated the capture sequence");
    return -1;
}

EXPORT intptr_t fake_graphInstantiate(intptr_t graph, int skip) { ++((Graph*)graph)->owners; return graph; }

EXPORT PyObject* fake_graphUpload(intptr_t graph, intptr_t stream, int skip) { return none(); }

EXPORT PyObject* fake_graphDestroy(intptr_t graph, int skip) { disown((Graph*)graph); return none(); }

EXPORT PyObject* fake_graphExecDestroy(intptr_t graph, int skip) { disown((Graph*)graph); return none(); }

EXPORT PyObject* fake_graphLaunch(intptr_t instance, intptr_t stream, int skip) {
    if (captured(stream)) return invalidate(NOT_SUPPORTED);  // a graph in a graph
    if (!open_stream(stream)) return NULL;
    Graph* graph = (Graph*)instance;
    ++counts.replays;
    counts.nodes += graph->count;
    for (unsigned i = 0; i < graph->count; ++i)
        if (!run(&graph->nodes[i])) return NULL;
    return none();
}

// ---------------------------------------------------------------------------------------------------------------------
// Memory. New memory is undefined: every byte is 0xFF, a NaN for floats. Freed memory is made undefined too, and stays
// there while there are graphs, which may refer to it: a replay then computes NaN.

enum { HEADER = 512 };  // holds the size, and keeps the alignment

EXPORT intptr_t fake_malloc(size_t bytes, int skip) {
    if (!safe()) return 0;
    ++counts.allocations;
    char* block = NULL;
    if (bytes > memory - used || posix_memalign((void**)&block, HEADER, HEADER + bytes))
        return (intptr_t)fail(OUT_OF_MEMORY);
    used += bytes;
    *(size_t*)block = bytes;
    if (executes) memset(block + HEADER, 0xFF, bytes);
    return (intptr_t)block + HEADER;
}

EXPORT PyObject* fake_free(intptr_t pointer, int skip) {
    if (!pointer) return none();
    if (!safe()) return NULL;
    ++counts.frees;
    char* block = (char*)pointer - HEADER;
    used -= *(size_t*)block;
    memset(block + HEADER, 0xFF, *(size_t*)block);
    if (!graphs) free(block);
    return none();
}

EXPORT intptr_t fake_hostAlloc(size_t bytes, unsigned flags, int skip) {
    if (!safe()) return 0;
    ++counts.host_allocations;
    return (intptr_t)malloc(bytes + 1);
}

EXPORT PyObject* fake_freeHost(intptr_t pointer, int skip) {
    if (!safe()) return NULL;
    free((void*)pointer);
    return none();
}

EXPORT PyObject* fake_memGetInfo(int skip) { return Py_BuildValue("nn", memory - used, memory); }

EXPORT int fake_pointerGetMemoryType(intptr_t pointer, int skip) { return 2; }

static long* counter_of(int kind) {  // cudaMemcpyKind
    return kind == 1 ? &counts.uploads : kind == 2 ? &counts.downloads : &counts.copies;
}

EXPORT PyObject* fake_memcpyAsync(intptr_t to, intptr_t from, size_t bytes, int kind, intptr_t stream, int skip) {
    return enqueue(stream, (Node){.to = (void*)to, .from = (void*)from, .bytes = bytes}, counter_of(kind));
}

EXPORT PyObject* fake_memsetAsync(intptr_t to, int value, size_t bytes, intptr_t stream, int skip) {
    return enqueue(stream, (Node){.to = (void*)to, .value = value, .bytes = bytes}, &counts.memsets);
}

EXPORT PyObject* fake_memcpy(intptr_t to, intptr_t from, size_t bytes, int kind, int skip) {
    if (kind != 3) ++counts.waits;
    return safe() ? fake_memcpyAsync(to, from, bytes, kind, 0, 0) : NULL;
}

EXPORT PyObject* fake_memset(intptr_t to, int value, size_t bytes, int skip) {
    return safe() ? fake_memsetAsync(to, value, bytes, 0, 0) : NULL;
}

// ---------------------------------------------------------------------------------------------------------------------
// Streams and events: there is never anything to wait for, but whoever waits is counted.

EXPORT intptr_t fake_streamCreateWithFlags(unsigned flags, int skip) {
    Stream* stream = malloc(sizeof *stream);
    stream->flags = flags;
    return (intptr_t)stream;
}

EXPORT intptr_t fake_streamCreate(int skip) { return fake_streamCreateWithFlags(0, 0); }

EXPORT intptr_t fake_streamCreateWithPriority(unsigned flags, int priority, int skip) {
    return fake_streamCreateWithFlags(flags, 0);
}

EXPORT PyObject* fake_streamDestroy(intptr_t stream, int skip) { free((void*)stream); return none(); }

static PyObject* wait(intptr_t stream) {
    if (captured(stream)) return invalidate(CAPTURE_UNSUPPORTED);
    return open_stream(stream) && safe() ? none() : NULL;
}

EXPORT PyObject* fake_streamSynchronize(intptr_t stream, int skip) { ++counts.waits; return wait(stream); }

EXPORT PyObject* fake_deviceSynchronize(int skip) {
    ++counts.waits;
    return capture.stream ? invalidate(CAPTURE_UNSUPPORTED) : none();
}

EXPORT PyObject* fake_streamQuery(intptr_t stream, int skip) {
    PyObject* done = wait(stream);
    return done ? PyLong_FromLong(0) : NULL;
}

EXPORT intptr_t fake_eventCreateWithFlags(unsigned flags, int skip) { return (intptr_t)calloc(1, sizeof(Event)); }

EXPORT intptr_t fake_eventCreate(int skip) { return fake_eventCreateWithFlags(0, 0); }

EXPORT PyObject* fake_eventDestroy(intptr_t event, int skip) { free((void*)event); return none(); }

EXPORT PyObject* fake_eventRecord(intptr_t event, intptr_t stream, int skip) {
    if (!captured(stream) && !open_stream(stream)) return NULL;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *(Event*)event = (Event){now.tv_sec * 1e3 + now.tv_nsec * 1e-6, captured(stream) ? capture.graph : NULL};
    return none();
}

EXPORT PyObject* fake_eventSynchronize(intptr_t event, int skip) {
    ++counts.waits;
    if (((Event*)event)->graph) return capture.stream ? invalidate(CAPTURED_EVENT) : fail(CAPTURED_EVENT);
    return safe() ? none() : NULL;
}

EXPORT PyObject* fake_eventQuery(intptr_t event, int skip) {
    if (((Event*)event)->graph) return capture.stream ? invalidate(CAPTURED_EVENT) : fail(CAPTURED_EVENT);
    return safe() ? PyLong_FromLong(0) : NULL;
}

EXPORT float fake_eventElapsedTime(intptr_t start, intptr_t end, int skip) {
    return ((Event*)end)->milliseconds - ((Event*)start)->milliseconds;
}

// A second stream that joins a capture is not supported.
EXPORT PyObject* fake_streamWaitEvent(intptr_t stream, intptr_t event, int skip, void* optional) {
    if (captured(stream) == (((Event*)event)->graph != NULL)) return none();
    return captured(stream) ? invalidate(NOT_SUPPORTED) : fail(NOT_SUPPORTED);
}

// ---------------------------------------------------------------------------------------------------------------------
// The device: one, of compute capability 9.0.

EXPORT PyObject* fake__ensure_context(void) { return none(); }

EXPORT int fake_getDevice(int skip) { return 0; }

EXPORT int fake_getDeviceCount(int skip) { return 1; }

EXPORT PyObject* fake_setDevice(int device, int skip) { return device ? fail(101) : none(); }

EXPORT int fake_runtimeGetVersion(int skip) { return 12090; }

EXPORT int fake_driverGetVersion(int skip) { return 12090; }

EXPORT int fake__getCUDAMajorVersion(int skip) { return 12; }

EXPORT int fake_deviceGetAttribute(int attribute, int device, int skip) {  // cudaDeviceAttr
    static const int known[][2] = {{1, 1024}, {8, 49152}, {10, 32}, {12, 65536}, {16, 132}, {39, 2048}, {75, 9},
                                   {76, 0}, {81, 233472}, {97, 232448}, {115, 0}};
    for (unsigned i = 0; i < sizeof known / sizeof *known; ++i)
        if (known[i][0] == attribute) return known[i][1];
    fail(NOT_SUPPORTED);
    return -1;
}
