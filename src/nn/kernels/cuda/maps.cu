// What training in bf16 does between cuDNN's convolutions, there and back. Each thread takes eight channels of a pixel or, for sums,
// of every `slices`th one: few values for `f32`.

// A place's eight numbers of a row that has one for each channel.
struct __align__(16) Four {
    float of[4];
};

struct Eight {
    Four half[2];
};

__device__ __forceinline__ float at(const Eight &numbers, int lane) { return numbers.half[lane / 4].of[lane % 4]; }

__device__ __forceinline__ Eight eight(const float *row, count channel) {
    const Four *from = reinterpret_cast<const Four *>(row + channel);
    return {{from[0], from[1]}};
}

// Of `maps` maps. Gradients that are read are the channels from `first` on of maps with `pitch`.
struct Sizes {
    count maps, height, width, channels, pitch, first, slices, parts;
};

// Where weights lie that become a filter of `groups * rows` rows with room for `held` inputs: the `inputs` that there are, `copies`
// times, then zeros.
struct Layout {
    count groups, rows, inputs, held, by_group, by_row, by_input, copies;
};

#define KERNEL(name, S)                                                                                                        \
    extern "C" __global__ void name(const void *__restrict__ first, const void *__restrict__ second, const void *__restrict__ third, \
                                    const void *__restrict__ fourth, const void *__restrict__ fifth,                           \
                                    const void *__restrict__ sixth, void *__restrict__ to, S size)
#define MAPS(argument) (static_cast<const brain *>(argument))
#define NUMBERS(argument) (static_cast<const float *>(argument))

__device__ __forceinline__ count pixels_of(Sizes size) { return size.maps * size.height * size.width; }

// A gradient's lanes.
__device__ __forceinline__ Lanes gradient_of(const void *gradient, place pixel, count channel, Sizes size) {
    return *lanes(MAPS(gradient), pixel * size.pitch + size.first + channel);
}

// Pictures of one channel as maps of eight: the nearest brain float, what it leaves, and zeros.
KERNEL(spread_pictures, Sizes) {
    EACH(pixel, pixels_of(size)) {
        float value = NUMBERS(first)[pixel];
        Lanes result = {{0, 0, 0, 0, 0, 0, 0, 0}};
        result.of[0] = narrow(value);
        result.of[1] = narrow(value - wide(result.of[0]));
        *lanes(static_cast<brain *>(to), (place)pixel * 8) = result;
    }
}

// Weights as a filter.
KERNEL(filter, Layout) {
    EACH(index, size.groups * size.rows * size.held) {
        count input = index % size.held, output = index / size.held;
        const float *weights = NUMBERS(first) + output / size.rows * size.by_group + output % size.rows * size.by_row;
        bool there = input < size.inputs * size.copies;
        static_cast<brain *>(to)[index] = there ? narrow(weights[input % size.inputs * size.by_input]) : 0;
    }
}

// A filter's gradient as that of its weights.
KERNEL(filter_gradient, Layout) {
    EACH(index, size.groups * size.rows * size.inputs) {
        count input = index % size.inputs, output = index / size.inputs;
        float sum = 0.0f;
        for (count copy = 0; copy < size.copies; copy++) sum += wide(MAPS(first)[(place)output * size.held + copy * size.inputs + input]);
        static_cast<float *>(to)[output / size.rows * size.by_group + output % size.rows * size.by_row + input * size.by_input] = sum;
    }
}

// Two numbers of each of eight channels, summed over a slice.
struct Sums {
    float of[2][8];
};

__device__ __forceinline__ void put(const Sums &sums, void *to, count slice, count channel, count channels) {
    float *rows = static_cast<float *>(to) + (place)slice * 2 * channels + channel;
    for (int which = 0; which < 2; which++)
        for (int lane = 0; lane < 8; lane++) rows[which * channels + lane] = sums.of[which][lane];
}

