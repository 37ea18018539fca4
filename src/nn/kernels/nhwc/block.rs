//! Two convolutions with what comes before and after them, as one pass over the picture.
//!
//! A task takes a band of lines and goes down it a few lines at a time: what one step puts out the next one finds in the
//! cache. Lines that two bands need are computed by both. Where the weights are too large for that, or the picture too
//! small, every step is done for the whole picture, shared out so that each weight is read by as few cores as may be. Neither
//! changes any result: bands begin where the strips of [`super::winograd`] do.

use super::buffer::Buffer;
use super::filter::{Filter, Input, LARGE, Method, Place, Work};
use super::format::{Format, Single};
use super::layers::{Convolution, Raised, Raising, raise};
use super::map::{Map, View};
use super::multiply::{Multiply, line_tasks};
use super::product::{Product, Sources};
use super::resize::{Head, Pool, Raise};
use super::winograd;
use crate::nn::kernels::isa::Isa;
use crate::nn::kernels::simd::dispatch_on;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// Lines kept beside those of a step of what is between two. At a band's first step what is raised reaches from four lines
/// above it to two below; the rest is room.
const AROUND: usize = 8;

/// What a block reads.
pub(in crate::nn) enum Source<'a, F: Format> {
    Picture(&'a Map<Single>),
    Map(&'a Map<F>),
    /// What the encoder left, and what comes from below.
    Joined(&'a Map<F>, &'a Map<F>),
}

/// What a block leaves.
pub(in crate::nn) struct Sinks<'a, F: Format> {
    /// Its result.
    pub map: Option<&'a mut Map<F>>,
    /// Its result's maxima of 2×2 pixels.
    pub pooled: Option<&'a mut Map<F>>,
    /// The last layer.
    pub logits: Option<Logits<'a>>,
}

/// A 1×1 convolution to one `f32` a pixel.
pub(in crate::nn) struct Logits<'a> {
    /// One a channel, and zeros up to a whole vector.
    pub weights: &'a [f32],
    pub bias: f32,
    /// Its result, line by line.
    pub to: &'a mut [f32],
}

/// A block ready to run on maps of one size. A clone has the same weights, and memory of its own for another picture at the same time.
#[derive(Clone)]
pub(in crate::nn) struct Block<F: Multiply> {
    packed: Arc<Packed<F>>,
    way: Way<F>,
}

/// The weights of a block, packed, and the size of its maps.
struct Packed<F: Multiply> {
    isa: Isa,
    h: usize,
    w: usize,
    first: Filter<F>,
    second: Filter<F>,
    raised: Option<Raised<F>>,
}

/// How a block goes through a picture.
#[derive(Clone)]
enum Way<F: Format> {
    /// So many lines at a time down bands. Memory is each thread's, for the blocks of all pictures: a thread is in one band at a time.
    Bands { step: usize, scratch: Arc<[Mutex<Scratch<F>>]> },
    /// Each step for the whole picture.
    Whole(Box<Scratch<F>>),
}

#[derive(Clone)]
struct Scratch<F: Format> {
    raised: Option<Map<F>>,
    middle: Map<F>,
    /// The result; made when it is first wanted, by the thread that wants it, since most blocks are given a map for it.
    output: Option<Map<F>>,
    blended: Vec<f32>,
    /// Of a convolution that is done for the whole picture.
    room: Buffer<f32>,
}

/// The maps that a block is given.
#[derive(Clone, Copy)]
struct Given<F: Format> {
    picture: Option<View<Single>>,
    /// The first source and, for a joined one, what comes from below.
    input: Option<View<F>>,
    below: Option<View<F>>,
    output: Option<View<F>>,
    pooled: Option<View<F>>,
}

/// The maps of a run.
#[derive(Clone, Copy)]
struct Views<F: Format> {
    given: Given<F>,
    raised: Option<View<F>>,
    middle: View<F>,
    output: View<F>,
}

impl<F: Format> Given<F> {
    /// Completed by maps that are kept for what is between two convolutions, and for a result of so many channels that is not asked
    /// for.
    fn with(self, scratch: &mut Scratch<F>, outputs: usize) -> Views<F> {
        let Scratch { raised, middle, output, .. } = scratch;
        Views {
            given: self,
            raised: raised.as_mut().map(Map::view_mut),
            output: self.output.unwrap_or_else(|| output.get_or_insert_with(|| middle.like(outputs)).view_mut()),
            middle: middle.view_mut(),
        }
    }
}

