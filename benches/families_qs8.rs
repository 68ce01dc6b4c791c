//! The families of 8-bit kernels as operators on a layer.

use crate::case::{CaseError, values};
use crate::families::{geometry_of_pool, linear};
use crate::shapes::{Kind, Layer};
use depthwise_kernels::Operator;
use depthwise_kernels::conv2d_qs8::{ConvQSpec, ConvQs8, PackedConvQs8};
use depthwise_kernels::dwconv_qs8::{self, DwConvQs8, DwQSpec, PackedDwQs8};
use depthwise_kernels::eltwise_qs8::{self, BinaryQ, BinaryQs8};
use depthwise_kernels::gemm_qs8::{self, GemmQSpec, GemmQs8, PackedGemmQs8};
use depthwise_kernels::pool_qs8::{self, PoolQs8, Rescale, ResizeQs8};
use depthwise_kernels::quant::{Out8, Output, QWeights, Quant8, Weights8};
use depthwise_kernels::resize::ResizeSpec;
use depthwise_tensor::{Nhwc, Rows, padded_ld};
use std::sync::Arc;

type Built = Result<Option<Arc<dyn Operator>>, CaseError>;

const INPUT: Quant8 = Quant8::u8(128);
const OUTPUT: Out8 = Out8::full(Quant8::i8(-5));

/// Signed weights.
fn weights(count: usize) -> Vec<i8> {
    values(count).into_iter().map(|w| (w * 127.0) as i8).collect()
}

/// Weights with a bias of 0 and no zero points.
fn symmetric(weights: &[i8]) -> QWeights<'_> {
    QWeights { weights: Weights8::I8(weights), zero_points: &[], bias: None }
}

/// Multipliers that leave sums of this depth within the bytes.
fn multipliers(depth: usize, n: usize) -> Vec<f32> {
    vec![1.0 / (40.0 * depth as f32); n]
}

pub(crate) fn gemm(index: usize, l: &Layer, threads: usize) -> Built {
    if !matches!(l.kind, Kind::Pointwise | Kind::Dense) {
        return Ok(None);
    }
    let kernel = gemm_qs8::KERNELS[index];
    let weights = weights(l.oc * l.ic);
    let packed = PackedGemmQs8::with_kernel(kernel, l.ic, l.oc, &symmetric(&weights))?;
    let spec = GemmQSpec {
        m: l.h * l.w,
        lda: padded_ld(l.ic),
        ldc: padded_ld(l.oc.next_multiple_of(kernel.nr())),
        input: INPUT,
        output: Output::Bytes(OUTPUT),
    };
    let op = GemmQs8::new(Arc::new(packed), &multipliers(l.ic, l.oc), spec, threads)?;
    Ok(Some(Arc::new(op)))
}

pub(crate) fn depthwise(index: usize, l: &Layer, threads: usize) -> Built {
    if l.kind != Kind::Depthwise {
        return Ok(None);
    }
    let (kernel, geometry) = (dwconv_qs8::KERNELS[index], l.geometry());
    let weights = weights(geometry.kernel.area() * l.oc);
    let taps = geometry.kernel;
    let weights = symmetric(&weights);
    let packed = PackedDwQs8::with_kernel(kernel, taps, l.ic, l.oc / l.ic, &weights)?;
    let spec = DwQSpec {
        geometry,
        ld_in: padded_ld(l.ic),
        ld_out: padded_ld(l.oc),
        input: INPUT,
        output: OUTPUT,
    };
    let m = multipliers(taps.area(), l.oc);
    Ok(Some(Arc::new(DwConvQs8::new(Arc::new(packed), &m, spec, threads)?)))
}

pub(crate) fn convolution(index: usize, l: &Layer, threads: usize) -> Built {
    if l.kind != Kind::Conv {
        return Ok(None);
    }
    let (kernel, geometry) = (gemm_qs8::KERNELS[index], l.geometry());
    let depth = geometry.kernel.area() * l.ic;
    let weights = weights(l.oc * depth);
    let ends = (l.ic, l.oc, 1);
    let packed = PackedConvQs8::with_kernel(kernel, geometry.kernel, ends, &symmetric(&weights))?;
    let spec = ConvQSpec {
        geometry,
        ld_in: if l.ic <= 4 { l.ic } else { padded_ld(l.ic) },
        ld_out: padded_ld(l.oc.next_multiple_of(kernel.nr())),
        input: INPUT,
        output: Output::Bytes(OUTPUT),
    };
    let op = ConvQs8::new(Arc::new(packed), &multipliers(depth, l.oc), spec, threads)?;
    Ok(Some(Arc::new(op)))
}

pub(crate) fn elementwise(index: usize, l: &Layer, threads: usize) -> Built {
    let kernel = eltwise_qs8::KERNELS[index];
    let x = Rows { rows: l.h * l.w, c: l.ic, ld: padded_ld(l.ic) };
    let (function, b) = match l.kind {
        Kind::Scale => (BinaryQ::Mul { m: 0.01 }, Rows { rows: 1, ..x }),
        Kind::Add => (BinaryQ::Add { a: 0.5, b: 0.7 }, x),
        _ => return Ok(None),
    };
    let inputs = ((INPUT, x), (INPUT, b));
    let op = BinaryQs8::with_kernel(kernel, function, inputs, (OUTPUT, x), threads)?;
    Ok(Some(Arc::new(op)))
}

pub(crate) fn pooling(index: usize, l: &Layer, threads: usize) -> Built {
    let kernel = pool_qs8::KERNELS[index];
    let rescale = Rescale { input: INPUT, output: OUTPUT, ratio: 1.3 };
    if let Some(spec) = geometry_of_pool(l) {
        return Ok(Some(Arc::new(PoolQs8::with_kernel(kernel, spec, rescale, threads)?)));
    }
    if l.kind != Kind::Upsample {
        return Ok(None);
    }
    let (h, w) = (l.h * l.stride, l.w * l.stride);
    let spec = ResizeSpec {
        input: Nhwc { n: 1, h: l.h, w: l.w, c: l.ic },
        output: Nhwc { n: 1, h, w, c: l.ic },
        ld_in: padded_ld(l.ic),
        ld_out: padded_ld(l.ic),
        rows: linear(l.h, h),
        cols: linear(l.w, w),
    };
    Ok(Some(Arc::new(ResizeQs8::with_kernel(kernel, spec, rescale, threads)?)))
}
