//! The kernel families: their `KERNELS` lists, and each entry as an operator on a layer.

use crate::case::{Case, CaseError, values};
use crate::families_bwd;
use crate::families_qs8;
use crate::shapes::{Kind, Layer};
use depthwise_kernels::conv2d::{ConvF32, ConvSpec, PackedConvF32};
use depthwise_kernels::dense_f16::{DenseF16, DenseSpec, PackedDenseF16};
use depthwise_kernels::dwconv_f32::{DwConvF32, DwSpec, PackedDwF32};
use depthwise_kernels::eltwise::{BinaryF32, BinaryOp, UnaryF32, UnaryOp};
use depthwise_kernels::gemm_bf16::{GemmBf16, PackedGemmBf16};
use depthwise_kernels::gemm_f32::{GemmF32, GemmSpec, PackedGemmF32};
use depthwise_kernels::layout::{Permute, View};
use depthwise_kernels::pool::{PoolF32, PoolKind, PoolSpec};
use depthwise_kernels::reduce::{ReduceF32, ReduceOp};
use depthwise_kernels::resize::{AxisTaps, ResizeF32, ResizeSpec};
use depthwise_kernels::softmax::SoftmaxF32;
use depthwise_kernels::stem::StemF32;
use depthwise_kernels::{
    Cpu, KernelInfo, Operator, batch_norm, conv2d, conv2d_bwd, dense_f16, dwconv_bwd, dwconv_f32,
    dwconv_qs8, eltwise, eltwise_qs8, gemm_bf16, gemm_f32, gemm_qs8, layout, pool, pool_qs8,
    reduce, resize, softmax, stem,
};
use depthwise_tensor::{Hw, Nhwc, PoolGeometry, Shape, padded_ld};
use std::sync::Arc;

/// A kernel family.
#[derive(Clone, Copy)]
pub struct Family {
    /// Name of its module.
    pub name: &'static str,
    /// What it computes.
    pub what: &'static str,
    kernels: fn() -> Vec<KernelInfo>,
    operator: Build,
}

/// Makes the operator of entry `index` of the list; `None` where it does not compute such layers.
type Build = fn(usize, &Layer, usize) -> Result<Option<Arc<dyn Operator>>, CaseError>;

