//! Transposed convolutions, as convolutions whose channels are blocks of pixels.
//!
//! Row `oh` of the uncut result is `q*s + r` with `r < s`. The taps that reach it are
//! `kh = r + j*s`, from rows `q - j`: a convolution of stride 1 for every remainder `r`, of
//! `ceil(K / s)` taps in falling order. All remainders of both axes together are one convolution of
//! `sh*sw` times the channels, whose pixels are then laid out as blocks. Groups keep the remainders of
//! their channels together, which a step in between brings into the order of blocks.

use super::convolution::shared_weight;
use super::{operand, optional};
use crate::error::LowerError;
use crate::plan::{Arg, Builder, Operand, Packed};
use depthwise_kernels::conv2d::{self, ConvSpec, PackedConvF32};
use depthwise_kernels::gemm_f32::{GemmF32, GemmSpec, PackedGemmF32};
use depthwise_kernels::layout::{DepthToSpaceOp, GatherOp, SliceOp, View};
use depthwise_layers::ir::Node;
use depthwise_layers::{ConvTranspose2d, LayerError};
use depthwise_tensor::{ConvGeometry, Hw, Nhwc, Pad2d, Shape, Tensor};
use std::sync::Arc;

/// One axis of the convolution that stands for a transposed one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Axis {
    /// Taps, and extent of its output.
    taps: usize,
    output: usize,
    /// Its padding.
    before: usize,
    after: usize,
    /// Rows of the blocks that come before the first of the result.
    skip: usize,
}

impl Axis {
    /// Of a kernel of reach `kernel` (dilation included) over `input` pixels, for `output` rows
    /// after `cut` rows of the uncut result.
    fn new(input: usize, kernel: usize, stride: usize, cut: usize, output: usize) -> Axis {
        let taps = kernel.div_ceil(stride);
        // Whole blocks that are cut off are not computed, as far as there is padding to spare.
        let first = (cut / stride).min(taps - 1);
        let (before, skip) = (taps - 1 - first, cut - first * stride);
        let blocks = (skip + output).div_ceil(stride);
        let after = (blocks + taps - 1).saturating_sub(input + before);
        Axis { taps, output: input + before + after + 1 - taps, before, after, skip }
    }
}

pub(super) fn conv_transpose2d(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &ConvTranspose2d,
) -> Result<(), LowerError> {
    let (x, w) = (operand(node, 0)?, operand(node, 1)?);
    b.need_f32(x)?;
    let (input, weights) = (b.shape(x), b.shape(w));
    let out = layer.output(&input, &weights)?;
    let (geometry, skip) = geometry(layer, &input, &weights, out)?;
    let block = layer.stride;
    let order = Order { groups: layer.groups, remainders: block.area(), channels: out.c };
    let packed = b.packed(w, optional(node, 2), |packer, w, bias| {
        let w = phases(layer, &order, &weights, geometry.kernel, w);
        let bias: Option<Vec<f32>> =
            bias.map(|bias| order.rows().map(|(_, channel)| bias[channel]).collect());
        let (ic, oc, kernel) = (geometry.input.c, geometry.output.c, geometry.kernel);
        Ok(if geometry.is_pointwise() {
            Packed::Gemm(Arc::new(PackedGemmF32::pack_in(
                packer.memory,
                packer.cpu,
                ic,
                oc,
                &w,
                bias.as_deref(),
            )?))
        } else {
            let (cpu, groups) = (packer.cpu, geometry.groups);
            let packed = PackedConvF32::pack(cpu, kernel, ic, oc, groups, &w, bias.as_deref())?;
            Packed::Conv(Arc::new(packed))
        })
    })?;
    let x = b.arg(x)?;
    let deep = b.temporary(shape(geometry.output)?);
    let (ld_in, ld_out) = (x.view.ld, deep.1.ld);
    let activation = layer.activation;
    match packed {
        Packed::Gemm(weights) => {
            let m = geometry.output.pixels();
            let spec = GemmSpec { m, lda: ld_in, ldc: ld_out, residual_ld: None, activation };
            b.push(GemmF32::new(weights, spec, b.threads())?, &[&x], &[deep]);
        }
        Packed::Conv(weights) => {
            let spec = ConvSpec { geometry, ld_in, ld_out, residual_ld: None, activation };
            let op = conv2d::operator(weights, spec, b.threads())?;
            b.push_dyn(op, &[&x], &[deep]);
        }
        _ => return Err(shared_weight()),
    }
    let mut deep = Arg { operand: Operand::Buf(deep.0), view: deep.1 };
    if layer.groups > 1 && block.area() > 1 {
        let places = Tensor::from_vec(&[geometry.output.c], order.places())?;
        let places = Arg {
            operand: Operand::Const(places.bytes().clone()),
            view: View::dense(*places.shape()),
        };
        let sorted = b.temporary(shape(geometry.output)?);
        let op = GatherOp::new(4, deep.view, 3, places.view, sorted.1, b.threads())?;
        b.push(op, &[&deep, &places], &[sorted]);
        deep = Arg { operand: Operand::Buf(sorted.0), view: sorted.1 };
    }
    let wide = Nhwc { h: geometry.output.h * block.h, w: geometry.output.w * block.w, ..out };
    if wide == out {
        let result = b.output(node.outputs[0]);
        b.push(
            DepthToSpaceOp::new(4, deep.view, block, result.1, b.threads())?,
            &[&deep],
            &[result],
        );
        return Ok(());
    }
    let whole = b.temporary(shape(wide)?);
    b.push(DepthToSpaceOp::new(4, deep.view, block, whole.1, b.threads())?, &[&deep], &[whole]);
    let whole = Arg { operand: Operand::Buf(whole.0), view: whole.1 };
    let result = b.output(node.outputs[0]);
    let start = [0, skip.h, skip.w, 0];
    b.push(
        SliceOp::new(4, whole.view, &start, &[1; 4], result.1, b.threads())?,
        &[&whole],
        &[result],
    );
    Ok(())
}

