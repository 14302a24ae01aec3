/* A GPU that is not there: NVIDIA's driver (libcuda.so.1), NVML (libnvidia-ml.so.1) and the compiler of kernels
 * (libnvrtc.so), as far as inferkit, PyCUDA and cuda-bindings ask them. Memory of the GPU is the host's, work is done at once, and any call can be made to fail.
 *
 *   STAND_IN_FAULT   name:nth:code[:stays|:all]   the nth call of a function returns a CUresult; with `stays` so does
 *                    every call from then on, as on a GPU that is lost, but those that change a thread's context, and
 *                    with `all` those too; code 0 never returns
 *   STAND_IN_LOST    path: while this file is there, no process gets the GPU; a fault that stays makes it
 *   STAND_IN_MEMORY  bytes of the GPU, 2 GiB
 *   STAND_IN_GPUS    how many, 1
 *   STAND_IN_NVML    what NVML answers when it is begun with, 0
 *   STAND_IN_NAME    the GPUs' name
 *
 * What the driver refuses is refused here too: work without a current context, memory or pages that are not known.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int CUresult;
typedef int CUdevice;
typedef uint64_t CUdeviceptr;

enum {
    OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, INVALID_DEVICE = 101, INVALID_CONTEXT = 201,
    INVALID_HANDLE = 400, NOT_FOUND = 500, ALREADY_REGISTERED = 712, NOT_REGISTERED = 713, NOT_SUPPORTED = 801,
    STREAM_CAPTURE_INVALIDATED = 901, UNKNOWN = 999,
};

/* Names and words of the driver, of the errors that are made here. */
static const struct { CUresult code; const char *name, *words; } ERRORS[] = {
    {OK, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {304, "CUDA_ERROR_OPERATING_SYSTEM", "OS call failed or operation not supported on this OS"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {ALREADY_REGISTERED, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED", "part or all of the requested memory range is already mapped"},
    {NOT_REGISTERED, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", "pointer does not correspond to a registered memory region"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

/* ---- faults, and what was called ---- */

struct call { const char *name; long count; struct call *next; };
static struct { char name[64]; long nth; CUresult code; int stays, fired; } fault;
static struct call *calls;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int initialised;

static const char *lost_file(void) { return getenv("STAND_IN_LOST"); }

static int is_lost(void) { return lost_file() && access(lost_file(), F_OK) == 0; }

static long number(const char *name, long otherwise) {
    const char *told = getenv(name);
    return told ? atol(told) : otherwise;
}

/* Fail the nth call of a function from now on; all counts begin anew. */
void stand_in_fault(const char *name, long nth, CUresult code, int stays) {
    pthread_mutex_lock(&lock);
    snprintf(fault.name, sizeof fault.name, "%s", name);
    fault.nth = nth, fault.code = code, fault.stays = stays, fault.fired = 0;
    for (struct call *each = calls; each; each = each->next) each->count = 0;
    pthread_mutex_unlock(&lock);
}

int stand_in_fired(void) { return fault.fired; }

/* The name of a function that was called, by its place, and how often; NULL behind the last. */
const char *stand_in_called(int place, long *count) {
    struct call *each = calls;
    while (each && place--) each = each->next;
    if (each) *count = each->count;
    return each ? each->name : NULL;
}

__attribute__((constructor)) static void told_by_environment(void) {
    char name[64] = "", how[8] = "";
    long nth = 0;
    int code = 0;
    const char *told = getenv("STAND_IN_FAULT");
    if (told && sscanf(told, "%63[^:]:%ld:%d:%7s", name, &nth, &code, how) >= 3)
        stand_in_fault(name, nth, code, !strcmp(how, "stays") ? 1 : !strcmp(how, "all") ? 2 : 0);
}

static void lose(void) {
    FILE *file = lost_file() ? fopen(lost_file(), "w") : NULL;
    if (file) fclose(file);
}

static CUresult entered(struct call *call) {
    pthread_mutex_lock(&lock);
    if (!call->count && !call->next && calls != call) {
        struct call **end = &calls;
        while (*end && *end != call) end = &(*end)->next;
        *end = call;
    }
    call->count++;
    int hit = fault.nth && !strcmp(call->name, fault.name) && call->count == fault.nth;
    int in_thread = !strcmp(call->name, "cuCtxPushCurrent") || !strcmp(call->name, "cuCtxPopCurrent");
    int needs_gpu = strncmp(call->name, "nvrtc", 5);
    int fails = hit || (needs_gpu && fault.fired && fault.stays > in_thread);
    fault.fired |= hit;
    pthread_mutex_unlock(&lock);
    if (!fails) return OK;
    while (!fault.code) pause();
    if (hit && fault.stays) lose();
    return fault.code;
}

#define ENTER(name) do { \
    static struct call own = {name, 0, NULL}; \
    CUresult failed = entered(&own); \
    if (failed) return failed; \
} while (0)

/* ---- what is alive ---- */

struct piece { void *address; size_t nbytes; struct piece *next; };
enum { CONTEXTS, STREAMS, EVENTS, MEMORY, GRAPHS, MODULES, PAGES, KINDS };
static struct piece *alive[KINDS];
static int ended[KINDS];
static size_t used;

static void keep(int kind, void *address, size_t nbytes) {
    struct piece *piece = malloc(sizeof *piece);
    pthread_mutex_lock(&lock);
    *piece = (struct piece){address, nbytes, alive[kind]};
    alive[kind] = piece;
    if (kind == MEMORY) used += nbytes;
    pthread_mutex_unlock(&lock);
}

static int known(int kind, const void *address) {
    int found = 0;
    pthread_mutex_lock(&lock);
    for (struct piece *each = alive[kind]; each; each = each->next) found |= each->address == address;
    pthread_mutex_unlock(&lock);
    return found;
}

static int forget(int kind, const void *address) {
    struct piece *found = NULL;
    pthread_mutex_lock(&lock);
    for (struct piece **each = &alive[kind]; *each && !found; each = found ? each : &(*each)->next)
        if ((*each)->address == address) found = *each, *each = found->next;
    if (found && kind == MEMORY) used -= found->nbytes;
    pthread_mutex_unlock(&lock);
    free(found);
    return found != NULL;
}

/* How many contexts (holds of them), streams, events, pieces of memory, graphs, modules or registrations there are. */
int stand_in_alive(int kind) {
    int count = 0;
    for (struct piece *each = alive[kind]; each; each = each->next) count++;
    return count;
}

/* How many of them ended with the last context, instead of before it. */
int stand_in_ended(int kind) { return ended[kind]; }

/* ---- devices and contexts ---- */

#define STACK 16
static __thread void *stack[STACK];
static __thread int depth;
static char contexts[8];

/* Forget everything that is alive, and what is current on this thread. */
void stand_in_forget(void) {
    for (int kind = depth = 0; kind < KINDS; kind++)
        for (ended[kind] = 0; alive[kind];) forget(kind, alive[kind]->address);
}

static int gpus(void) { return (int)number("STAND_IN_GPUS", 1); }

#define DEVICE(device) do { \
    if (!initialised) return NOT_INITIALIZED; \
    if ((device) < 0 || (device) >= gpus()) return INVALID_DEVICE; \
} while (0)
#define IN_CONTEXT if (!depth || !known(CONTEXTS, stack[depth - 1])) return INVALID_CONTEXT

CUresult cuInit(unsigned flags) {
    ENTER("cuInit");
    if (is_lost()) return UNKNOWN;
    initialised = 1;
    return OK;
}

CUresult cuDriverGetVersion(int *version) { ENTER("cuDriverGetVersion"); *version = 13000; return OK; }

CUresult cuDeviceGetCount(int *count) {
    ENTER("cuDeviceGetCount");
    if (!initialised) return NOT_INITIALIZED;
    *count = gpus();
    return OK;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    ENTER("cuDeviceGet");
    DEVICE(ordinal);
    *device = ordinal;
    return OK;
}

CUresult cuDeviceGetName(char *name, int nbytes, CUdevice device) {
    ENTER("cuDeviceGetName");
    DEVICE(device);
    snprintf(name, nbytes, "Stand-in GPU");
    return OK;
}

CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
    ENTER("cuDeviceComputeCapability");
    DEVICE(device);
    *major = 9, *minor = 0;
    return OK;
}

CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
    ENTER("cuDeviceGetAttribute");
    DEVICE(device);
    *value = attribute == 75 ? 9 : attribute == 76 ? 0 : 1; /* the compute capability */
    return OK;
}

CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags) {
    ENTER("cuDevicePrimaryCtxSetFlags");
    DEVICE(device);
    return OK;
}