/// All families that have a list of kernels.
pub const FAMILIES: &[Family] = &[
    Family {
        name: "gemm_f32",
        what: "matrix product: pointwise convolution, dense layer",
        kernels: || gemm_f32::KERNELS.iter().map(|k| k.info()).collect(),
        operator: gemm,
    },
    Family {
        name: "gemm_bf16",
        what: "matrix product of bfloat16: pointwise and other convolution, dense layer",
        kernels: || gemm_bf16::KERNELS.iter().map(|k| k.info()).collect(),
        operator: gemm_rounded,
    },
    Family {
        name: "dense_f16",
        what: "dense layer with weights of half precision",
        kernels: || dense_f16::KERNELS.iter().map(|k| k.info()).collect(),
        operator: dense_half,
    },
    Family {
        name: "dwconv_f32",
        what: "depthwise convolution",
        kernels: || dwconv_f32::KERNELS.iter().map(|k| k.info()).collect(),
        operator: depthwise,
    },
    Family {
        name: "conv2d",
        what: "convolution of any kernel size, groups and dilation",
        kernels: || conv2d::KERNELS.iter().map(|k| k.info()).collect(),
        operator: convolution,
    },
    Family {
        name: "stem",
        what: "first convolution of a picture network",
        kernels: || stem::KERNELS.iter().map(|k| k.info()).collect(),
        operator: first_convolution,
    },
    Family {
        name: "pool",
        what: "maximum and average over windows",
        kernels: || pool::KERNELS.iter().map(|k| k.info()).collect(),
        operator: pooling,
    },
    Family {
        name: "eltwise",
        what: "functions of one or two operands, with broadcasting",
        kernels: || eltwise::KERNELS.iter().map(|k| k.info()).collect(),
        operator: elementwise,
    },
    Family {
        name: "reduce",
        what: "mean, sum, extremes, norms over axes",
        kernels: || reduce::KERNELS.iter().map(|k| k.info()).collect(),
        operator: reduction,
    },
    Family {
        name: "resize",
        what: "nearest, linear and cubic interpolation",
        kernels: || resize::KERNELS.iter().map(|k| k.info()).collect(),
        operator: upsample,
    },
    Family {
        name: "softmax",
        what: "exponentials normalised along an axis",
        kernels: || softmax::KERNELS.iter().map(|k| k.info()).collect(),
        operator: normalise,
    },
    Family {
        name: "layout",
        what: "transposition of a matrix: NCHW to NHWC and back",
        kernels: || layout::KERNELS.iter().map(|k| k.info()).collect(),
        operator: transposition,
    },
    Family {
        name: "gemm_qs8",
        what: "matrix product of bytes",
        kernels: || gemm_qs8::KERNELS.iter().map(|k| k.info()).collect(),
        operator: families_qs8::gemm,
    },
    Family {
        name: "dwconv_qs8",
        what: "depthwise convolution of bytes",
        kernels: || dwconv_qs8::KERNELS.iter().map(|k| k.info()).collect(),
        operator: families_qs8::depthwise,
    },
    Family {
        name: "conv2d_qs8",
        what: "convolution of bytes, by the kernels of `gemm_qs8`",
        kernels: || gemm_qs8::KERNELS.iter().map(|k| k.info()).collect(),
        operator: families_qs8::convolution,
    },
    Family {
        name: "eltwise_qs8",
        what: "bytes one by one: to and from floats, sums, products",
        kernels: || eltwise_qs8::KERNELS.iter().map(|k| k.info()).collect(),
        operator: families_qs8::elementwise,
    },
    Family {
        name: "pool_qs8",
        what: "maximum, average and interpolation of bytes",
        kernels: || pool_qs8::KERNELS.iter().map(|k| k.info()).collect(),
        operator: families_qs8::pooling,
    },
    Family {
        name: "conv2d_bwd",
        what: "weight gradient of a matrix product",
        kernels: || conv2d_bwd::KERNELS.iter().map(|k| k.info()).collect(),
        operator: families_bwd::weight_gradient,
    },
    Family {
        name: "dwconv_bwd",
        what: "gradients of a depthwise convolution",
        kernels: || dwconv_bwd::KERNELS.iter().map(|k| k.info()).collect(),
        operator: families_bwd::depthwise_gradient,
    },
    Family {
        name: "batch_norm",
        what: "batch normalization in training, and its gradient",
        kernels: || batch_norm::KERNELS.iter().map(|k| k.info()).collect(),
        operator: families_bwd::batch_sums,
    },
];

impl Family {
    /// The family of this name.
    pub fn find(name: &str) -> Option<&'static Family> {
        FAMILIES.iter().find(|family| family.name == name)
    }

    /// The list of the family, best first.
    pub fn kernels(&self) -> Vec<KernelInfo> {
        (self.kernels)()
    }

    /// Entry `index` of the list on a layer, split for `threads` threads; `None` where the entry
    /// does not compute such layers or the CPU lacks its level.
    ///
    /// # Errors
    /// [`CaseError`] where the operator refuses a layer that it should take.
    pub fn case(
        &self,
        index: usize,
        layer: &Layer,
        threads: usize,
    ) -> Result<Option<Case>, CaseError> {
        if !self.is_supported(index) {
            return Ok(None);
        }
        (self.operator)(index, layer, threads)?.map(Case::new).transpose()
    }

    /// Whether [`Family::case`] gives something.
    pub fn computes(&self, index: usize, layer: &Layer) -> bool {
        self.is_supported(index) && matches!((self.operator)(index, layer, 1), Ok(Some(_)))
    }

    fn is_supported(&self, index: usize) -> bool {
        self.kernels().get(index).is_some_and(|kernel| kernel.is_supported(&Cpu::detect()))
    }
}

fn gemm(index: usize, l: &Layer, threads: usize) -> Result<Option<Arc<dyn Operator>>, CaseError> {
    if !matches!(l.kind, Kind::Pointwise | Kind::Dense) {
        return Ok(None);
    }
    let kernel = gemm_f32::KERNELS[index];
    let (weights, bias) = (values(l.oc * l.ic), values(l.oc));
    let packed = PackedGemmF32::with_kernel(kernel, l.ic, l.oc, &weights, Some(&bias))?;
    // Rows that hold whole panels of this kernel.
    let ldc = padded_ld(l.oc.next_multiple_of(kernel.nr()));
    let spec = GemmSpec {
        m: l.h * l.w,
        lda: padded_ld(l.ic),
        ldc,
        residual_ld: l.residual.then_some(ldc),
        activation: l.activation(),
    };
    Ok(Some(Arc::new(GemmF32::new(Arc::new(packed), spec, threads)?)))
}

