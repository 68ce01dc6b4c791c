//! Checks and splits that the families over padded NHWC pictures share.

use crate::operator::KernelError;
use depthwise_tensor::{Nhwc, Rows, WindowAxis};
use std::ops::Range;

/// Channels of a line: what chunks that split channels are made of.
pub(crate) const BLOCK: usize = 16;

pub(crate) fn invalid(kernel: &'static str, reason: String) -> KernelError {
    KernelError::Invalid { kernel, reason }
}

pub(crate) fn unsupported(kernel: &'static str, reason: String) -> KernelError {
    KernelError::Unsupported { kernel, reason }
}

/// Refuses a picture whose pixels do not fit the address space.
pub(crate) fn check_picture(kernel: &'static str, picture: &Nhwc) -> Result<(), KernelError> {
    let Nhwc { n, h, w, c } = *picture;
    // A zero extent must not hide an overflow of the others.
    let elements = [n, h, w, c].into_iter().try_fold(1usize, |n, x| n.checked_mul(x.max(1)));
    match elements {
        Some(elements) if elements <= isize::MAX as usize / size_of::<f32>() => Ok(()),
        _ => Err(invalid(kernel, format!("{n}x{h}x{w}x{c} is larger than memory"))),
    }
}

/// Refuses a pixel stride that is not padded to vectors.
pub(crate) fn check_ld(kernel: &'static str, ld: usize, c: usize) -> Result<(), KernelError> {
    if (Rows { rows: 1, c, ld }).is_vector_padded() {
        return Ok(());
    }
    Err(unsupported(kernel, format!("pixel stride {ld} for {c} channels")))
}

/// Refuses a sliding window without taps or steps, or with positions past the address space.
pub(crate) fn check_window(kernel: &'static str, axis: &WindowAxis) -> Result<(), KernelError> {
    if axis.kernel == 0 || axis.stride == 0 || axis.dilation == 0 {
        return Err(invalid(kernel, format!("window of nothing: {axis:?}")));
    }
    let steps = axis.output.checked_mul(axis.stride);
    let reach = steps.and_then(|n| n.checked_add(axis.kernel.checked_mul(axis.dilation)?));
    let padded = axis.input.checked_add(axis.pad_before);
    match reach.and_then(|n| n.checked_add(padded?)) {
        Some(n) if n <= isize::MAX as usize => Ok(()),
        _ => Err(invalid(kernel, format!("window past the address space: {axis:?}"))),
    }
}

/// Bytes of `pixels` pixels of `ld` `f32`.
pub(crate) fn bytes_of(
    kernel: &'static str,
    pixels: usize,
    ld: usize,
) -> Result<usize, KernelError> {
    let bytes = pixels.checked_mul(ld).and_then(|len| len.checked_mul(size_of::<f32>()));
    bytes
        .filter(|&bytes| bytes <= isize::MAX as usize)
        .ok_or_else(|| invalid(kernel, format!("{pixels} pixels of {ld} elements")))
}

/// Part `chunk` of `count` things in `chunks` parts.
pub(crate) fn share(count: usize, chunks: usize, chunk: usize) -> Range<usize> {
    count * chunk / chunks..count * (chunk + 1) / chunks
}

/// The channels of part `chunk` of `chunks`, in whole lines.
pub(crate) fn share_channels(c: usize, chunks: usize, chunk: usize) -> Range<usize> {
    let blocks = share(c.div_ceil(BLOCK), chunks, chunk);
    blocks.start * BLOCK..(blocks.end * BLOCK).min(c)
}
