//! Where the rows of a product come from.

use crate::operator::KernelError;
use crate::quant::Quant8;
use crate::spatial::{check_picture, check_window, invalid};
use depthwise_tensor::ConvGeometry;
use std::ops::Range;

/// The matrix `a`, as bytes in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// Rows of it, `lda` apart.
    Rows { rows: usize, lda: usize },
    /// A picture of pixels `ld` apart; a row is the window of an output pixel.
    Window { geometry: ConvGeometry, ld: usize },
}

impl Source {
    /// Rows of the matrix.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Source::Rows { rows, .. } => *rows,
            Source::Window { geometry, .. } => geometry.output.pixels(),
        }
    }

    /// Bytes from the first to the last that belongs to a row of `channels`.
    pub(crate) fn bytes(
        &self,
        family: &'static str,
        channels: usize,
    ) -> Result<usize, KernelError> {
        let (rows, ld) = match self {
            Source::Rows { rows, lda } => (*rows, *lda),
            Source::Window { geometry, ld } => {
                check_picture(family, &geometry.input)?;
                check_picture(family, &geometry.output)?;
                check_window(family, &geometry.rows())?;
                check_window(family, &geometry.cols())?;
                (geometry.input.pixels(), *ld)
            }
        };
        span(family, rows, channels, ld, 1)
    }
}

/// Bytes from the first to the last of `rows` rows of `c` elements of `size` bytes, `ld` apart.
pub(crate) fn span(
    family: &'static str,
    rows: usize,
    c: usize,
    ld: usize,
    size: usize,
) -> Result<usize, KernelError> {
    if ld < c {
        let reason = format!("a row has {c} elements, but rows are {ld} apart");
        return Err(invalid(family, reason));
    }
    let elements = match rows.checked_sub(1) {
        None => Some(0),
        Some(before) => before.checked_mul(ld).and_then(|n| n.checked_add(c)),
    };
    let bytes = elements.and_then(|n| n.checked_mul(size));
    bytes
        .filter(|&bytes| bytes <= isize::MAX as usize / 4)
        .ok_or_else(|| invalid(family, format!("{rows} rows of {c}, {ld} apart, overflow")))
}

/// Rows to be brought into the form of a kernel.
///
/// # Safety
/// For those who call `gather`:
/// - `from .. end` is valid for reads and holds the rows `rows` of `source`.
/// - A row is `channels` (of each tap) and up to three elements more, of any value; `ld` elements, 15 above
///   that at least, and as many rows from `to` on are valid for writes.
pub(crate) struct GatherArgs<'a> {
    pub source: &'a Source,
    pub from: *const u8,
    pub end: *const u8,
    pub quant: Quant8,
    pub rows: Range<usize>,
    pub channels: Range<usize>,
    /// Elements of the kernel's form.
    pub to: *mut u8,
    pub ld: usize,
}