fn gemm_rounded(
    index: usize,
    l: &Layer,
    threads: usize,
) -> Result<Option<Arc<dyn Operator>>, CaseError> {
    if !matches!(l.kind, Kind::Pointwise | Kind::Dense | Kind::Conv) {
        return Ok(None);
    }
    let (kernel, geometry) = (gemm_bf16::KERNELS[index], l.geometry());
    let k = if l.kind == Kind::Conv { geometry.kernel.area() * l.ic } else { l.ic };
    let (weights, bias) = (values(l.oc * k), values(l.oc));
    let packed = PackedGemmBf16::with_kernel(kernel, k, l.oc, &weights, Some(&bias))?;
    let packed = Arc::new(packed);
    let (lda, ldc) = (padded_ld(l.ic), padded_ld(l.oc.next_multiple_of(kernel.nr())));
    let (residual_ld, activation) = (l.residual.then_some(ldc), l.activation());
    let op = if l.kind == Kind::Conv {
        let spec = ConvSpec { geometry, ld_in: lda, ld_out: ldc, residual_ld, activation };
        GemmBf16::convolution(packed, spec, threads)?
    } else {
        let spec = GemmSpec { m: l.h * l.w, lda, ldc, residual_ld, activation };
        GemmBf16::new(packed, spec, threads)?
    };
    Ok(Some(Arc::new(op)))
}

fn dense_half(
    index: usize,
    l: &Layer,
    threads: usize,
) -> Result<Option<Arc<dyn Operator>>, CaseError> {
    if l.kind != Kind::Dense {
        return Ok(None);
    }
    let (weights, bias) = (values(l.oc * l.ic), values(l.oc));
    let kernel = dense_f16::KERNELS[index];
    let packed = PackedDenseF16::with_kernel(kernel, l.ic, l.oc, &weights, Some(&bias))?;
    let spec = DenseSpec {
        m: l.h * l.w,
        lda: padded_ld(l.ic),
        ldc: padded_ld(l.oc),
        activation: l.activation(),
    };
    Ok(Some(Arc::new(DenseF16::new(Arc::new(packed), spec, threads)?)))
}

fn depthwise(
    index: usize,
    l: &Layer,
    threads: usize,
) -> Result<Option<Arc<dyn Operator>>, CaseError> {
    let (kernel, geometry) = (&dwconv_f32::KERNELS[index], l.geometry());
    if l.kind != Kind::Depthwise || !kernel.fits(&geometry) {
        return Ok(None);
    }
    let (weights, bias) = (values(geometry.kernel.area() * l.oc), values(l.oc));
    let multiplier = l.oc / l.ic;
    let packed = PackedDwF32::pack(
        &Cpu::detect(),
        geometry.kernel,
        l.ic,
        multiplier,
        &weights,
        Some(&bias),
    )?;
    let spec = DwSpec {
        geometry,
        ld_in: padded_ld(l.ic),
        ld_out: padded_ld(l.oc),
        residual_ld: None,
        activation: l.activation(),
    };
    Ok(Some(Arc::new(DwConvF32::with_kernel(kernel, Arc::new(packed), spec, threads)?)))
}

/// Weights for one kernel of `conv2d`, and the layer as its operators want it.
fn packed_convolution(
    kernel: &'static conv2d::Kernel,
    l: &Layer,
) -> Result<(Arc<PackedConvF32>, ConvSpec), CaseError> {
    let geometry = l.geometry();
    let taps = geometry.kernel;
    let (weights, bias) = (values(l.oc * taps.area() * l.ic), values(l.oc));
    let packed = PackedConvF32::with_kernel(kernel, taps, l.ic, l.oc, 1, &weights, Some(&bias))?;
    let ld_out = padded_ld(l.oc.next_multiple_of(kernel.nr()));
    // The picture that a network is given is dense.
    let ld_in = if l.ic <= 4 { l.ic } else { padded_ld(l.ic) };
    let residual_ld = l.residual.then_some(ld_out);
    let spec = ConvSpec { geometry, ld_in, ld_out, residual_ld, activation: l.activation() };
    Ok((Arc::new(packed), spec))
}

