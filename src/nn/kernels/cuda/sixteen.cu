// Numbers of 16 bits, eight at a time: brain floats, or IEEE's halves where `HALF` is defined. Maps are in NHWC order, their channels a
// multiple of eight.

typedef unsigned short sixteen;

struct __align__(16) Lanes {
    sixteen of[8];
};

#ifdef HALF

// By the device's own instructions; whoever compiles for another processor brings these two functions.
#ifdef __CUDACC__
__device__ __forceinline__ float float_of_half(sixteen value) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value));
    return wide;
}

__device__ __forceinline__ sixteen half_of_float(float value) {
    sixteen narrow;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrow) : "f"(value));
    return narrow;
}
#endif

__device__ __forceinline__ float wide(sixteen value) { return float_of_half(value); }

// To the nearest, ties to even; what is too large becomes infinite; what is no number stays none.
__device__ __forceinline__ sixteen narrow(float value) { return half_of_float(value); }

// Whether one of them has left the range of its numbers or reached its end: what is infinite or no number may be gone from the maps
// that are made of these, as the ReLU of cuDNN's convolutions makes 0 of infinities of both signs.
__device__ __forceinline__ bool beyond(const Lanes &found) {
    bool any = false;
    for (int lane = 0; lane < 8; lane++) any |= (found.of[lane] & 0x7fffu) >= 0x7bffu;
    return any;
}

#else

// What maps of training are made of.
typedef sixteen brain;

__device__ __forceinline__ float wide(sixteen value) { return __uint_as_float((count)value << 16); }

// To the nearest, ties to even; what is no number stays none.
__device__ __forceinline__ sixteen narrow(float value) {
    count bits = __float_as_uint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (sixteen)((bits >> 16) | 0x40u);
    return (sixteen)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// Their range is that of `float`.
__device__ __forceinline__ bool beyond(const Lanes &) { return false; }

#endif

__device__ __forceinline__ const Lanes *lanes(const sixteen *map, place value) {
    return reinterpret_cast<const Lanes *>(map + value);
}

__device__ __forceinline__ Lanes *lanes(sixteen *map, place value) { return reinterpret_cast<Lanes *>(map + value); }
