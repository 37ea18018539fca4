//! The CUDA kernels compiled for this processor, so that a machine without a GPU can tell whether they compute what they
//! should: a thread of theirs is a call here.

mod maps;

pub(in crate::nn) use maps::{MapKernels, Numbers};

use super::learning::{Descent, LOSS_SUMS, LossTerm, NORM_PARTS, SLICES, number};
use super::operator::{Call, Operator, Sizes as OperatorSizes};
use super::{HALVES, INFERENCE, LEARNING, OPERATORS};
use crate::nn::kernels::Dims;
use std::ffi::{CString, c_void};
use std::process::Command;

/// What CUDA's compiler knows by itself, and what its devices do with halves.
const PRELUDE: &str = r#"
#include <cmath>
#include <cstring>
#define __global__
#define __device__ static
#define __forceinline__ inline
#define __restrict__
#define __align__(bytes) alignas(bytes)
struct Extent { unsigned x; };
static Extent blockIdx, threadIdx, gridDim, blockDim;
static float __uint_as_float(unsigned bits) { float value; memcpy(&value, &bits, 4); return value; }
static unsigned __float_as_uint(float value) { unsigned bits; memcpy(&bits, &value, 4); return bits; }
static float float_of_half(unsigned short half) {
    int exponent = half >> 10 & 31, rest = half & 1023;
    float size = exponent == 31 ? (rest ? NAN : INFINITY) : exponent ? ldexpf(1024 + rest, exponent - 25) : ldexpf(rest, -24);
    return half >> 15 ? -size : size;
}
static unsigned short half_of_float(float value) {
    unsigned sign = __float_as_uint(value) >> 16 & 0x8000, infinity = 0x7c00;
    float size = fabsf(value);
    if (size != size) return 0x7fff;
    if (size >= 65520.0f) return sign | infinity;
    int exponent = size < ldexpf(1, -14) ? -14 : ilogbf(size);
    return sign | (unsigned)((exponent + 14) * 1024 + (int)nearbyintf(ldexpf(size, 10 - exponent)));
}
extern "C" void stand(unsigned block, unsigned blocks, unsigned thread, unsigned threads) {
    blockIdx.x = block; gridDim.x = blocks; threadIdx.x = thread; blockDim.x = threads;
}
"#;
/// Few threads, so that each does several items.
const BLOCKS: u32 = 2;
const THREADS: u32 = 3;

type Stand = unsafe extern "C" fn(u32, u32, u32, u32);
type First = unsafe extern "C" fn(*const f32, *const f32, *const f32, *mut u16, *mut u32, u32, u32, u32);
type Pool = unsafe extern "C" fn(*const u16, *mut u16, *mut u16, *mut u32, u32, u32, u32, u32);
type Raise = unsafe extern "C" fn(*const u16, *mut u16, *mut u32, u32, u32, u32, u32, u32);
type Look = unsafe extern "C" fn(*const u16, *mut u32, u32, u32, u32);
type Head = unsafe extern "C" fn(*const u16, *const f32, f32, *mut f32, *mut u8, *mut u32, u32, u32, u32);

type LossSums = unsafe extern "C" fn(*const f32, *const f32, *mut f64, LossTerm, u32, u32);
type LossGradient = unsafe extern "C" fn(*const f32, *const f32, *mut f32, LossTerm, f64, f64, u32);
type Squares = unsafe extern "C" fn(*const f32, *mut f64, u32, u32);
type Fold = unsafe extern "C" fn(*const f64, *mut f64, u32, u32, u32);
type Descend = unsafe extern "C" fn(*mut f32, *const f32, *const f32, Descent, u32);

type Apply = unsafe extern "C" fn(*const f32, *const f32, *const f32, *mut f32, OperatorSizes);

/// Kernels as a library. They keep their place in variables of their own: one thread at a time.
struct Library {
    handle: *mut c_void,
    stand: Stand,
}

impl Library {
    /// Compiles and loads them; `None` where there is no C++ compiler.
    fn new(kernels: &str) -> Option<Self> {
        Self::with(kernels, &[])
    }