CUresult cuDevicePrimaryCtxRetain(void **context, CUdevice device) {
    ENTER("cuDevicePrimaryCtxRetain");
    DEVICE(device);
    *context = &contexts[device];
    keep(CONTEXTS, *context, 0);
    return OK;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    ENTER("cuDevicePrimaryCtxRelease");
    DEVICE(device);
    if (!forget(CONTEXTS, &contexts[device])) return INVALID_CONTEXT;
    for (int kind = STREAMS; !alive[CONTEXTS] && kind < PAGES; kind++) /* with the last hold all else ends */
        for (ended[kind] = 0; alive[kind]; ended[kind]++) forget(kind, alive[kind]->address);
    return OK;
}

CUresult cuCtxPushCurrent_v2(void *context) {
    ENTER("cuCtxPushCurrent");
    if (depth == STACK || !known(CONTEXTS, context)) return INVALID_CONTEXT;
    stack[depth++] = context;
    return OK;
}

CUresult cuCtxPopCurrent_v2(void **context) {
    ENTER("cuCtxPopCurrent");
    if (!depth) return INVALID_CONTEXT;
    depth--;
    if (context) *context = stack[depth];
    return OK;
}

CUresult cuCtxGetDevice(CUdevice *device) {
    ENTER("cuCtxGetDevice");
    IN_CONTEXT;
    *device = (int)((char *)stack[depth - 1] - contexts);
    return OK;
}

