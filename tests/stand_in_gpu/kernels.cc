/* The kernels of devices/resize.cu, compiled for the CPU: one thread of the GPU after the other. */
#include <algorithm>
#include <cmath>
using std::max;
using std::min;

#define __device__ static
#define __global__
struct Place { int x, y, z; };
static thread_local Place blockIdx, blockDim, threadIdx;
static int __float2int_rn(float value) { return (int)nearbyintf(value); }
#include RESIZE_CU

extern "C" void stand_in_resize(unsigned blocks, unsigned images, unsigned threads, void **arguments)
{
    blockDim.x = threads;
    for (blockIdx.y = 0; blockIdx.y < (int)images; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < (int)blocks; blockIdx.x++)
            for (threadIdx.x = 0; threadIdx.x < (int)threads; threadIdx.x++)
                resize(*(const Photograph **)arguments[0], *(unsigned char **)arguments[1], *(int *)arguments[2]);
}