    /// The same with options for the compiler.
    fn with(kernels: &str, options: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let (source, library) = (folder.path().join("kernels.cpp"), folder.path().join("kernels.so"));
        std::fs::write(&source, format!("{PRELUDE}{kernels}")).unwrap();
        let always = ["-std=c++17", "-O1", "-shared", "-fPIC", "-o"];
        let compiler = Command::new("c++").args(options).args(always).args([&library, &source]).output().ok()?;
        assert!(compiler.status.success(), "{}", String::from_utf8_lossy(&compiler.stderr));
        let path = CString::new(library.to_str().unwrap()).unwrap();
        // SAFETY: the library is the one compiled above, which runs nothing when it is loaded; it stays loaded.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null(), "{}", library.display());
        // SAFETY: this is the type of the function of this name in the prelude.
        let stand = unsafe { std::mem::transmute::<*mut c_void, Stand>(symbol(handle, "stand")) };
        Some(Self { handle, stand })
    }

    fn symbol(&self, name: &str) -> *mut c_void {
        symbol(self.handle, name)
    }

    fn each_thread(&self, kernel: impl Fn()) {
        for block in 0..BLOCKS {
            for thread in 0..THREADS {
                // SAFETY: it writes four numbers.
                unsafe { (self.stand)(block, BLOCKS, thread, THREADS) };
                kernel();
            }
        }
    }
}

fn symbol(library: *mut c_void, name: &str) -> *mut c_void {
    let name = CString::new(name).unwrap();
    // SAFETY: `library` is a loaded one, the name ends with zero.
    let found = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!found.is_null());
    found
}

/// The operators of training.
pub(in crate::nn) struct Operators(Library);

impl Operators {
    /// `None` where there is no C++ compiler.
    pub fn new() -> Option<Self> {
        Library::new(OPERATORS).map(Self)
    }

    /// What the operator makes of its arguments, for maps of `size`; what it does not write is no number.
    pub fn computed(&self, operator: Operator, size: Dims, arguments: &[&[f32]]) -> Vec<f32> {
        let Call { kernel, sizes, arguments: wanted, result, .. } = operator.of(size).unwrap();
        assert_eq!(arguments.iter().map(|values| values.len()).collect::<Vec<_>>(), wanted.iter().copied().flatten().collect::<Vec<_>>());
        let mut read = arguments.iter();
        let [x, other, norm] = wanted.map(|wanted| wanted.and_then(|_| read.next()).map_or(std::ptr::null(), |values| values.as_ptr()));
        let mut to = vec![f32::NAN; result];
        // SAFETY: all operators have this type, and their arguments are as large as `Operator::of` says, checked above.
        let apply = unsafe { std::mem::transmute::<*mut c_void, Apply>(self.0.symbol(kernel)) };
        let target = to.as_mut_ptr();
        // SAFETY: as above.
        self.0.each_thread(|| unsafe { apply(x, other, norm, target, sizes) });
        to
    }
}

/// Loss, norm and step.
pub(crate) struct Learning {
    library: Library,
    loss_sums: LossSums,
    loss_gradient: LossGradient,
    squares: Squares,
    fold: Fold,
    accelerate: Descend,
    step: Descend,
}

impl Learning {
    /// `None` where there is no C++ compiler.
    pub fn new() -> Option<Self> {
        let library = Library::new(LEARNING)?;
        let symbol = |name| library.symbol(name);
        // SAFETY: these are the types of the functions of these names in `learning.cu`.
        unsafe {
            Some(Self {
                loss_sums: std::mem::transmute::<*mut c_void, LossSums>(symbol("loss_sums")),
                loss_gradient: std::mem::transmute::<*mut c_void, LossGradient>(symbol("loss_gradient")),
                squares: std::mem::transmute::<*mut c_void, Squares>(symbol("squares")),
                fold: std::mem::transmute::<*mut c_void, Fold>(symbol("fold")),
                accelerate: std::mem::transmute::<*mut c_void, Descend>(symbol("accelerate")),
                step: std::mem::transmute::<*mut c_void, Descend>(symbol("step")),
                library,
            })
        }
    }

    /// As on a device: [`LOSS_SUMS`] numbers for each slice.
    pub fn loss_sums(&self, logits: &[f32], labels: &[f32], term: LossTerm) -> Vec<f64> {
        assert_eq!(logits.len(), labels.len());
        let (mut sums, pixels) = (vec![f64::NAN; LOSS_SUMS * SLICES], number(logits.len()).unwrap());
        let to = sums.as_mut_ptr();
        // SAFETY: both slices hold so many pixels, and the sums of as many slices as are told.
        self.library.each_thread(|| unsafe { (self.loss_sums)(logits.as_ptr(), labels.as_ptr(), to, term, pixels, SLICES as u32) });
        sums
    }