fn convolution(
    index: usize,
    l: &Layer,
    threads: usize,
) -> Result<Option<Arc<dyn Operator>>, CaseError> {
    if l.kind != Kind::Conv {
        return Ok(None);
    }
    let (packed, spec) = packed_convolution(&conv2d::KERNELS[index], l)?;
    Ok(Some(Arc::new(ConvF32::new(packed, spec, threads)?)))
}

fn first_convolution(
    index: usize,
    l: &Layer,
    threads: usize,
) -> Result<Option<Arc<dyn Operator>>, CaseError> {
    let kernel = &stem::KERNELS[index];
    // The kernels of the two families share panels of the same width.
    let same = |k: &&conv2d::Kernel| k.info().isa == kernel.info().isa && k.nr() == kernel.nr();
    let Some(panels) = conv2d::KERNELS.iter().find(same) else { return Ok(None) };
    if l.kind != Kind::Conv {
        return Ok(None);
    }
    let (packed, spec) = packed_convolution(panels, l)?;
    if !StemF32::applies(&packed, &spec) {
        return Ok(None);
    }
    Ok(Some(Arc::new(StemF32::new(packed, spec, threads)?)))
}

fn pooling(
    index: usize,
    l: &Layer,
    threads: usize,
) -> Result<Option<Arc<dyn Operator>>, CaseError> {
    let Some(spec) = geometry_of_pool(l) else { return Ok(None) };
    Ok(Some(Arc::new(PoolF32::with_kernel(&pool::KERNELS[index], spec, threads)?)))
}

/// The window of a pool, or of the mean over a picture.
pub(crate) fn geometry_of_pool(l: &Layer) -> Option<PoolSpec> {
    let g = l.geometry();
    let (kernel, output, kind) = match l.kind {
        Kind::MaxPool => (g.kernel, g.output, PoolKind::Max),
        Kind::Mean => {
            let output = Nhwc { n: 1, h: 1, w: 1, c: l.ic };
            (g.input.hw(), output, PoolKind::Average { include_pad: false })
        }
        _ => return None,
    };
    Some(PoolSpec {
        geometry: PoolGeometry {
            input: g.input,
            output,
            kernel,
            stride: g.stride,
            dilation: g.dilation,
            pad: g.pad,
        },
        kind,
        ld_in: padded_ld(l.ic),
        ld_out: padded_ld(l.ic),
    })
}

/// A padded view of a picture of one; extents that are 0 have no shape.
fn view(dims: &[usize]) -> Option<View> {
    Some(View::padded(Shape::new(dims).ok()?))
}

fn elementwise(
    index: usize,
    l: &Layer,
    threads: usize,
) -> Result<Option<Arc<dyn Operator>>, CaseError> {
    let kernel = &eltwise::KERNELS[index];
    let Some((x, gate)) = view(&[1, l.h, l.w, l.ic]).zip(view(&[1, 1, 1, l.ic])) else {
        return Ok(None);
    };
    let (function, other) = match l.kind {
        Kind::Scale => (BinaryOp::Mul, gate),
        Kind::Add => (BinaryOp::Add, x),
        Kind::Activate => {
            let function = UnaryOp::Activation(l.activation());
            let op = UnaryF32::with_kernel(kernel, function, x.rows(), x.rows(), threads)?;
            return Ok(Some(Arc::new(op)));
        }
        _ => return Ok(None),
    };
    let op = BinaryF32::with_kernel(kernel, function, l.activation(), x, other, x, threads)?;
    Ok(Some(Arc::new(op)))
}

fn reduction(
    index: usize,
    l: &Layer,
    threads: usize,
) -> Result<Option<Arc<dyn Operator>>, CaseError> {
    let views = view(&[1, l.h, l.w, l.ic]).zip(view(&[1, 1, 1, l.ic]));
    let (Some((x, y)), Kind::Mean) = (views, l.kind) else { return Ok(None) };
    let kernel = &reduce::KERNELS[index];
    Ok(Some(Arc::new(ReduceF32::with_kernel(kernel, ReduceOp::Mean, x, &[1, 2], y, threads)?)))
}

