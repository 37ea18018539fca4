use super::compiler::Compiler;
use super::{Operation, Reads};
use crate::nn::NnError;
use crate::nn::kernels::nhwc::{Multiply, Work};
use crate::nn::layout::SegNet;

/// Compiles a SegNet: the way up puts every value back to where the way down took it from.
pub(super) fn compile<F: Multiply>(compiler: &mut Compiler<F>) -> Result<(), NnError> {
    let layout = SegNet::new(compiler.checkpoint.meta.shape.base_width);
    let mut from = Reads::Picture;
    let mut poolings = Vec::new();
    let mut lowest = 0;
    for stage in &layout.down {
        let map = compiler.stage(from, stage, false)?;
        let (side, channels) = (compiler.side_of(map) / 2, compiler.channels_of(map));
        lowest = compiler.map(side, channels);
        let places = vec![0; side * side * channels];
        poolings.push(compiler.push("pool", side, Work::default(), Operation::Pool { from: map, to: lowest, places }));
        from = Reads::Map(lowest);
    }
    let mut map = lowest;
    for (stage, pooling) in layout.up.iter().zip(poolings.into_iter().rev()) {
        let (side, channels) = (2 * compiler.side_of(map), compiler.channels_of(map));
        let raised = compiler.map(side, channels);
        compiler.push("unpool", side, Work::default(), Operation::Unpool { from: map, pooling, to: raised });
        map = compiler.stage(Reads::Map(raised), stage, false)?;
    }
    compiler.end(map, &layout.head)
}