    /// The gradient of each pixel.
    pub fn loss_gradient(&self, logits: &[f32], labels: &[f32], term: LossTerm, [by_crack, by_background]: [f64; 2]) -> Vec<f32> {
        assert_eq!(logits.len(), labels.len());
        let (mut gradient, pixels) = (vec![f32::NAN; logits.len()], number(logits.len()).unwrap());
        let to = gradient.as_mut_ptr();
        // SAFETY: all three hold so many pixels.
        self.library
            .each_thread(|| unsafe { (self.loss_gradient)(logits.as_ptr(), labels.as_ptr(), to, term, by_crack, by_background, pixels) });
        gradient
    }

    /// The sum of all squares.
    pub fn squared_norm(&self, gradients: &[&[f32]]) -> f64 {
        let mut rows = vec![f64::NAN; gradients.len() * SLICES];
        for (row, values) in rows.chunks_mut(SLICES).zip(gradients) {
            let (to, held) = (row.as_mut_ptr(), number(values.len()).unwrap());
            // SAFETY: there are so many values, and a row for the slices.
            self.library.each_thread(|| unsafe { (self.squares)(values.as_ptr(), to, held, SLICES as u32) });
        }
        let (mut parts, held) = (vec![f64::NAN; gradients.len() * NORM_PARTS], number(gradients.len()).unwrap());
        let to = parts.as_mut_ptr();
        // SAFETY: there are so many rows, and as many parts of each as are told.
        self.library.each_thread(|| unsafe { (self.fold)(rows.as_ptr(), to, held, SLICES as u32, NORM_PARTS as u32) });
        parts.iter().sum()
    }

    /// Moves weights along a gradient.
    pub fn descend(&self, weights: &mut [f32], velocity: &mut [f32], gradient: &[f32], descent: Descent) {
        assert!(weights.len() == gradient.len() && velocity.len() == gradient.len());
        let (held, weights, velocity) = (number(gradient.len()).unwrap(), weights.as_mut_ptr(), velocity.as_mut_ptr());
        // SAFETY: all three hold so many values.
        self.library.each_thread(|| unsafe { (self.accelerate)(velocity, weights, gradient.as_ptr(), descent, held) });
        // SAFETY: as above.
        self.library.each_thread(|| unsafe { (self.step)(weights, velocity, gradient.as_ptr(), descent, held) });
    }
}

/// The kernels of inference as functions.
pub(in crate::nn) struct Kernels {
    library: Library,
    first: First,
    pool: Pool,
    interpolate: Raise,
    interleave: Raise,
    look: Look,
    head: Head,
}

/// Maps in one memory, by their first values.
pub(in crate::nn) struct Sizes {
    pub tiles: usize,
    pub side: usize,
    pub channels: usize,
}

impl Sizes {
    fn values(&self) -> usize {
        self.tiles * self.side * self.side * self.channels
    }

    fn counts(&self) -> (u32, u32, u32) {
        (self.tiles as u32, self.side as u32, self.channels as u32)
    }
}

impl Kernels {
    /// For maps of brain floats or of halves; `None` where there is no C++ compiler.
    pub fn new(halves: bool) -> Option<Self> {
        let library = Library::with(INFERENCE, if halves { HALVES } else { &[] })?;
        let symbol = |name| library.symbol(name);
        // SAFETY: these are the types of the functions of these names in `inference.cu`.
        unsafe {
            Some(Self {
                first: std::mem::transmute::<*mut c_void, First>(symbol("first")),
                pool: std::mem::transmute::<*mut c_void, Pool>(symbol("pool")),
                interpolate: std::mem::transmute::<*mut c_void, Raise>(symbol("interpolate")),
                interleave: std::mem::transmute::<*mut c_void, Raise>(symbol("interleave")),
                look: std::mem::transmute::<*mut c_void, Look>(symbol("look")),
                head: std::mem::transmute::<*mut c_void, Head>(symbol("head")),
                library,
            })
        }
    }

