//! Vectors of `f32` and the choice of the widest that this processor has.

#[cfg(target_arch = "x86_64")]
mod x86;

use super::isa::Isa;

/// Values of the widest vectors that there are.
pub(super) const WIDEST: usize = 16;

/// A vector register of `f32`.
///
/// # Safety
/// Every method needs the instruction set of the implementing type, which [`dispatch`] makes sure
/// of, and pointers good for `WIDTH` values (for `store_first`: `count` values; for `transpose`: a
/// square, and what is written).
pub(in crate::nn) trait Lanes: Copy {
    /// Values in a register.
    const WIDTH: usize;
    /// Whether there are registers enough for 8 × 3 sums at once, or for 4 × 3 only.
    const MANY: bool;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn store_first(self, to: *mut f32, count: usize);
    /// Writes the first `left` values, or all where a vector has no more.
    #[inline(always)]
    unsafe fn store_up_to(self, to: *mut f32, left: usize) {
        // SAFETY: the trait's contract.
        unsafe { if left >= Self::WIDTH { self.store(to) } else { self.store_first(to, left) } }
    }
    /// `self + a * b`.
    unsafe fn plus_product(self, a: Self, b: Self) -> Self;
    /// The greater; `other` where one of them is not a number.
    unsafe fn max(self, other: Self) -> Self;
    unsafe fn sum(self) -> f32;
    /// `self` where `sign` is positive, 0 elsewhere.
    unsafe fn where_positive(self, sign: Self) -> Self;

    /// Both as they are, but the compiler takes the pointer for what comes of `self`: where registers are few, it does not load
    /// ahead from there and make room by writing sums to memory.
    #[inline(always)]
    unsafe fn then(self, next: *const f32) -> (Self, *const f32) {
        (self, next)
    }

    /// Has the memory at `from` brought into the first-level cache, where the processor is told so; any address will do.
    #[inline(always)]
    fn fetch(_from: *const f32) {}

    /// Exchanges lines and columns: of a square of `WIDTH` values a side, all read, whose lines lie `from_pitch` apart, to as many
    /// `lines` and `columns` of the result as are told, which lie `to_pitch` apart.
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_pitch: usize, to: *mut f32, to_pitch: usize, [lines, columns]: [usize; 2]) {
        for line in 0..lines.min(Self::WIDTH) {
            for column in 0..columns.min(Self::WIDTH) {
                // SAFETY: within the square, and within what is to be written, by the trait's contract.
                unsafe { to.add(line * to_pitch + column).write(*from.add(column * from_pitch + line)) }
            }
        }
    }

    /// Reads `WIDTH` values of bf16.
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        let mut lanes = [0.0_f32; WIDEST];
        for (i, lane) in lanes.iter_mut().enumerate().take(Self::WIDTH) {
            // SAFETY: good for `WIDTH` values by the trait's contract.
            *lane = f32::from_bits(u32::from(unsafe { from.add(i).read() }) << 16);
        }
        // SAFETY: no vector is longer than the array.
        unsafe { Self::load(lanes.as_ptr()) }
    }

    /// Rounds to the nearest bf16, ties to even, and writes the first `count`. The vectors of AVX-512 need AVX-512
    /// bf16 for it.
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16, count: usize) {
        let mut lanes = [0.0_f32; WIDEST];
        // SAFETY: no vector is longer than the array; good for `count` values by the trait's contract.
        unsafe {
            self.store(lanes.as_mut_ptr());
            for (i, lane) in lanes.iter().enumerate().take(count) {
                to.add(i).write(half::bf16::from_f32(*lane).to_bits());
            }
        }
    }

    /// Both rounded to the nearest bf16, ties to even, as pairs: the values of `self` in the lower halves. The vectors of AVX-512
    /// need AVX-512 bf16 for it.
    #[inline(always)]
    unsafe fn paired(self, second: Self) -> Self {
        let (mut pairs, mut others) = ([0.0_f32; WIDEST], [0.0_f32; WIDEST]);
        // SAFETY: no vector is longer than the arrays.
        unsafe {
            self.store(pairs.as_mut_ptr());
            second.store(others.as_mut_ptr());
            pairs.iter_mut().zip(others).for_each(|(pair, other)| *pair = pair_of_bf16(*pair, other));
            Self::load(pairs.as_ptr())
        }
    }

    /// `self` + the products of pairs of bf16. The vectors of AVX-512 need AVX-512 bf16 for it.
    #[inline(always)]
    unsafe fn plus_pairs(self, a: Self, b: Self) -> Self {
        let mut lanes = [[0.0_f32; WIDEST]; 3];
        // SAFETY: no vector is longer than the arrays.
        unsafe {
            for (lanes, vector) in lanes.iter_mut().zip([self, a, b]) {
                vector.store(lanes.as_mut_ptr());
            }
            let [mut sums, a, b] = lanes;
            for (sum, (a, b)) in sums.iter_mut().zip(a.into_iter().zip(b)) {
                let [first, second] = [0, 16].map(|shift| {
                    let of = |pair: f32| f32::from_bits(pair.to_bits() >> shift << 16);
                    of(a) * of(b)
                });
                *sum += first + second;
            }
            Self::load(sums.as_ptr())
        }
    }

    /// Reads `WIDTH` whole numbers of 8 bits.
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self {
        let mut lanes = [0.0_f32; WIDEST];
        for (i, lane) in lanes.iter_mut().enumerate().take(Self::WIDTH) {
            // SAFETY: good for `WIDTH` values by the trait's contract.
            *lane = f32::from(unsafe { from.add(i).read() });
        }
        // SAFETY: no vector is longer than the array.
        unsafe { Self::load(lanes.as_ptr()) }
    }

    /// Rounds to the nearest whole number of 0 to 255, ties to even, and writes the first `count`.
    #[inline(always)]
    unsafe fn store_u8(self, to: *mut u8, count: usize) {
        let mut lanes = [0.0_f32; WIDEST];
        // SAFETY: no vector is longer than the array; good for `count` values by the trait's contract.
        unsafe {
            self.store(lanes.as_mut_ptr());
            for (i, lane) in lanes.iter().enumerate().take(count) {
                to.add(i).write(lane.round_ties_even() as u8);
            }
        }
    }
}