/* ---- memory and pages ---- */

CUresult cuMemGetInfo_v2(size_t *left, size_t *total) {
    ENTER("cuMemGetInfo");
    IN_CONTEXT;
    *total = number("STAND_IN_MEMORY", 2L << 30);
    *left = *total - used;
    return OK;
}

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t nbytes) {
    ENTER("cuMemAlloc");
    IN_CONTEXT;
    if (!nbytes) return INVALID_VALUE;
    if (nbytes > number("STAND_IN_MEMORY", 2L << 30) - used) return OUT_OF_MEMORY;
    void *memory = aligned_alloc(512, (nbytes + 511) / 512 * 512);
    if (!memory) return OUT_OF_MEMORY;
    keep(MEMORY, memory, nbytes);
    *address = (CUdeviceptr)memory;
    return OK;
}

CUresult cuMemFree_v2(CUdeviceptr address) {
    ENTER("cuMemFree");
    IN_CONTEXT;
    if (!forget(MEMORY, (void *)address)) return INVALID_VALUE;
    free((void *)address);
    return OK;
}

CUresult cuMemHostRegister_v2(void *address, size_t nbytes, unsigned flags) {
    ENTER("cuMemHostRegister");
    IN_CONTEXT;
    const char *own = address;
    int overlaps = 0;
    pthread_mutex_lock(&lock);
    for (struct piece *each = alive[PAGES]; each; each = each->next)
        overlaps |= own < (char *)each->address + each->nbytes && (char *)each->address < own + nbytes;
    pthread_mutex_unlock(&lock);
    if (overlaps) return ALREADY_REGISTERED;
    keep(PAGES, address, nbytes);
    return OK;
}

