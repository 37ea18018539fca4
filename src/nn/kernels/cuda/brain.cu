// 16-bit brain floats, eight at a time: maps are in NHWC order, their channels a multiple of eight.

typedef unsigned short brain;

struct __align__(16) Lanes {
    brain of[8];
};

__device__ __forceinline__ float wide(brain value) { return __uint_as_float((count)value << 16); }

// To the nearest, ties to even; what is no number stays none.
__device__ __forceinline__ brain narrow(float value) {
    count bits = __float_as_uint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (brain)((bits >> 16) | 0x40u);
    return (brain)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

__device__ __forceinline__ const Lanes *lanes(const brain *map, place value) {
    return reinterpret_cast<const Lanes *>(map + value);
}

__device__ __forceinline__ Lanes *lanes(brain *map, place value) { return reinterpret_cast<Lanes *>(map + value); }
