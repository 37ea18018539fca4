// What cuDNN has no fused operator for: the first and the last layer of a U-Net, and what lies between its
// convolutions. Each thread takes eight channels of a pixel, or of four where all of them want the same weights: sides are a multiple
// of four. Whichever kernel reads or writes numbers beyond their range marks their tile in `unsound`.

struct __align__(16) Weights {
    float of[8];
};

// The larger one; what is no number wins.
__device__ __forceinline__ float larger(float a, float b) { return a > b || a != a ? a : b; }

// 3×3 convolution of pictures `[tiles, side, side]` with weights `[3, 3, channels]`, bias and ReLU; marks tiles whose
// pictures are no finite numbers, which the ReLU of cuDNN's convolutions may take for 0.
extern "C" __global__ void first(const float *__restrict__ pictures, const float *__restrict__ weights,
                                 const float *__restrict__ bias, sixteen *__restrict__ to, count *__restrict__ unsound,
                                 count tiles, count side, count channels) {
    count groups = channels / 8;
    EACH(index, tiles * side * side / 4 * groups) {
        count channel = index % groups * 8, pixel = index / groups * 4;
        count line = pixel / side, number = line / side;
        int x = (int)(pixel % side), y = (int)(line % side);
        const float *tile = pictures + (place)number * side * side;
        float sums[4][8];
        for (int at = 0; at < 4; at++)
            for (int lane = 0; lane < 8; lane++) sums[at][lane] = bias[channel + lane];
        for (int down = 0; down < 3; down++) {
            int row = y + down - 1;
            if (row < 0 || row >= (int)side) continue;
            float values[6];
            for (int across = 0; across < 6; across++) {
                int column = x + across - 1;
                values[across] = column < 0 || column >= (int)side ? 0.0f : tile[row * (int)side + column];
            }
            for (int across = 0; across < 3; across++) {
                Weights weight = *reinterpret_cast<const Weights *>(weights + (down * 3 + across) * channels + channel);
                for (int at = 0; at < 4; at++)
                    for (int lane = 0; lane < 8; lane++) sums[at][lane] += values[at + across] * weight.of[lane];
            }
        }
        // Nothing times what is no finite number is none.
        float nothing = 0.0f;
        for (int at = 0; at < 4; at++) {
            Lanes result;
            for (int lane = 0; lane < 8; lane++) {
                nothing += 0.0f * sums[at][lane];
                result.of[lane] = narrow(sums[at][lane] < 0.0f ? 0.0f : sums[at][lane]);
            }
            if (beyond(result)) unsound[number] = 1;
            *lanes(to, (place)(pixel + at) * channels + channel) = result;
        }
        if (nothing != 0.0f) unsound[number] = 1;
    }
}

// Maximum of 2×2 squares of maps of `side`, and a copy of them into the first channels of `copy`, which has
// `copy_channels`.
extern "C" __global__ void pool(const sixteen *__restrict__ from, sixteen *__restrict__ to, sixteen *__restrict__ copy,
                                count *__restrict__ unsound, count tiles, count side, count channels, count copy_channels) {
    count groups = channels / 8, half = side / 2;
    EACH(index, tiles * half * half * groups) {
        count channel = index % groups * 8, square = index / groups;
        count line = square / half, tile = line / half;
        count x = square % half * 2, y = line % half * 2;
        Lanes most;
        for (int corner = 0; corner < 4; corner++) {
            place pixel = (tile * side + y + corner / 2) * side + x + corner % 2;
            Lanes found = *lanes(from, pixel * channels + channel);
            *lanes(copy, pixel * copy_channels + channel) = found;
            if (beyond(found)) unsound[tile] = 1;
            for (int lane = 0; lane < 8; lane++)
                most.of[lane] = corner ? narrow(larger(wide(most.of[lane]), wide(found.of[lane]))) : found.of[lane];
        }
        *lanes(to, (place)square * channels + channel) = most;
    }
}

