//! Computes at once what does not depend on the inputs.

use super::{Pass, Rewriter};
use depthwise_layers::ir::{NodeId, ValueId};
use depthwise_layers::{Cast, Op};
use depthwise_tensor::{DType, Tensor};
use std::collections::HashSet;

/// Replaces nodes whose operands are all constant by their results: weights that are transposed,
/// reshaped or cast, constants that are computed with. With known input shapes also everything
/// that only depends on extents (Shape, Gather, Concat chains before a Reshape).
///
/// Measure: the number of nodes.
pub(super) struct FoldConstants {
    /// Also what is computed from integers that stand for real numbers.
    pub(super) dequantize: bool,
}

/// A result up to this size is always computed; a larger one only if it is no larger than twice
/// its operands, so that a few numbers in a file cannot ask for gigabytes.
const SMALL_BYTES: usize = 64 << 10;

impl Pass for FoldConstants {
    fn name(&self) -> &'static str {
        "fold-constants"
    }

    fn run(&self, rw: &mut Rewriter<'_>) {
        let mut kept: HashSet<ValueId> = HashSet::new();
        for id in rw.live_nodes() {
            let node = rw.node(id);
            let scaled = matches!(node.op, Op::Dequantize(_))
                || node.inputs.iter().flatten().any(|input| kept.contains(input));
            if scaled && !self.dequantize {
                kept.extend(&node.outputs);
                continue;
            }
            let Some(results) = results(rw, id) else { continue };
            if !rw.allow() {
                return;
            }
            for (output, tensor) in rw.node(id).outputs.clone().into_iter().zip(results) {
                rw.redirect_to_const(output, tensor);
            }
        }
    }
}

/// What a node computes, if that is known already.
fn results(rw: &Rewriter<'_>, id: NodeId) -> Option<Vec<Tensor>> {
    let node = rw.node(id);
    let derived: Option<Vec<Tensor>> =
        node.outputs.iter().map(|&output| rw.constant(output).cloned()).collect();
    if derived.is_some() {
        return derived;
    }
    let operands: Vec<Option<&Tensor>> = node
        .inputs
        .iter()
        .map(|input| input.map_or(Some(None), |id| rw.constant(id).map(Some)))
        .collect::<Option<_>>()?;
    let bytes: usize = operands.iter().flatten().map(|t| t.bytes().len()).sum();
    // The two that load all weights of some files: faster than their references.
    match (&node.op, operands.first()) {
        (Op::Transpose(transpose), Some(&Some(x))) => {
            return transposed(x, &transpose.perm).map(|tensor| vec![tensor]);
        }
        (Op::Cast(Cast { to: DType::F32 }), Some(&Some(x))) if x.dtype().is_float() => {
            return Tensor::from_vec(x.shape().dims(), x.to_f32().into_owned())
                .ok()
                .map(|tensor| vec![tensor]);
        }
        _ => {}
    }
    let layer = node.op.layer();
    let args: Vec<_> = operands.iter().map(|t| t.map(depthwise_layers::Arg::constant)).collect();
    let types = layer.infer(&args).ok()?;
    let result: usize = types.iter().map(|ty| ty.bytes()).sum();
    // Integers of one byte become reals of four.
    let times = if matches!(node.op, Op::Dequantize(_)) { 4 } else { 2 };
    if result > SMALL_BYTES.max(bytes.saturating_mul(times)) {
        return None;
    }
    layer.reference(&operands).ok()
}

/// A constant with its axes in another order; `None` where `perm` is not a permutation of them.
pub(super) fn transposed(x: &Tensor, perm: &[usize]) -> Option<Tensor> {
    let shape = x.shape();
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..shape.rank()) {
        return None;
    }
    let dims: Vec<usize> = perm.iter().map(|&axis| shape.dims()[axis]).collect();
    let moving = perm.iter().copied().filter(|&axis| shape.dims()[axis] != 1);
    if moving.is_sorted() {
        return x.reshape(&dims).ok();
    }
    let strides: Vec<usize> = perm.iter().map(|&axis| shape.strides()[axis]).collect();
    let mut out = vec![0u8; x.bytes().len()];
    let bytes = x.bytes();
    match x.dtype().size_bytes() {
        1 => gather::<1>(bytes, &mut out, &dims, &strides),
        2 => gather::<2>(bytes, &mut out, &dims, &strides),
        4 => gather::<4>(bytes, &mut out, &dims, &strides),
        _ => gather::<8>(bytes, &mut out, &dims, &strides),
    }
    Tensor::new(x.dtype(), depthwise_tensor::Shape::new(&dims).ok()?, out.into()).ok()
}

/// Copies elements of `SIZE` bytes into a dense array of extents `dims`, from where `strides`
/// (in elements) say. In tiles of the two axes that are innermost in the one and in the other
/// array, so that lines of both stay in cache.
fn gather<const SIZE: usize>(from: &[u8], to: &mut [u8], dims: &[usize], strides: &[usize]) {
    const TILE: usize = 16;
    let (from, _) = from.as_chunks::<SIZE>();
    let (to, _) = to.as_chunks_mut::<SIZE>();
    let Some(last) = dims.len().checked_sub(1) else { return };
    if to.is_empty() {
        return;
    }
    let near = (0..last).find(|&axis| strides[axis] == 1 && dims[axis] > 1).unwrap_or(0);
    let to_strides: Vec<usize> = (0..=last).map(|a| dims[a + 1..].iter().product()).collect();
    let rest: Vec<usize> = (0..last).filter(|&axis| axis != near).collect();
    // With one axis alone, rows and columns are the same axis: take a single row.
    let rows = if last == 0 { 1 } else { dims[near] };
    let planes: usize = rest.iter().map(|&axis| dims[axis]).product();
    for plane in 0..planes {
        let (mut left, mut source, mut target) = (plane, 0, 0);
        for &axis in rest.iter().rev() {
            source += left % dims[axis] * strides[axis];
            target += left % dims[axis] * to_strides[axis];
            left /= dims[axis];
        }
        for row_tile in (0..rows).step_by(TILE) {
            for column_tile in (0..dims[last]).step_by(TILE) {
                for row in row_tile..rows.min(row_tile + TILE) {
                    for column in column_tile..dims[last].min(column_tile + TILE) {
                        to[target + row * to_strides[near] + column] =
                            from[source + row * strides[near] + column * strides[last]];
                    }
                }
            }
        }
    }
}