fn shape(x: Nhwc) -> Result<Shape, LayerError> {
    Ok(Shape::new(&[x.n, x.h, x.w, x.c])?)
}

/// The convolution, and the rows and columns of its blocks that come before the result.
fn geometry(
    layer: &ConvTranspose2d,
    input: &Shape,
    weights: &Shape,
    out: Nhwc,
) -> Result<(ConvGeometry, Hw), LowerError> {
    let no_picture = || LowerError::Unsupported(format!("{input}, which is no picture"));
    let input = input.nhwc().ok_or_else(no_picture)?;
    let (stride, d, pad) = (layer.stride, layer.dilation, layer.padding);
    let reach = |kernel: usize, dilation: usize| {
        dilation.saturating_mul(kernel.saturating_sub(1)).saturating_add(1)
    };
    let rows = Axis::new(input.h, reach(weights[1], d.h), stride.h, pad.top, out.h);
    let cols = Axis::new(input.w, reach(weights[2], d.w), stride.w, pad.left, out.w);
    let too_large = || LowerError::Unsupported(format!("a stride of {stride}"));
    let c =
        out.c.checked_mul(stride.h).and_then(|c| c.checked_mul(stride.w)).ok_or_else(too_large)?;
    let geometry = ConvGeometry {
        input,
        output: Nhwc { n: input.n, h: rows.output, w: cols.output, c },
        kernel: Hw { h: rows.taps, w: cols.taps },
        stride: Hw::ONE,
        dilation: Hw::ONE,
        pad: Pad2d { top: rows.before, bottom: rows.after, left: cols.before, right: cols.after },
        groups: layer.groups,
    };
    Ok((geometry, Hw { h: rows.skip, w: cols.skip }))
}

/// The channels of the convolution: group by group, in it remainder by remainder.
struct Order {
    groups: usize,
    remainders: usize,
    /// Channels of the result.
    channels: usize,
}

impl Order {
    /// Remainder, and channel of the result, of every channel in order.
    fn rows(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (remainders, in_group) = (self.remainders, self.channels / self.groups);
        (0..self.groups).flat_map(move |group| {
            (0..remainders * in_group).map(move |i| (i / in_group, group * in_group + i % in_group))
        })
    }

    /// Where the channels of the first remainder lie, then those of the second, ..
    fn places(&self) -> Vec<i64> {
        let mut places = vec![0; self.remainders * self.channels];
        for (place, (remainder, channel)) in self.rows().enumerate() {
            places[remainder * self.channels + channel] = place as i64;
        }
        places
    }
}

/// The weights of the convolution, `sh*sw*OC, taps, taps, C/groups`; zero where a remainder has fewer
/// taps.
fn phases(
    layer: &ConvTranspose2d,
    order: &Order,
    weights: &Shape,
    taps: Hw,
    w: &[f32],
) -> Vec<f32> {
    let [oc_all, kh_all, kw_all, depth] = [0, 1, 2, 3].map(|axis| weights[axis]);
    let (s, d) = (layer.stride, layer.dilation);
    // The tap of the transposed convolution behind tap `at` of remainder `r`.
    let tap = |r: usize, at: usize, taps: usize, stride: usize, dilation: usize, all: usize| {
        let k = r + (taps - 1 - at) * stride;
        (k.is_multiple_of(dilation) && k / dilation < all).then(|| k / dilation)
    };
    let mut phases = vec![0.0; s.area() * oc_all * taps.area() * depth];
    let filters = phases.chunks_exact_mut((taps.area() * depth).max(1));
    for ((phase, oc), filter) in order.rows().zip(filters) {
        for (at, out) in filter.chunks_exact_mut(depth.max(1)).enumerate() {
            let kh = tap(phase / s.w, at / taps.w, taps.h, s.h, d.h, kh_all);
            let kw = tap(phase % s.w, at % taps.w, taps.w, s.w, d.w, kw_all);
            if let (Some(kh), Some(kw)) = (kh, kw) {
                let at = ((oc * kh_all + kh) * kw_all + kw) * depth;
                out.copy_from_slice(&w[at..at + depth]);
            }
        }
    }
    phases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_as_large_as_the_stride_are_pointwise() {
        let axis = Axis { taps: 1, output: 5, before: 0, after: 0, skip: 0 };
        assert_eq!(Axis::new(5, 2, 2, 0, 10), axis);
        assert_eq!(Axis::new(5, 1, 2, 0, 9), axis);
    }

    #[test]
    fn rows_cut_off_need_less_padding() {
        // 3 taps, stride 2, 5 rows: 11 uncut, the last one cut off.
        let axis = Axis { taps: 2, output: 5, before: 1, after: 0, skip: 0 };
        assert_eq!(Axis::new(5, 3, 2, 0, 10), axis);
        // 4 taps, stride 2, one row cut off at either end.
        let axis = Axis { taps: 2, output: 6, before: 1, after: 1, skip: 1 };
        assert_eq!(Axis::new(5, 4, 2, 1, 10), axis);
        // A whole block cut off.
        let axis = Axis { taps: 3, output: 5, before: 1, after: 1, skip: 0 };
        assert_eq!(Axis::new(5, 5, 2, 2, 9), axis);
    }
}