fn upsample(
    index: usize,
    l: &Layer,
    threads: usize,
) -> Result<Option<Arc<dyn Operator>>, CaseError> {
    if l.kind != Kind::Upsample {
        return Ok(None);
    }
    let output = Hw { h: l.h * l.stride, w: l.w * l.stride };
    let spec = ResizeSpec {
        input: Nhwc { n: 1, h: l.h, w: l.w, c: l.ic },
        output: Nhwc { n: 1, h: output.h, w: output.w, c: l.ic },
        ld_in: padded_ld(l.ic),
        ld_out: padded_ld(l.ic),
        rows: linear(l.h, output.h),
        cols: linear(l.w, output.w),
    };
    Ok(Some(Arc::new(ResizeF32::with_kernel(&resize::KERNELS[index], spec, threads)?)))
}

/// Linear interpolation between pixel centres (ONNX `half_pixel`).
pub(crate) fn linear(input: usize, output: usize) -> AxisTaps {
    let (mut positions, mut weights) = (Vec::new(), Vec::new());
    for o in 0..output {
        let at = ((o as f32 + 0.5) * input as f32 / output as f32 - 0.5).max(0.0);
        let first = (at as usize).min(input - 1);
        positions.extend([first as u32, (first + 1).min(input - 1) as u32]);
        weights.extend([1.0 - at.fract(), at.fract()]);
    }
    AxisTaps { taps: 2, index: positions, weight: weights }
}

fn normalise(
    index: usize,
    l: &Layer,
    threads: usize,
) -> Result<Option<Arc<dyn Operator>>, CaseError> {
    let (Some(x), Kind::Softmax) = (view(&[1, l.h, l.w, l.ic]), l.kind) else { return Ok(None) };
    let kernel = &softmax::KERNELS[index];
    Ok(Some(Arc::new(SoftmaxF32::with_kernel(kernel, x, 3, false, x, threads)?)))
}

fn transposition(
    index: usize,
    l: &Layer,
    threads: usize,
) -> Result<Option<Arc<dyn Operator>>, CaseError> {
    let shape = Shape::new(&[1, l.ic, l.h, l.w]).ok();
    let (Some(shape), Some(y), Kind::ToNhwc) = (shape, view(&[1, l.h, l.w, l.ic]), l.kind) else {
        return Ok(None);
    };
    let (kernel, bytes) = (&layout::KERNELS[index], size_of::<f32>());
    let op = Permute::with_kernel(kernel, bytes, View::dense(shape), &[0, 2, 3, 1], y, threads)?;
    Ok(Some(Arc::new(op)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::{NETS, OTHERS};
    use depthwise_kernels::Par;

    #[test]
    fn every_supported_kernel_runs_on_some_layer_under_its_own_name() {
        for family in FAMILIES {
            for (index, kernel) in family.kernels().into_iter().enumerate() {
                if !kernel.is_supported(&Cpu::detect()) {
                    continue;
                }
                let layers = NETS.iter().chain([&OTHERS]).flat_map(|net| net.layers().unwrap());
                // The smallest layers: this is a test of the table, not of the kernels.
                let mut layers: Vec<Layer> = layers.collect();
                layers.sort_by_key(|l| l.h * l.w * l.oc);
                let case = layers.iter().find_map(|l| family.case(index, l, 1).unwrap());
                let mut case = case.unwrap_or_else(|| panic!("no layer for {}", kernel.name));
                assert_eq!(case.kernel(), kernel.name);
                case.run(&Par::single());
            }
        }
    }

    #[test]
    fn every_layer_is_taken_by_a_family_and_counts_its_macs() {
        for net in NETS.iter().chain([&OTHERS]) {
            for layer in net.layers().unwrap() {
                let mut taken = 0;
                for family in FAMILIES {
                    let last = family.kernels().len() - 1;
                    let Some(case) = family.case(last, &layer, 1).unwrap() else { continue };
                    taken += 1;
                    if case.macs() > 0 {
                        assert_eq!(case.macs(), layer.geometry().macs(), "{layer:?}");
                    }
                }
                assert!(taken > 0, "{}: {layer:?}", net.name);
            }
        }
    }
}