#define SLICES                                                                                                   \
    count groups = size.channels / 8;                                                                            \
    EACH(index, size.slices * groups)                                                                            \
    for (count channel = index % groups * 8, slice = index / groups, once = 1; once; once = 0)

// Sums over every `parts`th slice.
KERNEL(part_sums, Sizes) {
    count columns = 2 * size.channels;
    EACH(index, size.parts * columns) {
        double sum = 0.0;
        // Many loads on their way at a time: there are few threads.
#pragma unroll 16
        for (count slice = index / columns; slice < size.slices; slice += size.parts)
            sum += NUMBERS(first)[(place)slice * columns + index % columns];
        static_cast<float *>(to)[index] = (float)sum;
    }
}

// The sums of a channel over all parts.
__device__ __forceinline__ void sums_of(const void *parts, count channel, Sizes size, double *sums) {
    sums[0] = sums[1] = 0.0;
#pragma unroll 8
    for (count part = 0; part < size.parts; part++)
        for (int which = 0; which < 2; which++) sums[which] += NUMBERS(parts)[(part * 2 + which) * size.channels + channel];
}

// The larger one; what is no number wins.
__device__ __forceinline__ bool wins(float value, float most) { return value > most || value != value; }

// Maximum of 2×2 squares.
KERNEL(max_pool, Sizes) {
    count groups = size.channels / 8, half_width = size.width / 2;
    EACH(index, pixels_of(size) / 4 * groups) {
        count channel = index % groups * 8, square = index / groups;
        place start = (place)(square / half_width) * 2 * size.width + square % half_width * 2;
        Lanes most = *lanes(MAPS(first), start * size.channels + channel);
        for (int corner = 1; corner < 4; corner++) {
            Lanes found = *lanes(MAPS(first), (start + corner / 2 * size.width + corner % 2) * size.channels + channel);
            for (int lane = 0; lane < 8; lane++)
                if (wins(wide(found.of[lane]), wide(most.of[lane]))) most.of[lane] = found.of[lane];
        }
        *lanes(static_cast<brain *>(to), (place)index * 8) = most;
    }
}

// Gradient of what was pooled: that of the maxima, in `second`, goes to the first of the largest; the gradient in `third`, if there
// is one, is added.
KERNEL(max_pool_gradient, Sizes) {
    count groups = size.channels / 8, half_width = size.width / 2;
    EACH(index, pixels_of(size) / 4 * groups) {
        count channel = index % groups * 8, square = index / groups;
        place start = (place)(square / half_width) * 2 * size.width + square % half_width * 2;
        Lanes found[4], gradient = *lanes(MAPS(second), (place)index * 8);
        for (int corner = 0; corner < 4; corner++)
            found[corner] = *lanes(MAPS(first), (start + corner / 2 * size.width + corner % 2) * size.channels + channel);
        int best[8];
        for (int lane = 0; lane < 8; lane++) {
            float most = wide(found[0].of[lane]);
            best[lane] = 0;
            for (int corner = 1; corner < 4; corner++) {
                float value = wide(found[corner].of[lane]);
                if (value > most) {
                    most = value;
                    best[lane] = corner;
                }
            }
        }
        for (int corner = 0; corner < 4; corner++) {
            place pixel = start + corner / 2 * size.width + corner % 2;
            Lanes result = {{0, 0, 0, 0, 0, 0, 0, 0}};
            if (third) result = gradient_of(third, pixel, channel, size);
            for (int lane = 0; lane < 8; lane++)
                if (best[lane] == corner) result.of[lane] = narrow(wide(result.of[lane]) + wide(gradient.of[lane]));
            *lanes(static_cast<brain *>(to), pixel * size.channels + channel) = result;
        }
    }
}

