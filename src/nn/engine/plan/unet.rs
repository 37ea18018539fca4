use super::compiler::Compiler;
use super::{Operation, Reads};
use crate::nn::NnError;
use crate::nn::kernels::nhwc::Multiply;
use crate::nn::layout::{LEVELS, UNet};

/// Compiles a U-Net: a block for each level down, and one up.
pub(super) fn compile<F: Multiply>(compiler: &mut Compiler<F>) -> Result<(), NnError> {
    let (side, scale) = (compiler.side, compiler.settings.scale);
    let layout = UNet::new(&compiler.checkpoint.meta.shape);
    let mut encoded = Vec::new();
    let (mut from, mut unit) = (Reads::Picture, 1.0);
    for (level, block) in layout.down.iter().enumerate() {
        let halves = block.halves();
        let compiled = compiler.block(side >> level, halves.each_ref(), &[(block.input, unit)], None)?;
        unit = scale.unit(&halves[1])?;
        let map = compiler.map(side >> level, block.output);
        let pooled = (level < LEVELS).then(|| compiler.map(side >> (level + 1), block.output));
        let work = compiled.work();
        let operation = Operation::Block { block: compiled, from, map: Some(map), pooled, head: None };
        compiler.push("down", side >> level, work, operation);
        encoded.push((map, block.output, unit));
        if let Some(pooled) = pooled {
            from = Reads::Map(pooled);
        }
    }
    let Some((mut below, _, mut unit)) = encoded.pop() else { return Ok(()) };
    for (step, (encoded, skip, skip_unit)) in layout.up.iter().zip(encoded.into_iter().rev()) {
        let side = compiler.side_of(encoded);
        let (raising, raised) = scale.raising(compiler.checkpoint, step, unit)?;
        let inputs = [(skip, skip_unit), (step.convolutions.input - skip, raised)];
        let halves = step.convolutions.halves();
        let block = compiler.block(side, halves.each_ref(), &inputs, Some((&raising, skip, step.below)))?;
        unit = scale.unit(&halves[1])?;
        let last = side == compiler.side;
        let head = last.then(|| compiler.head(&layout.head, unit)).transpose()?;
        let map = (!last).then(|| compiler.map(side, step.convolutions.output));
        let work = block.work();
        compiler.push("up", side, work, Operation::Block { block, from: Reads::Joined(encoded, below), map, pooled: None, head });
        below = map.unwrap_or(below);
    }
    Ok(())
}