CUresult cuMemHostUnregister(void *address) {
    ENTER("cuMemHostUnregister");
    IN_CONTEXT;
    return forget(PAGES, address) ? OK : NOT_REGISTERED;
}

/* ---- streams and events: work is done where it is queued ---- */

struct event { int64_t ns; };

CUresult cuStreamCreate(void **stream, unsigned flags) {
    ENTER("cuStreamCreate");
    IN_CONTEXT;
    keep(STREAMS, *stream = malloc(1), 0);
    return OK;
}

#define OF(kind, handle) do { IN_CONTEXT; if (!known(kind, handle)) return INVALID_HANDLE; } while (0)

CUresult cuStreamDestroy_v2(void *stream) {
    ENTER("cuStreamDestroy");
    OF(STREAMS, stream);
    forget(STREAMS, stream);
    free(stream);
    return OK;
}

CUresult cuStreamSynchronize(void *stream) { ENTER("cuStreamSynchronize"); OF(STREAMS, stream); return OK; }

CUresult cuStreamWaitEvent(void *stream, void *event, unsigned flags) {
    ENTER("cuStreamWaitEvent");
    OF(STREAMS, stream);
    OF(EVENTS, event);
    return OK;
}

CUresult cuEventCreate(void **event, unsigned flags) {
    ENTER("cuEventCreate");
    IN_CONTEXT;
    keep(EVENTS, *event = calloc(1, sizeof(struct event)), 0);
    return OK;
}

CUresult cuEventDestroy_v2(void *event) {
    ENTER("cuEventDestroy");
    OF(EVENTS, event);
    forget(EVENTS, event);
    free(event);
    return OK;
}

CUresult cuEventRecord(struct event *event, void *stream) {
    ENTER("cuEventRecord");
    OF(EVENTS, event);
    OF(STREAMS, stream);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    event->ns = now.tv_sec * 1000000000LL + now.tv_nsec;
    return OK;
}

CUresult cuEventQuery(void *event) { ENTER("cuEventQuery"); OF(EVENTS, event); return OK; }

CUresult cuEventSynchronize(void *event) { ENTER("cuEventSynchronize"); OF(EVENTS, event); return OK; }

CUresult cuEventElapsedTime_v2(float *ms, struct event *start, struct event *end) {
    ENTER("cuEventElapsedTime");
    OF(EVENTS, start);
    OF(EVENTS, end);
    *ms = (end->ns - start->ns) / 1e6f;
    return OK;
}

/* What a GPU can reach: its memory, and the host's where pages are registered. */
static int reachable(CUdeviceptr address, size_t nbytes) {
    const char *own = (const char *)address;
    int within = 0;
    pthread_mutex_lock(&lock);
    for (int kind = 0; kind < KINDS && !within; kind++)
        for (struct piece *each = kind == MEMORY || kind == PAGES ? alive[kind] : NULL; each; each = each->next)
            within |= own >= (char *)each->address && own + nbytes <= (char *)each->address + each->nbytes;
    pthread_mutex_unlock(&lock);
    return within;
}

static CUresult copied(void *target, const void *source, size_t nbytes, void *stream) {
    OF(STREAMS, stream);
    memcpy(target, source, nbytes);
    return OK;
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr target, const void *source, size_t nbytes, void *stream) {
    ENTER("cuMemcpyHtoDAsync");
    if (!reachable(target, nbytes)) return INVALID_VALUE;
    return copied((void *)target, source, nbytes, stream);
}

CUresult cuMemcpyDtoHAsync_v2(void *target, CUdeviceptr source, size_t nbytes, void *stream) {
    ENTER("cuMemcpyDtoHAsync");
    if (!reachable(source, nbytes)) return INVALID_VALUE;
    return copied(target, (void *)source, nbytes, stream);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr target, CUdeviceptr source, size_t nbytes, void *stream) {
    ENTER("cuMemcpyDtoDAsync");
    if (!reachable(target, nbytes) || !reachable(source, nbytes)) return INVALID_VALUE;
    return copied((void *)target, (void *)source, nbytes, stream);
}

