//! What this processor's multipliers give, to hold kernels against.

use super::simd::{Lanes, Task, dispatch};
use std::hint::black_box;
use std::time::Instant;

/// Sums that do not wait for each other: two multipliers of four or five turns each have all they can take.
const SUMS: usize = 12;
/// Multiply-adds of each sum in one go, well below a millisecond.
const TURNS: usize = 1 << 16;
/// Goes, of which the quickest counts.
const GOES: usize = 40;

/// Multiply-adds of `f32` a second that one core does with the widest vectors that may be taken, from registers alone.
pub(in crate::nn) fn multiply_adds_a_second() -> f64 {
    let mut best = 0.0_f64;
    for _ in 0..GOES {
        let mut done = 0;
        let started = Instant::now();
        // SAFETY: the task touches no memory but its own.
        unsafe { dispatch(Multiply(&mut done)) }
        best = best.max(done as f64 / started.elapsed().as_secs_f64());
    }
    best
}

/// Multiplies and adds, and tells how often.
struct Multiply<'a>(&'a mut usize);

impl Task for Multiply<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: the instruction set is the caller's promise; results go where a vector has room.
        unsafe {
            let (factor, weight) = (L::splat(black_box(0.5)), L::splat(black_box(1.5)));
            let mut sums = [L::splat(black_box(0.0)); SUMS];
            for _ in 0..TURNS {
                for sum in &mut sums {
                    *sum = sum.plus_product(factor, weight);
                }
            }
            black_box(sums.iter().map(|sum| sum.sum()).sum::<f32>());
        }
        *self.0 = TURNS * SUMS * L::WIDTH;
    }
}
