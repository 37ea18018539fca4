// What training does between its convolutions, there and back. Maps are planes of `f32` in NCHW order, those of a picture's
// channels one after the other.

#define EPSILON 1e-5f

// Of `x` and, where another size comes out, of that; slices are of a plane, for sums.
struct Sizes {
    count planes, channels, height, width, to_height, to_width, slices;
};

#define OPERATOR(name)                                                                                                      \
    extern "C" __global__ void name(const float *__restrict__ x, const float *__restrict__ other, const float *__restrict__ norm, \
                                    float *__restrict__ to, Sizes size)

// What a value of channel `c` is normalised by and becomes. `norm` holds the means, variances, gains and offsets of all channels,
// then the gradients of offsets and gains.
struct Norm {
    float mean, inverse_deviation, gain, offset;
};

__device__ __forceinline__ Norm norm_of(const float *norm, count c, count channels) {
    return {norm[c], 1.0f / sqrtf(norm[channels + c] + EPSILON), norm[2 * channels + c], norm[3 * channels + c]};
}

__device__ __forceinline__ float normalised(Norm norm, float value) { return (value - norm.mean) * norm.inverse_deviation; }

// Batch norm and ReLU; what is no number stays none.
OPERATOR(norm_relu) {
    count pixels = size.height * size.width;
    EACH(index, size.planes * pixels) {
        Norm by = norm_of(norm, index / pixels % size.channels, size.channels);
        float value = normalised(by, x[index]) * by.gain + by.offset;
        to[index] = value < 0.0f ? 0.0f : value;
    }
}

// For each of a plane's slices (every `slices`th pixel) the sum of what its values are more than the channel's first one, and
// of the squares of that: near the mean, or the squares would lose their digits.
OPERATOR(plane_moments) {
    count pixels = size.height * size.width;
    EACH(index, size.planes * size.slices) {
        count plane = index / size.slices;
        const float *values = x + (place)plane * pixels;
        float origin = x[(place)(plane % size.channels) * pixels], sum = 0.0f, squares = 0.0f;
        for (count pixel = index % size.slices; pixel < pixels; pixel += size.slices) {
            float beyond = values[pixel] - origin;
            sum += beyond;
            squares += beyond * beyond;
        }
        to[2 * (place)index] = sum;
        to[2 * (place)index + 1] = squares;
    }
}

// Of each channel's slices so many sums, so that no thread has many to add.
#define PARTS 64

// Sums of both numbers of every `PARTS`th slice of a channel.
OPERATOR(part_sums) {
    count held = size.planes / size.channels * size.slices;
    EACH(index, size.channels * PARTS) {
        count c = index / PARTS;
        double sum = 0.0, other_sum = 0.0;
        for (count at = index % PARTS; at < held; at += PARTS) {
            place slice = (place)(at / size.slices * size.channels + c) * size.slices + at % size.slices;
            sum += x[2 * slice];
            other_sum += x[2 * slice + 1];
        }
        to[2 * (place)index] = (float)sum;
        to[2 * (place)index + 1] = (float)other_sum;
    }
}

// Sums of both numbers of a channel's parts.
__device__ __forceinline__ void sums_of(const float *parts, count c, double *sums) {
    sums[0] = sums[1] = 0.0;
    for (count part = 0; part < PARTS; part++)
        for (int which = 0; which < 2; which++) sums[which] += parts[2 * ((place)c * PARTS + part) + which];
}

// Means of all channels, then their variances, from the parts of what `plane_moments` left, in `other`.
OPERATOR(channel_moments) {
    count pixels = size.height * size.width;
    EACH(c, size.channels) {
        double sums[2], values = (double)(size.planes / size.channels) * pixels;
        sums_of(other, c, sums);
        double beyond = sums[0] / values, variance = sums[1] / values - beyond * beyond;
        to[c] = (float)(x[(place)c * pixels] + beyond);
        to[size.channels + c] = (float)(variance < 0.0 ? 0.0 : variance);
    }
}

// For each slice the sums of the gradients in `other` that pass the ReLU, and of their products with the normalised values.
OPERATOR(norm_slices) {
    count pixels = size.height * size.width;
    EACH(index, size.planes * size.slices) {
        count plane = index / size.slices;
        Norm by = norm_of(norm, plane % size.channels, size.channels);
        const float *values = x + (place)plane * pixels, *gradients = other + (place)plane * pixels;
        float sum = 0.0f, products = 0.0f;
        for (count pixel = index % size.slices; pixel < pixels; pixel += size.slices) {
            float value = normalised(by, values[pixel]);
            if (!(value * by.gain + by.offset > 0.0f)) continue;
            sum += gradients[pixel];
            products += gradients[pixel] * value;
        }
        to[2 * (place)index] = sum;
        to[2 * (place)index + 1] = products;
    }
}

// Gradients of all offsets, then of the gains, from the parts of what `norm_slices` left, in `x`.
OPERATOR(norm_sums) {
    EACH(c, size.channels) {
        double sums[2];
        sums_of(x, c, sums);
        to[c] = (float)sums[0];
        to[size.channels + c] = (float)sums[1];
    }
}

