//! Pictures of bytes: whole lines of them become numbers before the tiles read them.

use super::{FAMILY, STEPS};
use crate::operator::KernelError;
use depthwise_tensor::ConvGeometry;

/// What a byte `x` of channel `c` stands for: `scale[c] * x + shift[c]`, rounded after the product
/// and after the sum. Padding is 0, not `shift`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels {
    /// One factor per channel.
    pub scale: Vec<f32>,
    /// One offset per channel.
    pub shift: Vec<f32>,
}

/// Elements that are converted at a time: whole pixels of 1, 2, 3 or 6 channels, and whole vectors.
const PATTERN: usize = 48;

/// Lines of bytes, as they are converted.
#[derive(Debug)]
pub(super) struct Lines {
    /// Factors and offsets of the elements of a line, which repeat.
    scale: [f32; PATTERN],
    shift: [f32; PATTERN],
    /// Elements of a line of the picture with its padding, as far as windows reach.
    pub(super) elements: usize,
    /// Elements of padding at its start.
    before: usize,
    /// Elements of the picture in it.
    inside: usize,
}

/// A line to convert.
///
/// # Safety
/// For those who call a conversion: `elements` bytes of `x` are valid for reads, as many elements of
/// `y` for writes; they do not overlap.
pub(crate) struct LineArgs<'a> {
    lines: &'a Lines,
    x: *const u8,
    y: *mut f32,
    elements: usize,
}

impl Lines {
    /// # Errors
    /// [`KernelError::Invalid`] where `pixels` has another number of channels than the input;
    /// [`KernelError::Unsupported`] where lines are too long to hold.
    pub(super) fn new(pixels: &Pixels, g: &ConvGeometry) -> Result<Lines, KernelError> {
        let c = g.input.c;
        if pixels.scale.len() != c || pixels.shift.len() != c {
            let (scale, shift) = (pixels.scale.len(), pixels.shift.len());
            let reason = format!("{scale} factors and {shift} offsets for {c} channels");
            return Err(KernelError::Invalid { kernel: FAMILY, reason });
        }
        debug_assert!(PATTERN.is_multiple_of(c), "{STEPS:?}");
        let reach = (g.output.w.saturating_sub(1)).checked_mul(g.stride.w);
        let width = reach.and_then(|reach| reach.checked_add(g.kernel.w));
        let Some(elements) = width.and_then(|width| width.checked_mul(c)) else {
            let reason = format!("lines of {g:?}");
            return Err(KernelError::Unsupported { kernel: FAMILY, reason });
        };
        let before = g.pad.left.saturating_mul(c).min(elements);
        Ok(Lines {
            scale: std::array::from_fn(|i| pixels.scale[i % c]),
            shift: std::array::from_fn(|i| pixels.shift[i % c]),
            elements,
            before,
            inside: (g.input.w * c).min(elements - before),
        })
    }

    /// Writes a line with its padding; `None` stands for a line outside the picture.
    ///
    /// # Safety
    /// - `x` is a line of the picture, `y` valid for writes of [`Lines::elements`].
    /// - The CPU has the level of `convert`.
    pub(super) unsafe fn fill(
        &self,
        x: Option<*const u8>,
        y: *mut f32,
        convert: unsafe fn(&LineArgs<'_>),
    ) {
        // SAFETY: the whole line.
        let line = unsafe { std::slice::from_raw_parts_mut(y, self.elements) };
        let inside = if x.is_some() { self.inside } else { 0 };
        line[..self.before].fill(0.0);
        line[self.before + inside..].fill(0.0);
        if let Some(x) = x {
            let y = line[self.before..].as_mut_ptr();
            // SAFETY: `inside` elements lie in both lines.
            unsafe { convert(&LineArgs { lines: self, x, y, elements: inside }) };
        }
    }
}

/// Converts the elements of a line.
///
/// # Safety
/// As [`LineArgs`] says.
#[inline(always)]
pub(super) unsafe fn convert(args: &LineArgs<'_>) {
    let Lines { scale, shift, .. } = args.lines;
    // SAFETY: as the caller promises.
    let (x, y) = unsafe {
        (
            std::slice::from_raw_parts(args.x, args.elements),
            std::slice::from_raw_parts_mut(args.y, args.elements),
        )
    };
    let (x, rest) = x.as_chunks::<PATTERN>();
    let (y, last) = y.as_chunks_mut::<PATTERN>();
    for (x, y) in x.iter().zip(y) {
        for i in 0..PATTERN {
            y[i] = f32::from(x[i]) * scale[i] + shift[i];
        }
    }
    for (i, (&x, y)) in rest.iter().zip(last).enumerate() {
        *y = f32::from(x) * scale[i] + shift[i];
    }
}