// Maps with the `channels` channels of `first`, then the others of `second`, `pitch` in all.
KERNEL(join, Sizes) {
    count groups = size.pitch / 8;
    EACH(index, pixels_of(size) * groups) {
        count channel = index % groups * 8, others = size.pitch - size.channels;
        place pixel = index / groups;
        *lanes(static_cast<brain *>(to), (place)index * 8) = channel < size.channels
            ? *lanes(MAPS(first), pixel * size.channels + channel)
            : *lanes(MAPS(second), pixel * others + channel - size.channels);
    }
}

// Between which two of `extent` values, and how far from the first one, value `at` of twice as many lies, corners aligned.
struct Between {
    count low;
    float share;
};

__device__ __forceinline__ Between between(count at, count extent) {
    if (extent < 2) return {0, 0.0f};
    float where = (float)at * ((float)(extent - 1) / (float)(2 * extent - 1));
    count low = (count)where < extent - 2 ? (count)where : extent - 2;
    return {low, where - (float)low};
}

// Twice the size by bilinear interpolation, corners aligned.
KERNEL(interpolate, Sizes) {
    count groups = size.channels / 8, twice = 2 * size.width;
    EACH(index, 4 * pixels_of(size) * groups) {
        count channel = index % groups * 8, pixel = index / groups, line = pixel / twice;
        Between down = between(line % (2 * size.height), size.height), across = between(pixel % twice, size.width);
        place above = ((place)(line / (2 * size.height)) * size.height + down.low) * size.width + across.low;
        place below = above + (size.height > 1 ? size.width : 0);
        count right = size.width > 1 ? 1 : 0;
        Lanes a = *lanes(MAPS(first), above * size.channels + channel), b = *lanes(MAPS(first), (above + right) * size.channels + channel);
        Lanes c = *lanes(MAPS(first), below * size.channels + channel), d = *lanes(MAPS(first), (below + right) * size.channels + channel);
        Lanes result;
        for (int lane = 0; lane < 8; lane++) {
            float upper = wide(a.of[lane]) * (1.0f - across.share) + wide(b.of[lane]) * across.share;
            float lower = wide(c.of[lane]) * (1.0f - across.share) + wide(d.of[lane]) * across.share;
            result.of[lane] = narrow(upper * (1.0f - down.share) + lower * down.share);
        }
        *lanes(static_cast<brain *>(to), (place)index * 8) = result;
    }
}

// How much of value `at` of twice `extent` comes from value `from`.
__device__ __forceinline__ float share_of(count from, count at, count extent) {
    Between found = between(at, extent);
    return from == found.low ? 1.0f - found.share : from == found.low + 1 ? found.share : 0.0f;
}

// The first of the at most seven values of twice `extent` that may come from value `from`.
__device__ __forceinline__ count reach(count from) { return from < 2 ? 0 : 2 * from - 3; }

