// What the kernels have in common. None needs a header, so that they compile at run time as they stand.

typedef unsigned int count;
typedef unsigned long long place;

// The threads share the items out among them. There are fewer than 2³¹ (the host sees to that), so that they are divided in 32
// bits, which takes a fraction of the time of 64.
#define EACH(index, total) \
    for (count index = blockIdx.x * blockDim.x + threadIdx.x; index < (total); index += gridDim.x * blockDim.x)