CUresult cuMemsetD8Async(CUdeviceptr target, unsigned char value, size_t nbytes, void *stream) {
    ENTER("cuMemsetD8Async");
    OF(STREAMS, stream);
    memset((void *)target, value, nbytes);
    return OK;
}

/* ---- graphs: what is captured was done meanwhile, a launch does nothing ---- */

CUresult cuStreamBeginCapture_v2(void *stream, int mode) { ENTER("cuStreamBeginCapture"); OF(STREAMS, stream); return OK; }

static CUresult new_graph(void **graph) { keep(GRAPHS, *graph = malloc(1), 0); return OK; }

static CUresult end_graph(void *graph) {
    if (!forget(GRAPHS, graph)) return INVALID_HANDLE;
    free(graph);
    return OK;
}

CUresult cuStreamEndCapture(void *stream, void **graph) {
    *graph = NULL;
    ENTER("cuStreamEndCapture");
    OF(STREAMS, stream);
    return new_graph(graph);
}

CUresult cuGraphInstantiateWithFlags(void **made, void *graph, unsigned long long flags) {
    ENTER("cuGraphInstantiate");
    return known(GRAPHS, graph) ? new_graph(made) : INVALID_HANDLE;
}

CUresult cuGraphLaunch(void *graph, void *stream) {
    ENTER("cuGraphLaunch");
    OF(STREAMS, stream);
    return known(GRAPHS, graph) ? OK : INVALID_HANDLE;
}

CUresult cuGraphDestroy(void *graph) { ENTER("cuGraphDestroy"); return end_graph(graph); }

CUresult cuGraphExecDestroy(void *graph) { ENTER("cuGraphExecDestroy"); return end_graph(graph); }

/* ---- kernels: compiled to nothing; what is launched is the one of kernels.cc ---- */

void stand_in_resize(unsigned blocks, unsigned images, unsigned threads, void **arguments);

CUresult nvrtcCreateProgram(void **program, const char *source, const char *name, int headers, void *a, void *b) {
    ENTER("nvrtcCreateProgram");
    *program = malloc(1);
    return OK;
}

CUresult nvrtcCompileProgram(void *program, int count, void *options) { ENTER("nvrtcCompileProgram"); return OK; }

CUresult nvrtcGetCUBINSize(void *program, size_t *nbytes) { ENTER("nvrtcGetCUBINSize"); *nbytes = 8; return OK; }

CUresult nvrtcGetCUBIN(void *program, char *cubin) { ENTER("nvrtcGetCUBIN"); memset(cubin, 7, 8); return OK; }

CUresult nvrtcDestroyProgram(void **program) { ENTER("nvrtcDestroyProgram"); free(*program); return OK; }

CUresult cuModuleLoadData(void **module, const void *image) {
    ENTER("cuModuleLoadData");
    IN_CONTEXT;
    keep(MODULES, *module = malloc(1), 0);
    return OK;
}

CUresult cuModuleGetFunction(void **function, void *module, const char *name) {
    ENTER("cuModuleGetFunction");
    OF(MODULES, module);
    *function = module;
    return OK;
}

CUresult cuModuleUnload(void *module) {
    ENTER("cuModuleUnload");
    OF(MODULES, module);
    forget(MODULES, module);
    free(module);
    return OK;
}

CUresult cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned block_x, unsigned block_y,
                        unsigned block_z, unsigned shared, void *stream, void **arguments, void **extra) {
    ENTER("cuLaunchKernel");
    OF(MODULES, function);
    OF(STREAMS, stream);
    stand_in_resize(x, y, block_x, arguments);
    return OK;
}

