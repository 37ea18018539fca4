use super::calibration::ranges;
use super::fold::Scale;
use super::plan::{Plan, Run, Settings};
use super::pool::pool;
use super::{Engine, Probabilities, Roofline, check_count, check_tiles, quantise};
use crate::cell::TILES_PER_SIDE;
use crate::config::{Precision, Threads};
use crate::nn::kernels::nhwc::{Brain, Byte, Method, Multiply, Single, Split};
use crate::nn::kernels::{Isa, multiply_adds_a_second};
use crate::nn::{Architecture, Checkpoint, NnError};
use rayon::prelude::*;
use std::borrow::Cow;
use std::sync::Arc;

/// A network compiled for the CPU.
///
/// As many tiles go through at a time as there are threads, or as a row has, so that no thread waits for others at the end of
/// every step; one whose tile is done helps with another's.
pub(super) struct CpuEngine {
    /// One network, with maps for each of the tiles at a time.
    plans: Vec<Box<dyn Run>>,
    side: usize,
    pool: Arc<rayon::ThreadPool>,
    kept: Kept,
    arithmetic: Arithmetic,
    isa: Isa,
    name: String,
}

/// A batch, kept so that its memory need not be taken anew for the next one.
#[derive(Default)]
struct Kept {
    tiles: Vec<f32>,
    logits: Vec<f32>,
    probabilities: Vec<u8>,
}

/// How numbers are stored and multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arithmetic {
    Single,
    /// `f32` with a quarter of the products in most convolutions.
    Winograd,
    Split,
    Brain,
    Byte,
}

impl Arithmetic {
    /// What `precision` is done with on `isa`: without the instructions for it, `f32-grade`, which is more exact.
    fn of(precision: Precision, isa: Isa) -> Self {
        match precision {
            Precision::Int8 if isa >= Byte::NEEDS => Self::Byte,
            Precision::Bf16 if isa >= Brain::NEEDS => Self::Brain,
            Precision::F32Grade if isa >= Split::NEEDS => Self::Split,
            Precision::F32 => Self::Single,
            _ => Self::Winograd,
        }
    }

    /// How convolutions 3×3 are done. Vectors multiply bf16 twice as fast as `f32`, which a quarter of the products beats.
    fn method(self, isa: Isa) -> Method {
        match self {
            Self::Winograd => Method::Winograd,
            Self::Brain if isa < Isa::Amx => Method::Winograd,
            Self::Single | Self::Split | Self::Brain | Self::Byte => Method::Direct,
        }
    }

    /// The precision that it is.
    fn precision(self) -> Precision {
        match self {
            Self::Single => Precision::F32,
            Self::Winograd | Self::Split => Precision::F32Grade,
            Self::Brain => Precision::Bf16,
            Self::Byte => Precision::Int8,
        }
    }

    /// Multiply-adds of a core on `isa` for each of `f32`, where both are done by the same multipliers.
    fn products_for_each_of_f32(self, isa: Isa) -> Option<f64> {
        match self {
            Self::Single | Self::Winograd => Some(1.0),
            // But for its transposed convolutions.
            Self::Brain if isa < Isa::Amx => Some(1.0),
            Self::Byte if isa < Isa::Amx => Some(4.0),
            Self::Byte | Self::Split | Self::Brain => None,
        }
    }
}

impl CpuEngine {
    /// Compiles for tiles of `side × side`, `side` divisible by 16.
    pub(super) fn new(checkpoint: &Checkpoint, side: usize, precision: Precision, threads: &Threads) -> Result<Self, NnError> {
        let isa = Isa::best();
        if precision == Precision::Bf16 && isa.is_slow_at_bf16() {
            tracing::info!(asked = %precision, used = "f32-grade", processor = %isa, "network: on this processor that is the faster way");
            return Self::with_isa(checkpoint, side, Precision::F32Grade, threads, isa);
        }
        Self::with_isa(checkpoint, side, precision, threads, isa)
    }

