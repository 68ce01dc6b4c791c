//! Convolutions.

use super::{operand, optional};
use crate::error::LowerError;
use crate::plan::{Builder, Packed, PixelChain};
use depthwise_kernels::conv2d::{self, ConvSpec, PackedConvF32};
use depthwise_kernels::dwconv_f32::{DwConvF32, DwSpec, PackedDwF32};
use depthwise_kernels::fused::Stage;
use depthwise_kernels::gemm_f32::{GemmF32, GemmSpec, PackedGemmF32};
use depthwise_kernels::stem::StemF32;
use depthwise_layers::ir::Node;
use depthwise_layers::{Activation, Conv2d, DepthwiseConv2d};
use depthwise_tensor::{ConvGeometry, padded_ld};
use std::sync::Arc;

pub(super) fn conv2d(b: &mut Builder<'_>, node: &Node, layer: &Conv2d) -> Result<(), LowerError> {
    let (x, w) = (operand(node, 0)?, operand(node, 1)?);
    let (bias, residual) = (optional(node, 2), optional(node, 3));
    let geometry = layer.geometry(b.shape(x), b.shape(w))?;
    b.need_f32(x)?;
    let pointwise = geometry.is_pointwise();
    let packed = b.packed(w, bias, |packer, w, bias| {
        let (ic, oc) = (geometry.input.c, geometry.output.c);
        Ok(if geometry.kernel.area() == 1 && geometry.groups == 1 && pointwise {
            Packed::Gemm(Arc::new(PackedGemmF32::pack_in(
                packer.memory,
                packer.cpu,
                ic,
                oc,
                w,
                bias,
            )?))
        } else {
            let kernel = geometry.kernel;
            Packed::Conv(Arc::new(PackedConvF32::pack(
                packer.cpu,
                kernel,
                ic,
                oc,
                geometry.groups,
                w,
                bias,
            )?))
        })
    })?;
    let bytes = match (b.pixels_before(), &packed) {
        (Some(chain), Packed::Conv(weights)) if may_read_bytes(b, weights, &geometry, &chain) => {
            Some(chain)
        }
        (Some(chain), _) => {
            b.lower_chain(chain)?;
            None
        }
        (None, _) => None,
    };
    let x = b.arg(bytes.as_ref().map_or(x, |chain| chain.source))?;
    let residual = residual.map(|r| b.padded_arg(r)).transpose()?;
    let residual_ld = residual.as_ref().map(|r| r.view.ld);
    let (buf, view) = b.output(node.outputs[0]);
    let inputs: Vec<_> = std::iter::once(&x).chain(residual.as_ref()).collect();
    let activation = layer.activation;
    match packed {
        Packed::Gemm(weights) => {
            let m = geometry.output.pixels();
            let spec = GemmSpec { m, lda: x.view.ld, ldc: view.ld, residual_ld, activation };
            let op = GemmF32::new(weights, spec, b.threads())?;
            b.push_stage(Stage::Pointwise(Arc::new(op)), &inputs, &[(buf, view)]);
        }
        Packed::Conv(weights) => {
            let (ld_in, ld_out) = (x.view.ld, view.ld);
            let spec = ConvSpec { geometry, ld_in, ld_out, residual_ld, activation };
            if StemF32::applies(&weights, &spec) {
                let op = match bytes {
                    Some(chain) => StemF32::of_bytes(weights, spec, &chain.pixels, b.threads())?,
                    None => StemF32::new(weights, spec, b.threads())?,
                };
                b.push_stage(Stage::Stem(Arc::new(op)), &inputs, &[(buf, view)]);
            } else {
                let op = conv2d::operator(weights, spec, b.threads())?;
                b.push_dyn(op, &inputs, &[(buf, view)]);
            }
        }
        _ => return Err(shared_weight()),
    }
    Ok(())
}

/// Whether the stem computes a convolution of these bytes, which lie in memory without gaps.
fn may_read_bytes(
    b: &mut Builder<'_>,
    weights: &PackedConvF32,
    geometry: &ConvGeometry,
    chain: &PixelChain,
) -> bool {
    let ld_in = b.arg(chain.source).map_or(0, |x| x.view.ld);
    let spec = ConvSpec {
        geometry: *geometry,
        ld_in,
        ld_out: padded_ld(geometry.output.c),
        residual_ld: None,
        activation: Activation::Identity,
    };
    ld_in == geometry.input.c && StemF32::applies(weights, &spec)
}

pub(super) fn depthwise(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &DepthwiseConv2d,
) -> Result<(), LowerError> {
    let (x, w) = (operand(node, 0)?, operand(node, 1)?);
    let geometry = layer.geometry(b.shape(x), b.shape(w))?;
    let channels = geometry.input.c;
    let multiplier = geometry.output.c.checked_div(channels).unwrap_or(1);
    let packed = b.packed(w, optional(node, 2), |packer, w, bias| {
        let kernel = geometry.kernel;
        let packed = PackedDwF32::pack(packer.cpu, kernel, channels, multiplier, w, bias)?;
        Ok(Packed::Depthwise(Arc::new(packed)))
    })?;
    let Packed::Depthwise(weights) = packed else { return Err(shared_weight()) };
    let x = b.padded_arg(x)?;
    let (buf, view) = b.output(node.outputs[0]);
    let spec = DwSpec {
        geometry,
        ld_in: x.view.ld,
        ld_out: view.ld,
        residual_ld: None,
        activation: layer.activation,
    };
    let op = DwConvF32::new(weights, spec, b.threads())?;
    b.push_stage(Stage::Depthwise(Arc::new(op)), &[&x], &[(buf, view)]);
    Ok(())
}

/// Two layers that read one constant and need it packed in different ways.
pub(super) fn shared_weight() -> LowerError {
    LowerError::Unsupported("a weight that layers of different kinds share".into())
}