// Maps of `side` at twice the size by bilinear interpolation, corners aligned, into the channels of `to` from
// `first_channel` on.
extern "C" __global__ void interpolate(const sixteen *__restrict__ from, sixteen *__restrict__ to, count *__restrict__ unsound,
                                       count tiles, count side, count channels, count to_channels, count first_channel) {
    count groups = channels / 8, twice = side * 2;
    float step = (float)(side - 1) / (float)(twice - 1);
    EACH(index, tiles * twice * twice * groups) {
        count channel = index % groups * 8, pixel = index / groups;
        count line = pixel / twice;
        float x = (float)(pixel % twice) * step, y = (float)(line % twice) * step;
        place left = (place)x, top = (place)y, tile = line / twice;
        place right = left + 1 < side ? left + 1 : left, bottom = top + 1 < side ? top + 1 : top;
        float across = x - (float)left, down = y - (float)top;
        Lanes a = *lanes(from, ((tile * side + top) * side + left) * channels + channel);
        Lanes b = *lanes(from, ((tile * side + top) * side + right) * channels + channel);
        Lanes c = *lanes(from, ((tile * side + bottom) * side + left) * channels + channel);
        Lanes d = *lanes(from, ((tile * side + bottom) * side + right) * channels + channel);
        Lanes result;
        for (int lane = 0; lane < 8; lane++) {
            float above = wide(a.of[lane]) * (1.0f - across) + wide(b.of[lane]) * across;
            float below = wide(c.of[lane]) * (1.0f - across) + wide(d.of[lane]) * across;
            result.of[lane] = narrow(above * (1.0f - down) + below * down);
        }
        if (beyond(result)) unsound[tile] = 1;
        *lanes(to, (place)pixel * to_channels + first_channel + channel) = result;
    }
}

// Pixels of `4 * channels` values, four pixels each, line by line, at twice the size of `side`, into the channels of
// `to` from `first_channel` on.
extern "C" __global__ void interleave(const sixteen *__restrict__ from, sixteen *__restrict__ to, count *__restrict__ unsound,
                                      count tiles, count side, count channels, count to_channels, count first_channel) {
    count groups = channels / 8, twice = side * 2;
    EACH(index, tiles * twice * twice * groups) {
        count channel = index % groups * 8, pixel = index / groups;
        count line = pixel / twice, tile = line / twice;
        count x = pixel % twice, y = line % twice;
        place square = (tile * side + y / 2) * side + x / 2;
        Lanes found = *lanes(from, (square * 4 + y % 2 * 2 + x % 2) * channels + channel);
        if (beyond(found)) unsound[tile] = 1;
        *lanes(to, (place)pixel * to_channels + first_channel + channel) = found;
    }
}

// Only marks tiles: for maps that no other kernel of these reads.
extern "C" __global__ void look(const sixteen *__restrict__ from, count *__restrict__ unsound, count tiles, count side, count channels) {
    count groups = side * side * (channels / 8);
    EACH(index, tiles * groups) {
        if (beyond(*lanes(from, (place)index * 8))) unsound[index / groups] = 1;
    }
}

// Logits of every pixel, their probabilities as 255ths, and a mark at each tile that has a logit which is no finite number.
extern "C" __global__ void head(const sixteen *__restrict__ from, const float *__restrict__ weights, float bias,
                                float *__restrict__ logits, unsigned char *__restrict__ probabilities,
                                count *__restrict__ unsound, count tiles, count side, count channels) {
    count plane = side * side;
    EACH(pixel, plane * tiles) {
        float logit = bias;
        for (count channel = 0; channel < channels; channel += 8) {
            Lanes found = *lanes(from, (place)pixel * channels + channel);
            if (beyond(found)) unsound[pixel / plane] = 1;
            for (int lane = 0; lane < 8; lane++) logit += wide(found.of[lane]) * weights[channel + lane];
        }
        logits[pixel] = logit;
        // Less than infinity; of what is no number that is not true.
        if (!(fabsf(logit) <= 3.4028235e38f)) unsound[pixel / plane] = 1;
        float share = 255.0f / (1.0f + expf(-logit));
        probabilities[pixel] = logit != logit ? 0 : (unsigned char)(share + 0.5f);
    }
}
