use super::super::MAPS;
use super::super::map_operator::{Held, MapCall, MapOperator};
use super::Library;
use crate::nn::kernels::Dims;
use std::ffi::c_void;

/// What training in bf16 does to maps.
pub(in crate::nn) struct MapKernels(Library);

/// Numbers in a memory.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::nn) enum Numbers {
    Brains(Vec<u16>),
    Floats(Vec<f32>),
}

impl Numbers {
    fn held(&self) -> Held {
        match self {
            Self::Brains(values) => Held::Brains(values.len()),
            Self::Floats(values) => Held::Floats(values.len()),
        }
    }

    fn address(&self) -> *const c_void {
        match self {
            Self::Brains(values) => values.as_ptr().cast(),
            Self::Floats(values) => values.as_ptr().cast(),
        }
    }
}

/// As `maps.cu` declares both of its sizes.
#[derive(Clone, Copy)]
#[repr(C)]
struct Counts([u32; 8]);

type Compute =
    unsafe extern "C" fn(*const c_void, *const c_void, *const c_void, *const c_void, *const c_void, *const c_void, *mut c_void, Counts);

impl MapKernels {
    /// `None` where there is no C++ compiler.
    pub fn new() -> Option<Self> {
        Library::new(MAPS).map(Self)
    }

    /// What the operator makes of its arguments, for maps of `size`; what it does not write is no number.
    pub fn computed(&self, operator: MapOperator, size: Dims, arguments: &[&Numbers]) -> Numbers {
        let MapCall { kernel, counts, arguments: wanted, result, .. } = operator.of(size).unwrap();
        let held: Vec<Held> = arguments.iter().map(|numbers| numbers.held()).collect();
        assert_eq!(held, wanted.into_iter().flatten().collect::<Vec<_>>(), "{operator:?} of {size:?}");
        let mut addresses = [std::ptr::null(); 6];
        addresses.iter_mut().zip(arguments).for_each(|(slot, numbers)| *slot = numbers.address());
        let values = |held| match held {
            Held::Brains(count) => Numbers::Brains(vec![half::bf16::NAN.to_bits(); count]),
            Held::Floats(count) => Numbers::Floats(vec![f32::NAN; count]),
        };
        let mut to = values(result);
        let [a, b, c, d, e, f] = addresses;
        // SAFETY: all operators have this type, and their arguments are as large as `MapOperator::of` says, checked above.
        let compute = unsafe { std::mem::transmute::<*mut c_void, Compute>(self.0.symbol(kernel)) };
        let target: *mut c_void = match &mut to {
            Numbers::Brains(values) => values.as_mut_ptr().cast(),
            Numbers::Floats(values) => values.as_mut_ptr().cast(),
        };
        // SAFETY: as above.
        self.0.each_thread(|| unsafe { compute(a, b, c, d, e, f, target, Counts(counts)) });
        to
    }
}