impl<F: Multiply> Block<F> {
    /// Packs the weights for pictures of `h × w`, on the current rayon pool. `joined` tells how what comes from below is
    /// raised and how many channels the encoder left.
    pub fn new(
        isa: Isa,
        method: Method,
        [h, w]: [usize; 2],
        convolutions: [&Convolution; 2],
        joined: Option<(&Raising, usize, usize)>,
        threads: usize,
    ) -> Self {
        assert!(isa.is_here() && isa >= F::NEEDS, "{isa} is not here or cannot multiply this format");
        let [a, b] = convolutions;
        let (raised, sources) = match joined {
            None => (None, vec![a.inputs]),
            Some((raising, skip, below)) => (Some(raise::<F>(F::order(isa), raising, [h / 2, w / 2], below)), vec![skip, a.inputs - skip]),
        };
        let zero = joined.map_or(0, |(raising, ..)| raising.zero());
        let of_first = Sources { channels: &sources, zeros: &[0, zero][..sources.len()] };
        let of_second = Sources { channels: &[b.inputs], zeros: &[0] };
        let (first, second) = rayon::join(
            || Filter::<F>::new(method, a, Place { isa, w, sources: of_first, first: true }),
            || Filter::<F>::new(method, b, Place { isa, w, sources: of_second, first: false }),
        );
        let of_raised = if let Some(Raised::Transposed(products)) = &raised { products.iter().map(Product::bytes).sum() } else { 0 };
        let large = first.bytes() + second.bytes() + of_raised >= LARGE;
        let step = first.step(w, large).zip(second.step(w, large)).map(|(a, b)| a.max(b));
        let slots = step.map_or(h, |lines| lines + AROUND);
        let scratch = || Scratch {
            raised: raised.as_ref().map(|_| Map::new(h, w, sources[1], slots).with_zero(zero)),
            middle: Map::new(h, w, a.outputs, slots),
            output: None,
            blended: vec![0.0; (w / 2 + 1) * sources.get(1).unwrap_or(&0) + 16],
            room: Buffer::zeroed(if step.is_none() { first.room(h, w).max(second.room(h, w)) } else { 0 }),
        };
        let way = match step {
            Some(step) => Way::Bands { step, scratch: (0..threads.max(1)).map(|_| Mutex::new(scratch())).collect() },
            None => Way::Whole(Box::new(scratch())),
        };
        Self { packed: Arc::new(Packed { isa, h, w, first, second, raised }), way }
    }

    /// What there is to multiply in a picture, the last layer left out.
    pub fn work(&self) -> Work {
        let Packed { h, w, first, second, raised, .. } = &*self.packed;
        let convolutions = first.work(*h, *w) + second.work(*h, *w);
        let Some(Raised::Transposed(products)) = raised else { return convolutions };
        let of_line = |product: &Product<F::Value>| {
            let multiply_adds = (h / 2 * (w / 2) * product.sources[0] * product.columns) as u64;
            Work { multiply_adds, done: multiply_adds, bytes: product.bytes() as u64 }
        };
        products.iter().map(of_line).fold(convolutions, std::ops::Add::add)
    }

    /// Runs on the current rayon pool, which must not have more threads than the block was made for; `threads` of them are there
    /// for this picture.
    pub fn run(&mut self, source: &Source<F>, sinks: &mut Sinks<F>, threads: usize) {
        let given = self.packed.given(source, sinks);
        match &mut self.way {
            Way::Bands { step, scratch } => self.packed.run_bands(given, *step, scratch, threads, &mut sinks.logits),
            Way::Whole(scratch) => self.packed.run_whole(given, scratch, &mut sinks.logits),
        }
    }
}

