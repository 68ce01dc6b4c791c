//! How an activation lies in memory.

use crate::Shape;

/// Elements in one 64-byte line of `f32`, the unit that pixel strides are rounded to.
const LINE: usize = 16;

/// The pixel stride of an activation with `c` channels: `c` rounded up to 16, and 16 more where
/// that is a multiple of 256.
///
/// A stride of 1, 2 or 4 KiB would map the pixels of a register tile to a handful of the 64 sets
/// of the L1 cache: 14x14x512 and 7x7x1024 depthwise run at half speed without the extra line.
pub const fn padded_ld(c: usize) -> usize {
    let ld = c.next_multiple_of(LINE);
    if ld != 0 && ld.is_multiple_of(256) { ld + LINE } else { ld }
}

/// The memory layout of an activation: `rows` rows (pixels) of `c` elements (channels), `ld`
/// elements apart.
///
/// The last dimension of a [`Shape`] is `c`, all others together are `rows`. A layout is *dense*
/// where `ld == c` and *padded* where `ld` is a multiple of 16 that holds `c`; the lanes between
/// `c` and `ld` belong to the row, may be written with anything and are never meaningful.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rows {
    /// Number of rows.
    pub rows: usize,
    /// Meaningful elements of a row.
    pub c: usize,
    /// Elements from the start of a row to the start of the next.
    pub ld: usize,
}

impl Rows {
    /// The dense layout of a shape.
    pub fn dense(shape: &Shape) -> Rows {
        let c = shape.last().copied().unwrap_or(1);
        let rows = shape.dims()[..shape.rank().saturating_sub(1)].iter().product();
        Rows { rows, c, ld: c }
    }

    /// The layout of a shape with the pixel stride of [`padded_ld`].
    pub fn padded(shape: &Shape) -> Rows {
        let dense = Rows::dense(shape);
        Rows { ld: padded_ld(dense.c), ..dense }
    }

    /// Elements from the first to past the last, the padding of the last row included.
    pub const fn len(&self) -> usize {
        self.rows * self.ld
    }

    /// Whether there is no element.
    pub const fn is_empty(&self) -> bool {
        self.rows == 0 || self.c == 0
    }

    /// Whether rows follow each other without a gap.
    pub const fn is_dense(&self) -> bool {
        self.ld == self.c
    }

    /// Whether whole 16-element vectors that start at a multiple of 16 stay inside a row.
    pub const fn is_vector_padded(&self) -> bool {
        self.ld.is_multiple_of(LINE) && self.ld >= self.c
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixel_strides_avoid_multiples_of_a_kibibyte() {
        let cases = [(0, 0), (1, 16), (16, 16), (24, 32), (240, 240), (241, 272), (256, 272)];
        for (c, ld) in cases {
            assert_eq!(padded_ld(c), ld, "c = {c}");
        }
        assert_eq!(padded_ld(512), 528);
        assert_eq!(padded_ld(1024), 1040);
    }

    #[test]
    fn a_scalar_is_one_row_of_one() {
        assert_eq!(Rows::dense(&Shape::SCALAR), Rows { rows: 1, c: 1, ld: 1 });
    }
}
