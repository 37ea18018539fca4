// Batch norm with ReLU, there and back.

// Sums of what values are more than their channel's first one, and of the squares of that: near the mean, or the squares would lose
// their digits.
KERNEL(moment_slices, Sizes) {
    SLICES {
        Lanes origin = *lanes(MAPS(first), channel);
        Sums sums = {};
        for (count pixel = slice; pixel < pixels_of(size); pixel += size.slices) {
            Lanes found = *lanes(MAPS(first), (place)pixel * size.channels + channel);
            for (int lane = 0; lane < 8; lane++) {
                float beyond = wide(found.of[lane]) - wide(origin.of[lane]);
                sums.of[0][lane] += beyond;
                sums.of[1][lane] += beyond * beyond;
            }
        }
        put(sums, to, slice, channel, size.channels);
    }
}

#define EPSILON 1e-5
#define MOMENTUM 0.1

// Rows of what channels are normalised by: means, inverse deviations, factors and summands for `x * factor + summand`, then the
// running means and variances that follow. From maps, the parts of `moment_slices`, gains, offsets, running means and variances.
KERNEL(norm_of_batch, Sizes) {
    EACH(c, size.channels) {
        double sums[2], values = (double)pixels_of(size);
        sums_of(second, c, size, sums);
        double beyond = sums[0] / values, variance = sums[1] / values - beyond * beyond, mean = wide(MAPS(first)[c]) + beyond;
        variance = variance < 0.0 ? 0.0 : variance;
        float inverse = (float)(1.0 / sqrt(variance + EPSILON)), factor = NUMBERS(third)[c] * inverse;
        float rows[6] = {
            (float)mean, inverse, factor, NUMBERS(fourth)[c] - factor * (float)mean,
            (float)(NUMBERS(fifth)[c] * (1.0 - MOMENTUM) + mean * MOMENTUM),
            (float)(NUMBERS(sixth)[c] * (1.0 - MOMENTUM) + variance * MOMENTUM * (values / (values > 2.0 ? values - 1.0 : 1.0))),
        };
        for (int row = 0; row < 6; row++) static_cast<float *>(to)[row * size.channels + c] = rows[row];
    }
}

// Normalised maps, and ReLU; what is no number stays none.
KERNEL(norm_relu, Sizes) {
    count groups = size.channels / 8;
    EACH(index, pixels_of(size) * groups) {
        count channel = index % groups * 8;
        Eight factor = eight(NUMBERS(second) + 2 * size.channels, channel), summand = eight(NUMBERS(second) + 3 * size.channels, channel);
        Lanes found = *lanes(MAPS(first), (place)index * 8), result;
        for (int lane = 0; lane < 8; lane++) {
            float value = wide(found.of[lane]) * at(factor, lane) + at(summand, lane);
            result.of[lane] = narrow(value < 0.0f ? 0.0f : value);
        }
        *lanes(static_cast<brain *>(to), (place)index * 8) = result;
    }
}

// Of normalised values with the gradient `second`, the sums of the gradients that pass the ReLU, and of their products with what
// the values before were more than the mean.
KERNEL(norm_slices, Sizes) {
    SLICES {
        const float *norm = NUMBERS(third) + channel;
        Eight mean = eight(norm, 0), factor = eight(norm + 2 * size.channels, 0), summand = eight(norm + 3 * size.channels, 0);
        Sums sums = {};
        for (count pixel = slice; pixel < pixels_of(size); pixel += size.slices) {
            Lanes found = *lanes(MAPS(first), (place)pixel * size.channels + channel);
            Lanes gradient = gradient_of(second, pixel, channel, size);
            for (int lane = 0; lane < 8; lane++) {
                float value = wide(found.of[lane]);
                float passed = value * at(factor, lane) + at(summand, lane) > 0.0f ? wide(gradient.of[lane]) : 0.0f;
                sums.of[0][lane] += passed;
                sums.of[1][lane] += passed * (value - at(mean, lane));
            }
        }
        put(sums, to, slice, channel, size.channels);
    }
}

// Rows of gradients of offsets and gains, then factors and summands of the values before in their own gradient. From the parts of
// `norm_slices` and the rows of `norm_of_batch`.
KERNEL(norm_sums, Sizes) {
    EACH(c, size.channels) {
        double sums[2], values = (double)pixels_of(size);
        sums_of(first, c, size, sums);
        const float *norm = NUMBERS(second) + c;
        double mean = norm[0], inverse = norm[size.channels], factor = norm[2 * size.channels];
        double slope = sums[1] * inverse, by_value = -factor * inverse * slope / values;
        float rows[4] = {(float)sums[0], (float)slope, (float)by_value, (float)(-factor * sums[0] / values - by_value * mean)};
        for (int row = 0; row < 4; row++) static_cast<float *>(to)[row * size.channels + c] = rows[row];
    }
}

// Gradient of the values before: from them, the gradient of what became of them, and the rows of `norm_of_batch` and `norm_sums`.
KERNEL(norm_gradient, Sizes) {
    count groups = size.channels / 8;
    EACH(index, pixels_of(size) * groups) {
        count channel = index % groups * 8, pixel = index / groups;
        const float *norm = NUMBERS(third) + channel, *sums = NUMBERS(fourth) + channel;
        Eight factor = eight(norm + 2 * size.channels, 0), summand = eight(norm + 3 * size.channels, 0);
        Eight by_value = eight(sums + 2 * size.channels, 0), constant = eight(sums + 3 * size.channels, 0);
        Lanes found = *lanes(MAPS(first), (place)index * 8), gradient = gradient_of(second, pixel, channel, size), result;
        for (int lane = 0; lane < 8; lane++) {
            float value = wide(found.of[lane]);
            float passed = value * at(factor, lane) + at(summand, lane) > 0.0f ? wide(gradient.of[lane]) : 0.0f;
            result.of[lane] = narrow(at(factor, lane) * passed + value * at(by_value, lane) + at(constant, lane));
        }
        *lanes(static_cast<brain *>(to), (place)index * 8) = result;
    }
}