    pub fn first(&self, pictures: &[f32], weights: &[f32], bias: &[f32], to: &mut [u16], unsound: &mut [u32], sizes: &Sizes) {
        let (tiles, side, channels) = sizes.counts();
        assert!(pictures.len() * sizes.channels >= sizes.values() && weights.len() == 9 * sizes.channels);
        assert!(bias.len() == sizes.channels && to.len() >= sizes.values() && unsound.len() >= sizes.tiles);
        let (to, unsound) = (to.as_mut_ptr(), unsound.as_mut_ptr());
        // SAFETY: all slices are as large as the counts say, checked above.
        self.library.each_thread(|| unsafe {
            (self.first)(pictures.as_ptr(), weights.as_ptr(), bias.as_ptr(), to, unsound, tiles, side, channels)
        });
    }

    /// `from`, `to` and `copy` are first values in `memory`.
    pub fn pool(&self, memory: &mut [u16], from: usize, sizes: &Sizes, to: usize, copy: (usize, usize), unsound: &mut [u32]) {
        let (tiles, side, channels) = sizes.counts();
        let pixels = sizes.tiles * sizes.side * sizes.side;
        let (from, to) = (at(memory, from, sizes.values()), at(memory, to, sizes.values() / 4));
        let (copy, copy_channels) = (at(memory, copy.0, pixels * copy.1), copy.1);
        assert!(copy_channels >= sizes.channels && unsound.len() >= sizes.tiles);
        let unsound = unsound.as_mut_ptr();
        // SAFETY: all places are within `memory`, checked by `at`, and all marks within `unsound`.
        self.library.each_thread(|| unsafe { (self.pool)(from, to, copy, unsound, tiles, side, channels, copy_channels as u32) });
    }

    /// Into the channels from `to[2]` on of maps that begin at `to[0]` and have `to[1]` channels, by interpolation or by interleaving.
    pub fn raise(&self, interpolate: bool, memory: &mut [u16], from: usize, sizes: &Sizes, to: [usize; 3], unsound: &mut [u32]) {
        let [start, to_channels, first_channel] = to;
        let (tiles, side, channels) = sizes.counts();
        let pixels = sizes.tiles * sizes.side * sizes.side;
        let source = at(memory, from, if interpolate { sizes.values() } else { 4 * sizes.values() });
        let target = at(memory, start, 4 * pixels * to_channels);
        assert!(to_channels >= first_channel + sizes.channels && unsound.len() >= sizes.tiles);
        let kernel = if interpolate { self.interpolate } else { self.interleave };
        let (to_channels, first_channel, unsound) = (to_channels as u32, first_channel as u32, unsound.as_mut_ptr());
        // SAFETY: all places are within `memory`, checked by `at`, and all marks within `unsound`.
        self.library.each_thread(|| unsafe { kernel(source, target, unsound, tiles, side, channels, to_channels, first_channel) });
    }

    pub fn look(&self, at: &[u16], sizes: &Sizes, unsound: &mut [u32]) {
        let (tiles, side, channels) = sizes.counts();
        assert!(at.len() >= sizes.values() && unsound.len() >= sizes.tiles);
        let unsound = unsound.as_mut_ptr();
        // SAFETY: both slices are as large as the counts say, checked above.
        self.library.each_thread(|| unsafe { (self.look)(at.as_ptr(), unsound, tiles, side, channels) });
    }

    pub fn head(&self, from: &[u16], weights: &[f32], bias: f32, out: (&mut [f32], &mut [u8], &mut [u32]), sizes: &Sizes) {
        let (tiles, side, channels) = sizes.counts();
        let pixels = sizes.tiles * sizes.side * sizes.side;
        let (logits, probabilities, unsound) = out;
        assert!(from.len() >= sizes.values() && weights.len() == sizes.channels && unsound.len() >= sizes.tiles);
        assert!(logits.len() >= pixels && probabilities.len() >= pixels);
        let (logits, probabilities, unsound) = (logits.as_mut_ptr(), probabilities.as_mut_ptr(), unsound.as_mut_ptr());
        // SAFETY: all slices are as large as the counts say, checked above.
        self.library.each_thread(|| unsafe {
            (self.head)(from.as_ptr(), weights.as_ptr(), bias, logits, probabilities, unsound, tiles, side, channels)
        });
    }
}

/// The address of `values` values from `start` on.
fn at(memory: &mut [u16], start: usize, values: usize) -> *mut u16 {
    memory[start..start + values].as_mut_ptr()
}