/// Two numbers rounded to bf16 in the place of one, the first in the lower half.
pub(super) fn pair_of_bf16(first: f32, second: f32) -> f32 {
    let [first, second] = [first, second].map(|value| u32::from(half::bf16::from_f32(value).to_bits()));
    f32::from_bits(first | second << 16)
}

/// Work written once for every width of vector.
pub(super) trait Task {
    /// Does the work.
    ///
    /// # Safety
    /// The instruction set of `L` must be there, and whatever the task itself asks for.
    unsafe fn run<L: Lanes>(self);
}

/// Values in the widest vectors of `isa`.
pub(super) fn width_on(isa: Isa) -> usize {
    match isa {
        Isa::Portable => 4,
        Isa::Avx2 => 8,
        _ => 16,
    }
}

/// Runs `task` with the widest vectors that this processor has.
///
/// # Safety
/// What the task asks for.
pub(super) unsafe fn dispatch(task: impl Task) {
    // SAFETY: the caller's promise.
    unsafe { dispatch_on(Isa::best(), task) }
}

/// Runs `task` with the widest vectors of `isa`, which must be here.
///
/// # Safety
/// What the task asks for.
pub(super) unsafe fn dispatch_on(isa: Isa, task: impl Task) {
    debug_assert!(isa.is_here());
    #[cfg(target_arch = "x86_64")]
    {
        if isa >= Isa::Avx512Bf16 {
            // SAFETY: the processor has the features; the rest is the caller's promise.
            return unsafe { x86::avx512_bf16(task) };
        }
        if isa >= Isa::Avx512 {
            // SAFETY: as above.
            return unsafe { x86::avx512(task) };
        }
        if isa >= Isa::Avx2 {
            // SAFETY: as above.
            return unsafe { x86::avx2(task) };
        }
    }
    // SAFETY: plain arrays need no instruction set.
    unsafe { task.run::<Plain>() }
}

/// Runs `work` compiled for AVX2 where that may be taken: for loops that the compiler vectorises by itself.
pub(super) fn widened<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if Isa::best() >= Isa::Avx2 {
        // SAFETY: the processor has the features.
        return unsafe { x86::compiled_for_avx2(work) };
    }
    work()
}

/// Four values without any instruction set of their own.
#[derive(Clone, Copy)]
pub(super) struct Plain([f32; 4]);

impl Lanes for Plain {
    const WIDTH: usize = 4;
    const MANY: bool = false;
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 4])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: good for four values by the trait's contract; arrays of f32 need only f32's alignment.
        Self(unsafe { from.cast::<[f32; 4]>().read() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as in `load`.
        unsafe { to.cast::<[f32; 4]>().write(self.0) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        for (i, v) in self.0.iter().enumerate().take(count) {
            // SAFETY: good for `count` values by the trait's contract.
            unsafe { to.add(i).write(*v) }
        }
    }
    #[inline(always)]
    unsafe fn plus_product(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + a.0[i] * b.0[i]))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| if self.0[i] > other.0[i] { self.0[i] } else { other.0[i] }))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        (self.0[0] + self.0[2]) + (self.0[1] + self.0[3])
    }
    #[inline(always)]
    unsafe fn where_positive(self, sign: Self) -> Self {
        Self(std::array::from_fn(|i| if sign.0[i] > 0.0 { self.0[i] } else { 0.0 }))
    }
}