/* ---- words, and where functions lie ---- */

static CUresult told(CUresult code, const char **answer, int words) {
    *answer = NULL;
    for (size_t each = 0; each < sizeof ERRORS / sizeof *ERRORS; each++)
        if (ERRORS[each].code == code) *answer = words ? ERRORS[each].words : ERRORS[each].name;
    return *answer ? OK : INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult code, const char **words) { return told(code, words, 1); }

CUresult cuGetErrorName(CUresult code, const char **name) { return told(code, name, 0); }

CUresult cuGetProcAddress_v2(const char *name, void **found, int version, uint64_t flags, int *status) {
    static void *own;
    Dl_info where;
    if (!own && dladdr((void *)cuInit, &where)) own = dlopen(where.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    char latest[80];
    snprintf(latest, sizeof latest, "%s_v2", name);
    *found = dlsym(own, latest);
    if (!*found) *found = dlsym(own, name);
    if (!*found && !strcmp(name, "cuGraphInstantiate")) *found = (void *)cuGraphInstantiateWithFlags;
    if (status) *status = *found ? 0 : 1;
    return *found ? OK : NOT_FOUND;
}

/* PyCUDA is linked to these; inferkit calls none of them. */
#define LACKS(name) CUresult name(void) { return NOT_SUPPORTED; }
LACKS(cuArray3DCreate_v2) LACKS(cuArray3DGetDescriptor_v2) LACKS(cuArrayCreate_v2) LACKS(cuArrayDestroy)
LACKS(cuArrayGetDescriptor_v2) LACKS(cuCtxAttach) LACKS(cuCtxCreate_v2) LACKS(cuCtxCreate_v4) LACKS(cuCtxDetach)
LACKS(cuCtxDisablePeerAccess) LACKS(cuCtxEnablePeerAccess) LACKS(cuCtxGetApiVersion) LACKS(cuCtxGetCacheConfig)
LACKS(cuCtxGetLimit) LACKS(cuCtxGetSharedMemConfig) LACKS(cuCtxSetCacheConfig) LACKS(cuCtxSetLimit)
LACKS(cuCtxSetSharedMemConfig) LACKS(cuCtxSynchronize) LACKS(cuDeviceCanAccessPeer) LACKS(cuDeviceGetByPCIBusId)
LACKS(cuDeviceGetPCIBusId) LACKS(cuDeviceTotalMem_v2) LACKS(cuFuncGetAttribute) LACKS(cuFuncSetAttribute)
LACKS(cuFuncSetBlockShape) LACKS(cuFuncSetCacheConfig) LACKS(cuFuncSetSharedSize) LACKS(cuIpcCloseMemHandle)
LACKS(cuIpcGetEventHandle) LACKS(cuIpcGetMemHandle) LACKS(cuIpcOpenEventHandle) LACKS(cuIpcOpenMemHandle_v2)
LACKS(cuLaunch) LACKS(cuLaunchGrid) LACKS(cuLaunchGridAsync) LACKS(cuLinkAddData_v2)
LACKS(cuLinkAddFile_v2) LACKS(cuLinkComplete) LACKS(cuLinkCreate_v2) LACKS(cuLinkDestroy) LACKS(cuMemAllocManaged)
LACKS(cuMemAllocPitch_v2) LACKS(cuMemFreeHost) LACKS(cuMemGetAddressRange_v2) LACKS(cuMemHostAlloc)
LACKS(cuMemHostGetDevicePointer_v2) LACKS(cuMemHostGetFlags) LACKS(cuMemcpy2DAsync_v2) LACKS(cuMemcpy2DUnaligned_v2)
LACKS(cuMemcpy2D_v2) LACKS(cuMemcpy3DAsync_v2) LACKS(cuMemcpy3DPeer) LACKS(cuMemcpy3DPeerAsync) LACKS(cuMemcpy3D_v2)
LACKS(cuMemcpyAtoA_v2) LACKS(cuMemcpyAtoD_v2) LACKS(cuMemcpyAtoH_v2) LACKS(cuMemcpyDtoA_v2)
LACKS(cuMemcpyDtoD_v2) LACKS(cuMemcpyDtoH_v2) LACKS(cuMemcpyHtoA_v2) LACKS(cuMemcpyHtoD_v2) LACKS(cuMemcpyPeer)
LACKS(cuMemcpyPeerAsync) LACKS(cuMemsetD16Async) LACKS(cuMemsetD16_v2) LACKS(cuMemsetD2D16Async) LACKS(cuMemsetD2D16_v2)
LACKS(cuMemsetD2D32Async) LACKS(cuMemsetD2D32_v2) LACKS(cuMemsetD2D8Async) LACKS(cuMemsetD2D8_v2) LACKS(cuMemsetD32Async)
LACKS(cuMemsetD32_v2) LACKS(cuMemsetD8_v2) LACKS(cuModuleGetGlobal_v2)
LACKS(cuModuleGetSurfRef) LACKS(cuModuleGetTexRef) LACKS(cuModuleLoad) LACKS(cuModuleLoadDataEx)
LACKS(cuParamSetSize) LACKS(cuParamSetTexRef) LACKS(cuParamSetf) LACKS(cuParamSeti)
LACKS(cuParamSetv) LACKS(cuProfilerInitialize) LACKS(cuProfilerStart) LACKS(cuProfilerStop) LACKS(cuStreamAttachMemAsync)
LACKS(cuStreamQuery) LACKS(cuSurfRefGetArray) LACKS(cuSurfRefSetArray) LACKS(cuTexRefCreate) LACKS(cuTexRefDestroy)
LACKS(cuTexRefGetAddressMode) LACKS(cuTexRefGetAddress_v2) LACKS(cuTexRefGetArray) LACKS(cuTexRefGetFilterMode)
LACKS(cuTexRefGetFlags) LACKS(cuTexRefGetFormat) LACKS(cuTexRefSetAddress2D_v3) LACKS(cuTexRefSetAddressMode)
LACKS(cuTexRefSetAddress_v2) LACKS(cuTexRefSetArray) LACKS(cuTexRefSetFilterMode) LACKS(cuTexRefSetFlags)
LACKS(cuTexRefSetFormat)

/* ---- NVML ---- */

enum { NVML_INVALID = 2, NVML_LOST = 15, NVML_MISMATCH = 18 };
#define ANSWERING if (is_lost()) return NVML_LOST

int nvmlInitWithFlags(unsigned flags) { return number("STAND_IN_NVML", OK); }
int nvmlInit_v2(void) { return number("STAND_IN_NVML", OK); }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) {
    return code == NVML_LOST ? "GPU is lost" : code == NVML_MISMATCH ? "Driver/library version mismatch" : "an error of NVML";
}
int nvmlSystemGetDriverVersion(char *version, unsigned nbytes) { snprintf(version, nbytes, "580.0"); return OK; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = gpus(); return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    ANSWERING;
    if ((int)index >= gpus()) return NVML_INVALID;
    *handle = &contexts[index];
    return OK;
}

int nvmlDeviceGetName(void *handle, char *name, unsigned nbytes) {
    snprintf(name, nbytes, "%s", getenv("STAND_IN_NAME") ? getenv("STAND_IN_NAME") : "Stand-in GPU");
    return OK;
}

int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned nbytes) {
    snprintf(uuid, nbytes, "GPU-57a2d1a0-0000-0000-0000-%012d", (int)((char *)handle - contexts));
    return OK;
}

int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) { *major = 9, *minor = 0; return OK; }

int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long *memory) { /* total, free, used */
    memory[0] = number("STAND_IN_MEMORY", 2L << 30), memory[2] = used, memory[1] = memory[0] - used;
    return OK;
}

int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *celsius) { ANSWERING; *celsius = 40; return OK; }