    /// As [`CpuEngine::new`], with an instruction set that need not be the best one here.
    pub(super) fn with_isa(
        checkpoint: &Checkpoint,
        side: usize,
        precision: Precision,
        threads: &Threads,
        isa: Isa,
    ) -> Result<Self, NnError> {
        let for_cuda = (precision == Precision::F16).then_some("f16 is for CUDA alone");
        if let Some(why) = for_cuda.or(unsuited(precision, checkpoint.meta.shape.architecture)) {
            tracing::warn!(asked = %precision, used = "f32-grade", network = %checkpoint.meta.shape, "network: {why}");
            return Self::with_isa(checkpoint, side, Precision::F32Grade, threads, isa);
        }
        checkpoint.check()?;
        let pool = Arc::new(pool(threads)?);
        let threads = pool.current_num_threads();
        let arithmetic = Arithmetic::of(precision, isa);
        if let Some(why) = unable_on(isa, precision) {
            tracing::warn!(asked = %precision, used = "f32-grade", "network: {why}");
        }
        let ranges = (arithmetic == Arithmetic::Byte).then(|| ranges(&checkpoint.meta)).transpose()?;
        let method = arithmetic.method(isa);
        let settings = Settings { isa, method, scale: Scale(ranges), threads };
        let plans = pool.install(|| -> Result<Vec<Box<dyn Run>>, NnError> {
            let plan: Box<dyn Run> = match arithmetic {
                Arithmetic::Single | Arithmetic::Winograd => Box::new(Plan::<Single>::new(checkpoint, settings, side)?),
                Arithmetic::Split => Box::new(Plan::<Split>::new(checkpoint, settings, side)?),
                Arithmetic::Byte => Box::new(Plan::<Byte>::new(checkpoint, settings, side)?),
                Arithmetic::Brain => Box::new(Plan::<Brain>::new(checkpoint, settings, side)?),
            };
            let twins: Vec<_> = (1..threads.min(TILES_PER_SIDE)).map(|_| plan.twin()).collect();
            Ok(std::iter::once(plan).chain(twins).collect())
        })?;
        let name = format!("{} on the CPU, {} ({isa}), {threads} threads", checkpoint.meta.shape, arithmetic.precision());
        Ok(Self { plans, side, pool, kept: Kept::default(), arithmetic, isa, name })
    }
}

/// Why a network is not computed in a precision on any processor, but in a finer one.
pub fn unsuited(precision: Precision, architecture: Architecture) -> Option<&'static str> {
    match (precision, architecture) {
        // Two fifths of the logits' size on a random network.
        (Precision::Bf16, Architecture::SegNet) => Some("in bf16 many of the places that it unpools to are other ones"),
        (Precision::Int8, Architecture::SegNet | Architecture::PspNet | Architecture::DeepLabV3) => Some("int8 is for U-Nets"),
        _ => None,
    }
}

/// Why this machine's processor computes no network in a precision, but in `f32-grade`.
pub fn unable(precision: Precision) -> Option<String> {
    unable_on(Isa::best(), precision)
}

pub(super) fn unable_on(isa: Isa, precision: Precision) -> Option<String> {
    let able = Arithmetic::of(precision, isa).precision() == precision;
    (!able).then(|| format!("this processor ({isa}) cannot multiply in {precision}"))
}

/// Tiles of `pixels`, as many at a time as there are `plans`.
fn run(plans: &mut [Box<dyn Run>], pool: &rayon::ThreadPool, pixels: usize, tiles: &[f32], logits: &mut [f32]) {
    let together = plans.len() * pixels;
    pool.install(|| {
        for (tiles, logits) in tiles.chunks(together).zip(logits.chunks_mut(together)) {
            let at_once = tiles.len() / pixels;
            let tiles = tiles.par_chunks_exact(pixels).zip(logits.par_chunks_exact_mut(pixels));
            plans.par_iter_mut().zip(tiles).for_each(|(plan, (tile, logits))| plan.run(tile, logits, at_once));
        }
    });
}

impl Engine for CpuEngine {
    fn logits(&mut self, tiles: &[f32], count: usize) -> Result<Vec<f32>, NnError> {
        check_tiles(tiles, count, self.side)?;
        let mut logits = vec![0.0; tiles.len()];
        run(&mut self.plans, &self.pool, self.side * self.side, tiles, &mut logits);
        Ok(logits)
    }

    fn probabilities(&mut self, count: usize, fill: &mut dyn FnMut(&mut [f32])) -> Result<Probabilities<'_>, NnError> {
        check_count(count, self.batch())?;
        let pixels = self.side * self.side;
        let Kept { tiles, logits, probabilities } = &mut self.kept;
        tiles.resize(count * pixels, 0.0);
        logits.resize(count * pixels, 0.0);
        probabilities.resize(count * pixels, 0);
        fill(tiles);
        run(&mut self.plans, &self.pool, pixels, tiles, logits);
        let sound = quantise(logits, probabilities, pixels, Some(&self.pool));
        Ok(Probabilities { values: Cow::Borrowed(probabilities), sound })
    }

    fn pool(&self) -> Option<Arc<rayon::ThreadPool>> {
        Some(self.pool.clone())
    }

    fn first_tiles(&self) -> usize {
        0 // its maps are there and were written to: the first tile takes no longer than the second
    }

    fn precision(&self) -> Precision {
        self.arithmetic.precision()
    }

    fn roofline(&self) -> Option<Roofline> {
        let (mut blocks, mut tiles) = self.plans[0].costs();
        for (others, more) in self.plans[1..].iter().map(|plan| plan.costs()) {
            blocks.iter_mut().zip(others).for_each(|(block, other)| block.spent += other.spent);
            tiles += more;
        }
        let peak_a_second = self.arithmetic.products_for_each_of_f32(self.isa).map(|products| products * multiply_adds_a_second());
        Some(Roofline { blocks, tiles, threads: self.pool.current_num_threads(), peak_a_second })
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}
