//! Average and maximum over windows.

use super::operand;
use crate::error::LowerError;
use crate::plan::Builder;
use depthwise_kernels::pool::{self, MaxPositionsF32, PoolF32, PoolSpec};
use depthwise_layers::ir::Node;
use depthwise_layers::{MaxPositions, Pool2d, PoolKind};
use depthwise_tensor::DType;

pub(super) fn pool(b: &mut Builder<'_>, node: &Node, layer: &Pool2d) -> Result<(), LowerError> {
    let x = operand(node, 0)?;
    let geometry = layer.geometry(b.shape(x))?;
    if matches!(b.ty(x).dtype, DType::I8 | DType::U8) {
        return super::quantized::max_pool(b, node, geometry);
    }
    let kind = match layer.kind {
        PoolKind::Max => pool::PoolKind::Max,
        PoolKind::Average { include_pad } => pool::PoolKind::Average { include_pad },
    };
    let x = b.padded_arg(x)?;
    let (buf, view) = b.output(node.outputs[0]);
    let spec = PoolSpec { geometry, kind, ld_in: x.view.ld, ld_out: view.ld };
    b.push(PoolF32::new(b.cpu(), spec, b.threads())?, &[&x], &[(buf, view)]);
    Ok(())
}

pub(super) fn max_positions(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &MaxPositions,
) -> Result<(), LowerError> {
    let x = operand(node, 0)?;
    b.need_f32(x)?;
    let geometry = layer.geometry(b.shape(x))?;
    let x = b.arg(x)?;
    let out = b.output(node.outputs[0]);
    let op = MaxPositionsF32::new(geometry, layer.column_major, x.view.ld, out.1, b.threads())?;
    b.push(op, &[&x], &[out]);
    Ok(())
}