impl<F: Multiply> Packed<F> {
    /// Checks the maps: their sizes, and that they have all their lines.
    fn given(&self, source: &Source<F>, sinks: &mut Sinks<F>) -> Given<F> {
        let read = match source {
            Source::Picture(map) => map.is_whole(),
            Source::Map(map) => map.is_whole(),
            Source::Joined(skip, below) => skip.is_whole() && below.is_whole(),
        };
        let written = [&sinks.map, &sinks.pooled].into_iter().flatten().all(|map| map.is_whole());
        assert!(read && written, "maps have all their lines");
        let (picture, input, below) = match source {
            Source::Picture(map) => (Some(map.view()), None, None),
            Source::Map(map) => (None, Some(map.view()), None),
            Source::Joined(skip, below) => (None, Some(skip.view()), Some(below.view())),
        };
        let output = sinks.map.as_mut().map(|map| map.view_mut());
        let pooled = sinks.pooled.as_mut().map(|map| map.view_mut());
        let (here, outputs) = ([self.h, self.w], self.second.outputs());
        let whole = |view: View<F>| [view.h, view.w] == here;
        let half = |view: View<F>| [2 * view.h, 2 * view.w] == here;
        assert!(picture.is_none_or(|view| [view.h, view.w] == here), "size of the picture");
        assert!(input.is_none_or(whole), "size of the input");
        assert!(below.is_none_or(half), "size of what comes from below");
        assert!(output.is_none_or(|view| whole(view) && view.c == outputs), "size of the output");
        assert!(pooled.is_none_or(|view| half(view) && view.c == outputs), "size of the pooled output");
        assert!(below.is_some() == self.raised.is_some(), "a source for what is raised");
        if let Some(logits) = &sinks.logits {
            assert!(logits.to.len() == self.h * self.w && logits.weights.len() >= outputs.next_multiple_of(16), "size of the logits");
        }
        Given { picture, input, below, output, pooled }
    }

    /// Band by band, as many as `threads` threads share.
    fn run_bands(&self, given: Given<F>, step: usize, scratch: &[Mutex<Scratch<F>>], threads: usize, logits: &mut Option<Logits>) {
        debug_assert!(step.is_multiple_of(winograd::SIDE), "bands of whole strips");
        // Two bands for each thread: one that is held up does not hold up all, and few lines are computed by two. None are where the
        // picture is one thread's.
        let bands = if threads == 1 { 1 } else { 2 * threads };
        let lines = self.h.div_ceil(bands).next_multiple_of(step);
        let mut bands: Vec<(usize, Option<Logits>)> = (0..self.h).step_by(lines).map(|first| (first, None)).collect();
        if let Some(Logits { weights, bias, to }) = logits {
            for (band, to) in bands.iter_mut().zip(to.chunks_mut(lines * self.w)) {
                band.1 = Some(Logits { weights, bias: *bias, to });
            }
        }
        bands.into_par_iter().for_each(|(first, logits)| {
            let slot = rayon::current_thread_index().unwrap_or(0) % scratch.len();
            // Nothing below may wait for the pool: this thread would take another band meanwhile, and wait for its own lock.
            let mut scratch = scratch[slot].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let views = given.with(&mut scratch, self.second.outputs());
            self.run_band(&views, first..(first + lines).min(self.h), step, &mut scratch.blended, logits);
        });
    }

    /// Every step for the lines of a band, a few lines at a time.
    fn run_band(&self, views: &Views<F>, band: Range<usize>, step: usize, blended: &mut [f32], mut logits: Option<Logits>) {
        let mut middle_next = band.start.saturating_sub(1);
        let mut raised_next = band.start.saturating_sub(1 + self.first.reach()) / 2 * 2;
        let mut logits_done = 0;
        for first in band.clone().step_by(step) {
            let end = (first + step).min(band.end);
            let middle_end = (end + 1).min(self.h);
            let raised_end = (middle_end + 1).next_multiple_of(2).min(self.h);
            if self.raised.is_some() && raised_next < raised_end {
                let oldest = raised_next.min(first.saturating_sub(winograd::SIDE));
                debug_assert!(raised_end - oldest <= step + AROUND, "lines that are kept");
                self.raise_lines(views, raised_next..raised_end, None, blended);
                raised_next = raised_end;
            }
            let (input, middle) = (self.input(views), views.middle);
            // SAFETY: the block was made for an instruction set that is here; `views` has the maps' sizes checked, and
            // what is read is this band's or not written.
            unsafe {
                self.first.lines(self.isa, input, middle, middle_next..middle_end);
                self.second.lines(self.isa, Input::Maps([middle; 2]), views.output, first..end);
            }
            middle_next = middle_end;
            self.pool_lines(views, first..end);
            if let Some(Logits { weights, bias, to }) = &mut logits {
                let count = (end - first) * self.w;
                self.head_lines(views, first..end, weights, *bias, &mut to[logits_done..][..count]);
                logits_done += count;
            }
        }
    }

