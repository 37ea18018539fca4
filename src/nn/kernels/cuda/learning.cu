// What training does beside the network: the loss and its gradient, the norm of all gradients, and the step along them. Sums are
// in double precision and in an order that depends on sizes alone.

// As `learning.rs` has it; the formulas and their names are those of `loss::terms`.
struct LossTerm {
    double share, crack, background, miss, alarm, gamma, offset;
    count form;
};

#define FOCAL 1
#define LOG_POWER 2

struct Pixel {
    double p, q, ln_p, ln_q;
    bool crack;
};

__device__ __forceinline__ Pixel pixel_of(float logit, float label) {
    double x = logit, size = fabs(x), small = exp(-size);
    double ln_larger = -log1p(small), larger = 1.0 / (1.0 + small), ln_smaller = ln_larger - size, smaller = small * larger;
    bool crack = label >= 0.5f;
    if (x >= 0.0) return {larger, smaller, ln_larger, ln_smaller, crack};
    return {smaller, larger, ln_smaller, ln_larger, crack};
}

// A pixel's part of the loss and its derivative by the logit.
struct Part {
    double value, slope;
};

__device__ __forceinline__ Part part_of(Pixel at, LossTerm term) {
    if (term.form != FOCAL && term.form != LOG_POWER) return {0.0, 0.0};
    bool found = at.p >= 0.5;
    double weight = term.share * (at.crack ? term.crack * (found ? 1.0 : term.miss) : term.background * (found ? term.alarm : 1.0));
    double error = at.crack ? at.q : at.p, truth = at.crack ? at.p : at.q, sign = at.crack ? -1.0 : 1.0;
    double ln_error = at.crack ? at.ln_q : at.ln_p, ln_truth = at.crack ? at.ln_p : at.ln_q;
    if (term.form == FOCAL) {
        double focus = term.gamma == 0.0 ? weight : weight * exp(term.gamma * ln_error);
        return {-focus * ln_truth, sign * focus * (error - term.gamma * truth * ln_truth)};
    }
    if (term.gamma == 1.0) return {-weight * ln_truth, sign * weight * error};
    double base = -ln_truth + term.offset;
    return {weight * pow(base, term.gamma), sign * weight * term.gamma * pow(base, term.gamma - 1.0) * error};
}

// For each slice, every `slices`th pixel: the sums of the parts, of TP, of FP and of FN.
extern "C" __global__ void loss_sums(const float *__restrict__ logits, const float *__restrict__ labels, double *__restrict__ to,
                                     LossTerm term, count pixels, count slices) {
    EACH(slice, slices) {
        double value = 0.0, hits = 0.0, alarms = 0.0, misses = 0.0;
        for (count pixel = slice; pixel < pixels; pixel += slices) {
            Pixel at = pixel_of(logits[pixel], labels[pixel]);
            value += part_of(at, term).value;
            if (at.crack) {
                hits += at.p;
                misses += at.q;
            } else {
                alarms += at.p;
            }
        }
        double *sums = to + 4 * (place)slice;
        sums[0] = value;
        sums[1] = hits;
        sums[2] = alarms;
        sums[3] = misses;
    }
}

// The gradient, with that of the whole batch's part by the probabilities of crack and of background pixels.
extern "C" __global__ void loss_gradient(const float *__restrict__ logits, const float *__restrict__ labels, float *__restrict__ to,
                                         LossTerm term, double by_crack, double by_background, count pixels) {
    EACH(pixel, pixels) {
        Pixel at = pixel_of(logits[pixel], labels[pixel]);
        to[pixel] = (float)(part_of(at, term).slope + at.p * at.q * (at.crack ? by_crack : by_background));
    }
}

// The sum of the squares in each slice, every `slices`th value.
extern "C" __global__ void squares(const float *__restrict__ values, double *__restrict__ to, count held, count slices) {
    EACH(slice, slices) {
        double sum = 0.0;
        for (place at = slice; at < held; at += slices) sum += (double)values[at] * (double)values[at];
        to[slice] = sum;
    }
}

// Of each row of slices the sums of every `parts`th.
extern "C" __global__ void fold(const double *__restrict__ rows, double *__restrict__ to, count held, count slices, count parts) {
    EACH(index, held * parts) {
        double sum = 0.0;
        for (count slice = index % parts; slice < slices; slice += parts) sum += rows[(place)(index / parts) * slices + slice];
        to[index] = sum;
    }
}

// As `learning.rs` has it.
struct Descent {
    float rate, momentum, decay, scale;
    count nesterov;
};

__device__ __forceinline__ float pull(float gradient, float weight, Descent by) { return gradient * by.scale + weight * by.decay; }

// The velocity that the gradients give.
extern "C" __global__ void accelerate(float *__restrict__ velocity, const float *__restrict__ weights,
                                      const float *__restrict__ gradient, Descent by, count held) {
    EACH(at, held) { velocity[at] = velocity[at] * by.momentum + pull(gradient[at], weights[at], by); }
}

// A step with that velocity.
extern "C" __global__ void step(float *__restrict__ weights, const float *__restrict__ velocity, const float *__restrict__ gradient,
                                Descent by, count held) {
    EACH(at, held) {
        float way = velocity[at];
        if (by.nesterov) way = pull(gradient[at], weights[at], by) + way * by.momentum;
        weights[at] -= way * by.rate;
    }
}
