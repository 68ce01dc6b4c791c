//! The rows of a product: rows of a matrix, or windows of a picture, brought into the form that a kernel
//! multiplies.

use crate::operator::KernelError;
use crate::spatial::{check_picture, check_window, invalid};
use depthwise_tensor::ConvGeometry;
use std::ops::Range;

/// The matrix `a`, as it lies in memory.
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

    /// Channels that a row of `depth` elements takes of each pixel.
    pub(crate) fn channels(&self, depth: usize) -> usize {
        match self {
            Source::Rows { .. } => depth,
            Source::Window { geometry, .. } => geometry.input.c,
        }
    }

    /// Bytes from the first to the last that belongs to a row of `channels` elements of `size` bytes.
    pub(crate) fn bytes(
        &self,
        family: &'static str,
        channels: usize,
        size: usize,
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
        span(family, rows, channels, ld, size)
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

/// Elements from one gathered row to the next, for rows of up to `depth` elements of `size` bytes: as
/// [`GatherArgs`] has it, and no multiple of two lines, so that rows of a tile lie in different sets of L1.
pub(crate) fn row_stride(depth: usize, size: usize) -> usize {
    let step = 32 / size;
    let ld = (depth + 15).next_multiple_of(step);
    if ld.is_multiple_of(4 * step) { ld + step } else { ld }
}

/// Rows to be brought into the form of a kernel.
///
/// # Safety
/// For those who call [`gather`]:
/// - `from .. end` is valid for reads, holds whole elements and the rows `rows` of `source`.
/// - A row is `channels` (of each tap) and up to three zeros more; `ld` elements, 15 above
///   that at least, and as many rows from `to` on are valid for writes.
pub(crate) struct GatherArgs<'a> {
    pub source: &'a Source,
    pub from: *const u8,
    pub end: *const u8,
    pub rows: Range<usize>,
    pub channels: Range<usize>,
    /// Elements of the kernel's form.
    pub to: *mut u8,
    pub ld: usize,
}

/// How elements in memory become those of a kernel's form.
pub(crate) trait Convert: Copy {
    /// An element in memory.
    type From: Copy;
    /// An element of the form.
    type To: Copy;

    /// What stands in the padding.
    fn zero(self) -> Self::To;

    /// One element.
    fn one(self, x: Self::From) -> Self::To;

    /// 16 elements.
    ///
    /// # Safety
    /// - 16 elements from `from` on are valid for reads, 16 from `to` on for writes.
    /// - The CPU has what the conversion needs.
    unsafe fn sixteen(self, from: *const Self::From, to: *mut Self::To);
}

/// Converts rows of the matrix.
///
/// # Safety
/// As [`GatherArgs`] says; the CPU has what the conversion needs.
#[inline(always)]
pub(crate) unsafe fn gather<C: Convert>(convert: C, args: &GatherArgs<'_>) {
    // SAFETY: as the caller promises.
    unsafe {
        match args.source {
            Source::Rows { lda, .. } => {
                let channels = args.channels.len();
                let start = args.from.cast::<C::From>().wrapping_add(args.channels.start);
                for (i, row) in args.rows.clone().enumerate() {
                    let to = args.to.cast::<C::To>().wrapping_add(i * args.ld);
                    convert_run(convert, start.wrapping_add(row * lda), to, channels, args.end);
                    fill(to.add(channels), 3, convert.zero());
                }
            }
            Source::Window { geometry, ld } => windows(convert, args, geometry, *ld),
        }
    }
}

/// `count` times `element`.
///
/// # Safety
/// - The elements are valid for writes.
#[inline(always)]
unsafe fn fill<E: Copy>(to: *mut E, count: usize, element: E) {
    for i in 0..count {
        // SAFETY: as the caller promises.
        unsafe { *to.add(i) = element };
    }
}

/// The windows of output pixels, 0 in the padding.
///
/// # Safety
/// As [`gather`].
#[inline(always)]
unsafe fn windows<C: Convert>(convert: C, args: &GatherArgs<'_>, g: &ConvGeometry, ld: usize) {
    let mut at = args.rows.start;
    while at < args.rows.end {
        let (row, first) = (at / g.output.w, at % g.output.w);
        let columns = first..g.output.w.min(first + args.rows.end - at);
        let to = args.to.cast::<C::To>().wrapping_add((at - args.rows.start) * args.ld);
        at += columns.len();
        // SAFETY: these outputs are rows `at ..` of the source.
        unsafe { windows_of_row(convert, args, (g, ld), row, columns, to) };
    }
}

