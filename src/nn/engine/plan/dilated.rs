use super::compiler::Compiler;
use super::{MapId, Operation, Reads};
use crate::nn::NnError;
use crate::nn::kernels::nhwc::{Multiply, Work};
use crate::nn::layout::{ConvNorm, DeepLab, DilatedEncoder, PspNet};

/// Compiles a PSPNet: what the encoder found beside its means over parts of the picture.
pub(super) fn compile_pspnet<F: Multiply>(compiler: &mut Compiler<F>) -> Result<(), NnError> {
    let layout = PspNet::new(compiler.checkpoint.meta.shape.base_width);
    let features = encoder(compiler, &layout.encoder)?;
    let side = compiler.side_of(features);
    let joined = compiler.map(side, layout.merge.input);
    join(compiler, "features", features, joined, 0);
    let mut first_channel = layout.encoder.output;
    for (bins, level) in &layout.pyramid {
        mean(compiler, features, *bins, level, (joined, first_channel))?;
        first_channel += level.output;
    }
    let merged = compiler.layer(joined, &layout.merge, None)?;
    compiler.end(merged, &layout.head)
}

/// Compiles a DeepLabv3: what the encoder found, seen at several distances and as a whole.
pub(super) fn compile_deeplab<F: Multiply>(compiler: &mut Compiler<F>) -> Result<(), NnError> {
    let layout = DeepLab::new(compiler.checkpoint.meta.shape.base_width);
    let features = encoder(compiler, &layout.encoder)?;
    let side = compiler.side_of(features);
    let joined = compiler.map(side, layout.merge.input);
    let mut first_channel = 0;
    for branch in &layout.atrous {
        compiler.layer(features, branch, Some((joined, first_channel)))?;
        first_channel += branch.output;
    }
    mean(compiler, features, 1, &layout.image, (joined, first_channel))?;
    let merged = compiler.layer(joined, &layout.merge, None)?;
    compiler.end(merged, &layout.head)
}

/// The encoder's result.
fn encoder<F: Multiply>(compiler: &mut Compiler<F>, layout: &DilatedEncoder) -> Result<MapId, NnError> {
    let (first, others) = layout.stages.split_at(1);
    let mut map = compiler.stage(Reads::Picture, &first[0], true)?;
    for (index, stage) in (1..).zip(others) {
        map = compiler.stage(Reads::Map(map), stage, index < DilatedEncoder::POOLINGS)?;
    }
    Ok(map)
}

/// Means over `bins × bins` parts of a map, convolved and brought back to its size, to channels of the map that is told.
fn mean<F: Multiply>(
    compiler: &mut Compiler<F>,
    features: MapId,
    bins: usize,
    level: &ConvNorm,
    (to, first_channel): (MapId, usize),
) -> Result<(), NnError> {
    let parts = compiler.map(bins, level.input);
    compiler.push("mean", bins, Work::default(), Operation::Average { from: features, to: parts });
    let found = compiler.layer(parts, level, None)?;
    join(compiler, &format!("raise {bins}² to"), found, to, first_channel);
    Ok(())
}

/// A map as channels of another one, which may be larger.
fn join<F: Multiply>(compiler: &mut Compiler<F>, name: &str, from: MapId, to: MapId, first_channel: usize) {
    let side = compiler.side_of(to);
    compiler.push(name, side, Work::default(), Operation::Interpolate { from, to, first_channel });
}