// Gradient of what was normalised, from the gradient in `other`. Where mean and variance came from elsewhere, `norm` holds zeros for
// the gradients of offsets and gains.
OPERATOR(norm_gradient) {
    count channels = size.channels, pixels = size.height * size.width;
    float share = 1.0f / ((float)(size.planes / channels) * (float)pixels);
    EACH(index, size.planes * pixels) {
        count c = index / pixels % channels;
        Norm by = norm_of(norm, c, channels);
        float value = normalised(by, x[index]);
        float passed = value * by.gain + by.offset > 0.0f ? other[index] : 0.0f;
        to[index] = by.gain * by.inverse_deviation * (passed - share * (norm[4 * channels + c] + value * norm[5 * channels + c]));
    }
}

// Maximum of 2×2 squares.
OPERATOR(max_pool) {
    count width = size.width, half_width = width / 2;
    EACH(index, size.planes * (size.height / 2) * half_width) {
        const float *square = x + (place)(index / half_width) * 2 * width + index % half_width * 2;
        float most = square[0];
        for (int corner = 1; corner < 4; corner++) {
            float value = square[corner / 2 * width + corner % 2];
            most = most > value || most != most ? most : value;
        }
        to[index] = most;
    }
}

// Its gradient, in `other`, goes to the first of the largest.
OPERATOR(max_pool_gradient) {
    count width = size.width, half_width = width / 2;
    EACH(index, size.planes * (size.height / 2) * half_width) {
        place start = (place)(index / half_width) * 2 * width + index % half_width * 2;
        int first = 0;
        for (int corner = 1; corner < 4; corner++)
            if (x[start + corner / 2 * width + corner % 2] > x[start + first / 2 * width + first % 2]) first = corner;
        for (int corner = 0; corner < 4; corner++) to[start + corner / 2 * width + corner % 2] = corner == first ? other[index] : 0.0f;
    }
}

// Between which two of `extent` values, and how far from the first one, value `at` of `wanted` lies, corners aligned.
struct Between {
    count low;
    float share;
};

__device__ __forceinline__ Between between(count at, count extent, count wanted) {
    if (extent < 2 || wanted < 2) return {0, 0.0f};
    float where = (float)at * ((float)(extent - 1) / (float)(wanted - 1));
    count low = (count)where < extent - 2 ? (count)where : extent - 2;
    return {low, where - (float)low};
}

// Bilinear interpolation, corners aligned.
OPERATOR(resize) {
    EACH(index, size.planes * size.to_height * size.to_width) {
        count line = index / size.to_width;
        Between down = between(line % size.to_height, size.height, size.to_height);
        Between across = between(index % size.to_width, size.width, size.to_width);
        const float *above = x + ((place)(line / size.to_height) * size.height + down.low) * size.width + across.low;
        const float *below = above + (size.height > 1 ? size.width : 0);
        count right = size.width > 1 ? 1 : 0;
        float upper = above[0] * (1.0f - across.share) + above[right] * across.share;
        float lower = below[0] * (1.0f - across.share) + below[right] * across.share;
        to[index] = upper * (1.0f - down.share) + lower * down.share;
    }
}

// How much of value `at` of `wanted` comes from value `from` of `extent`.
__device__ __forceinline__ float share_of(count from, count at, count extent, count wanted) {
    Between found = between(at, extent, wanted);
    return from == found.low ? 1.0f - found.share : from == found.low + 1 ? found.share : 0.0f;
}

// The values of `wanted` that may come from value `from` of `extent`, a few more at either end.
struct Reach {
    count first, end;
};

__device__ __forceinline__ Reach reach(count from, count extent, count wanted) {
    if (extent < 2 || wanted < 2) return {0, wanted};
    float step = (float)(extent - 1) / (float)(wanted - 1);
    float first = ((float)from - 1.0f) / step - 1.0f, end = ((float)from + 1.0f) / step + 2.0f;
    return {first > 0.0f ? (count)first : 0, end < (float)wanted ? (count)end : wanted};
}

// Its gradient, from that in `x`, whose planes are of `to_height` × `to_width`: each value gathers from the ones it went into.
OPERATOR(resize_gradient) {
    EACH(index, size.planes * size.height * size.width) {
        count column = index % size.width, line = index / size.width, row = line % size.height;
        const float *plane = x + (place)(line / size.height) * size.to_height * size.to_width;
        Reach down = reach(row, size.height, size.to_height), across = reach(column, size.width, size.to_width);
        float sum = 0.0f;
        for (count at = down.first; at < down.end; at++) {
            float share = share_of(row, at, size.height, size.to_height);
            if (share == 0.0f) continue;
            for (count next = across.first; next < across.end; next++) {
                float both = share * share_of(column, next, size.width, size.to_width);
                if (both != 0.0f) sum += both * plane[(place)at * size.to_width + next];
            }
        }
        to[index] = sum;
    }
}