/// The windows of some output columns of row `row`, counted over all pictures: one row of taps of all
/// of them, then the next. What is written behind a run is written again.
///
/// # Safety
/// As [`gather`], for these outputs.
#[inline(always)]
unsafe fn windows_of_row<C: Convert>(
    convert: C,
    args: &GatherArgs<'_>,
    (g, ld): (&ConvGeometry, usize),
    row: usize,
    columns: Range<usize>,
    to: *mut C::To,
) {
    let zero = convert.zero();
    let line = g.kernel.w * args.channels.len();
    let (n, oh) = (row / g.output.h, row % g.output.h);
    let rows = g.rows();
    let (top, bottom) = rows.taps(oh);
    for kh in 0..g.kernel.h {
        let to = to.wrapping_add(kh * line);
        // SAFETY: taps of rows `top .. bottom` lie in the picture; each line has room for its taps.
        unsafe {
            if kh < top || kh >= bottom {
                for i in 0..columns.len() {
                    fill(to.add(i * args.ld), line, zero);
                }
                continue;
            }
            let ih = n * g.input.h + rows.position(oh, kh);
            let picture = args.from.cast::<C::From>();
            let picture = picture.wrapping_add(ih * g.input.w * ld + args.channels.start);
            line_of_taps(convert, args, (g, ld), picture, columns.clone(), to);
        }
    }
    for i in 0..columns.len() {
        // SAFETY: a row has room for that much more.
        unsafe { fill(to.add(i * args.ld + g.kernel.h * line), 3, zero) };
    }
}

/// The taps of some output columns in an input row.
///
/// # Safety
/// As [`gather`], for these outputs.
#[inline(always)]
unsafe fn line_of_taps<C: Convert>(
    convert: C,
    args: &GatherArgs<'_>,
    (g, ld): (&ConvGeometry, usize),
    picture: *const C::From,
    columns: Range<usize>,
    to: *mut C::To,
) {
    let channels = args.channels.len();
    // Outputs whose taps all lie in the picture.
    let reach = (g.kernel.w - 1) * g.dilation.w + 1;
    let end = (g.input.w + g.pad.left).checked_sub(reach).map_or(0, |last| last / g.stride.w + 1);
    let whole = g.pad.left.div_ceil(g.stride.w)..end;
    // Neighbouring taps are one run where pixels are dense.
    let joined = g.dilation.w == 1 && ld == channels;
    let (runs, run) = if joined { (1, g.kernel.w * channels) } else { (g.kernel.w, channels) };
    for (i, ow) in columns.enumerate() {
        let to = to.wrapping_add(i * args.ld);
        // SAFETY: the taps that are read lie in the row.
        unsafe {
            if whole.contains(&ow) {
                let from = picture.add((ow * g.stride.w - g.pad.left) * ld);
                for k in 0..runs {
                    let from = from.wrapping_add(k * g.dilation.w * ld);
                    convert_run(convert, from, to.add(k * run), run, args.end);
                }
                continue;
            }
            let (left, right) = g.cols().taps(ow);
            let zero = convert.zero();
            fill(to, left * channels, zero);
            for kw in left..right {
                let from = picture.add(g.cols().position(ow, kw) * ld);
                convert_run(convert, from, to.add(kw * channels), channels, args.end);
            }
            fill(to.add(right * channels), (g.kernel.w - right) * channels, zero);
        }
    }
}

/// `len` elements, converted. Writes up to 15 elements more.
///
/// # Safety
/// - `len` elements from `from` on are valid for reads, and so are all up to `end`.
/// - `len + 15` elements from `to` on are valid for writes.
#[inline(always)]
unsafe fn convert_run<C: Convert>(
    convert: C,
    from: *const C::From,
    to: *mut C::To,
    len: usize,
    end: *const u8,
) {
    let readable = (end as usize - from as usize) / size_of::<C::From>();
    // SAFETY: whole vectors end before `end`, the rest is read one by one.
    unsafe {
        if len <= 16 && readable >= 16 {
            convert.sixteen(from, to);
            return;
        }
        let mut i = 0;
        while i < len && i + 16 <= readable {
            convert.sixteen(from.add(i), to.add(i));
            i += 16;
        }
        while i < len {
            *to.add(i) = convert.one(*from.add(i));
            i += 1;
        }
    }
}