// Gradient of what was interpolated: each value gathers from the ones it went into.
KERNEL(interpolate_gradient, Sizes) {
    count groups = size.channels / 8;
    EACH(index, pixels_of(size) * groups) {
        count channel = index % groups * 8, pixel = index / groups, line = pixel / size.width;
        count column = pixel % size.width, row = line % size.height;
        place map = (place)(line / size.height) * 4 * size.height * size.width;
        float sums[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
        for (count at = reach(row); at < 2 * size.height && at < reach(row) + 7; at++) {
            float down = share_of(row, at, size.height);
            if (down == 0.0f) continue;
            for (count next = reach(column); next < 2 * size.width && next < reach(column) + 7; next++) {
                float share = down * share_of(column, next, size.width);
                if (share == 0.0f) continue;
                Lanes found = gradient_of(first, map + (place)at * 2 * size.width + next, channel, size);
                for (int lane = 0; lane < 8; lane++) sums[lane] += share * wide(found.of[lane]);
            }
        }
        Lanes result;
        for (int lane = 0; lane < 8; lane++) result.of[lane] = narrow(sums[lane]);
        *lanes(static_cast<brain *>(to), (place)index * 8) = result;
    }
}

// Of a pixel at twice the size, the place of its channels among those of four pixels, line by line.
__device__ __forceinline__ place square_of(count pixel, count channel, Sizes size) {
    count twice = 2 * size.width, line = pixel / twice, map = line / (2 * size.height);
    count x = pixel % twice, y = line % (2 * size.height);
    place square = ((place)map * size.height + y / 2) * size.width + x / 2;
    return (square * 4 + y % 2 * 2 + x % 2) * size.channels + channel;
}

// Pixels of four times `channels` values, four pixels each, at twice the size, and a bias.
KERNEL(interleave, Sizes) {
    count groups = size.channels / 8;
    EACH(index, 4 * pixels_of(size) * groups) {
        count channel = index % groups * 8;
        Eight bias = eight(NUMBERS(second), channel);
        Lanes found = *lanes(MAPS(first), square_of(index / groups, channel, size)), result;
        for (int lane = 0; lane < 8; lane++) result.of[lane] = narrow(wide(found.of[lane]) + at(bias, lane));
        *lanes(static_cast<brain *>(to), (place)index * 8) = result;
    }
}

// The other way round, of gradients.
KERNEL(gather_squares, Sizes) {
    count groups = size.channels / 8;
    EACH(index, 4 * pixels_of(size) * groups) {
        count channel = index % groups * 8, pixel = index / groups;
        *lanes(static_cast<brain *>(to), square_of(pixel, channel, size)) = gradient_of(first, pixel, channel, size);
    }
}

// Sums of gradients, and nothing.
KERNEL(gradient_slices, Sizes) {
    SLICES {
        Sums sums = {};
        for (count pixel = slice; pixel < pixels_of(size); pixel += size.slices) {
            Lanes gradient = gradient_of(first, pixel, channel, size);
            for (int lane = 0; lane < 8; lane++) sums.of[0][lane] += wide(gradient.of[lane]);
        }
        put(sums, to, slice, channel, size.channels);
    }
}

// Sums of all channels, in two rows.
KERNEL(channel_sums, Sizes) {
    EACH(c, size.channels) {
        double sums[2];
        sums_of(first, c, size, sums);
        for (int which = 0; which < 2; which++) static_cast<float *>(to)[which * size.channels + c] = (float)sums[which];
    }
}

// Logits of every pixel.
KERNEL(head, Sizes) {
    EACH(pixel, pixels_of(size)) {
        float logit = NUMBERS(third)[0];
        for (count channel = 0; channel < size.channels; channel += 8) {
            Lanes found = *lanes(MAPS(first), (place)pixel * size.channels + channel);
            Eight weight = eight(NUMBERS(second), channel);
            for (int lane = 0; lane < 8; lane++) logit += wide(found.of[lane]) * at(weight, lane);
        }
        static_cast<float *>(to)[pixel] = logit;
    }
}

// Gradient of what logits came from, from theirs.
KERNEL(head_gradient, Sizes) {
    count groups = size.channels / 8;
    EACH(index, pixels_of(size) * groups) {
        Eight weight = eight(NUMBERS(second), index % groups * 8);
        float gradient = NUMBERS(first)[index / groups];
        Lanes result;
        for (int lane = 0; lane < 8; lane++) result.of[lane] = narrow(gradient * at(weight, lane));
        *lanes(static_cast<brain *>(to), (place)index * 8) = result;
    }
}

// Sums of the products of values with the gradients of their logits, and of these.
KERNEL(head_slices, Sizes) {
    SLICES {
        Sums sums = {};
        for (count pixel = slice; pixel < pixels_of(size); pixel += size.slices) {
            Lanes found = *lanes(MAPS(first), (place)pixel * size.channels + channel);
            float gradient = NUMBERS(second)[pixel];
            for (int lane = 0; lane < 8; lane++) {
                sums.of[0][lane] += wide(found.of[lane]) * gradient;
                sums.of[1][lane] += gradient;
            }
        }
        put(sums, to, slice, channel, size.channels);
    }
}
