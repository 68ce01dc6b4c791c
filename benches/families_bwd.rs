//! The families that serve training, as operators on a layer; see [`families`](crate::families).

use crate::case::CaseError;
use crate::shapes::{Kind, Layer};
use depthwise_kernels::batch_norm::BatchSumsF32;
use depthwise_kernels::conv2d_bwd::{WeightGradF32, WeightGradSpec};
use depthwise_kernels::dwconv_bwd::{DwGradSpec, DwWeightGradF32};
use depthwise_kernels::{Operator, batch_norm, conv2d_bwd, dwconv_bwd};
use depthwise_tensor::{Rows, padded_ld};
use std::sync::Arc;

pub(crate) fn weight_gradient(
    index: usize,
    l: &Layer,
    threads: usize,
) -> Result<Option<Arc<dyn Operator>>, CaseError> {
    if !matches!(l.kind, Kind::Pointwise | Kind::Dense) {
        return Ok(None);
    }
    let spec = WeightGradSpec {
        pixels: l.h * l.w,
        outputs: l.oc,
        depth: l.ic,
        ld_dy: padded_ld(l.oc),
        ld_x: padded_ld(l.ic),
        ld_dw: l.ic,
    };
    let kernel = conv2d_bwd::KERNELS[index];
    Ok(Some(Arc::new(WeightGradF32::with_kernel(kernel, spec, threads)?)))
}

pub(crate) fn depthwise_gradient(
    index: usize,
    l: &Layer,
    threads: usize,
) -> Result<Option<Arc<dyn Operator>>, CaseError> {
    if l.kind != Kind::Depthwise || l.ic != l.oc {
        return Ok(None);
    }
    let ld = padded_ld(l.ic);
    let spec = DwGradSpec { geometry: l.geometry(), ld_x: ld, ld_dy: ld };
    let kernel = &dwconv_bwd::KERNELS[index];
    Ok(Some(Arc::new(DwWeightGradF32::with_kernel(kernel, spec, threads)?)))
}

pub(crate) fn batch_sums(
    index: usize,
    l: &Layer,
    threads: usize,
) -> Result<Option<Arc<dyn Operator>>, CaseError> {
    if l.kind != Kind::Activate {
        return Ok(None);
    }
    let x = Rows { rows: l.h * l.w, c: l.ic, ld: padded_ld(l.ic) };
    let kernel = &batch_norm::KERNELS[index];
    Ok(Some(Arc::new(BatchSumsF32::with_kernel(kernel, x, threads)?)))
}