    /// Every step for the whole picture.
    fn run_whole(&self, given: Given<F>, scratch: &mut Scratch<F>, logits: &mut Option<Logits>) {
        let views = &given.with(scratch, self.second.outputs());
        let blended_room = scratch.blended.len();
        let room = scratch.room.values_mut();
        match &self.raised {
            None => {}
            Some(Raised::Transposed(products)) => {
                let blocks = products[0].blocks();
                (0..blocks).into_par_iter().for_each(|block| self.raise_lines(views, 0..self.h, Some(block..block + 1), &mut []));
            }
            Some(Raised::Bilinear(..)) => {
                (0..self.h)
                    .into_par_iter()
                    .for_each_init(|| vec![0.0; blended_room], |blended, y| self.raise_lines(views, y..y + 1, None, blended));
            }
        }
        // SAFETY: the block was made for an instruction set that is here; `views` has the maps' sizes checked.
        unsafe {
            self.first.whole(self.isa, self.input(views), views.middle, room);
            self.second.whole(self.isa, Input::Maps([views.middle; 2]), views.output, room);
        }
        (0..self.h / 2).into_par_iter().for_each(|y| self.pool_lines(views, 2 * y..2 * y + 2));
        if let Some(Logits { weights, bias, to }) = logits {
            to.par_chunks_exact_mut(self.w).enumerate().for_each(|(y, to)| self.head_lines(views, y..y + 1, weights, *bias, to));
        }
    }

    /// What the first convolution reads.
    fn input(&self, views: &Views<F>) -> Input<F> {
        match (views.given.picture, views.given.input) {
            (Some(picture), _) => Input::Picture(picture),
            (None, Some(input)) => Input::Maps([input, views.raised.unwrap_or(input)]),
            (None, None) => panic!("a block without a source"),
        }
    }

    /// Lines `ys`, from an even one on, of what comes from below.
    fn raise_lines(&self, views: &Views<F>, ys: Range<usize>, blocks: Option<Range<usize>>, blended: &mut [f32]) {
        let (Some(raised), Some(below), Some(how)) = (views.raised, views.given.below, &self.raised) else { return };
        match how {
            Raised::Transposed(products) => {
                for (line, product) in products.iter().enumerate() {
                    let blocks = blocks.clone().unwrap_or(0..product.blocks());
                    let tasks = line_tasks(product, [below; 2], raised, ys.start / 2..ys.end / 2, blocks, move |y| 2 * y + line);
                    // SAFETY: `line_tasks` checks the sizes; the block was made for an instruction set that is here.
                    unsafe { F::multiply(self.isa, below.w, tasks) }
                }
            }
            Raised::Bilinear(down, across) => {
                assert!(raised.c == below.c, "channels of what is interpolated");
                for y in ys {
                    let task = Raise::line(below, down[y], across, raised, y, 0, blended);
                    // SAFETY: the lines are `below`'s and `raised`'s, whose sizes `views` and the line above check.
                    unsafe { dispatch_on(self.isa, task) }
                }
            }
        }
    }

    /// Maxima of lines `ys`, from an even one on.
    fn pool_lines(&self, views: &Views<F>, ys: Range<usize>) {
        let Some(pooled) = views.given.pooled else { return };
        let output = views.output;
        for y in ys.start / 2..ys.end / 2 {
            let task = Pool::<F> {
                above: output.pixels(2 * y),
                below: output.pixels(2 * y + 1),
                part: output.part(),
                to: pooled.pixels(y),
                to_part: pooled.part(),
                w: pooled.w,
                c: pooled.c,
            };
            // SAFETY: the lines are of maps whose sizes `views` checks.
            unsafe { dispatch_on(self.isa, task) }
        }
    }

    fn head_lines(&self, views: &Views<F>, ys: Range<usize>, weights: &[f32], bias: f32, logits: &mut [f32]) {
        let output = views.output;
        for (y, to) in ys.zip(logits.chunks_exact_mut(self.w)) {
            let task = Head::line(output, y, weights, bias, to);
            // SAFETY: a line has a pixel for each of the `w` results.
            unsafe { dispatch_on(self.isa, task) }
        }
    }
}
