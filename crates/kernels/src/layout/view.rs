//! How a tensor of any rank lies in memory.

use crate::operator::KernelError;
use depthwise_tensor::{MAX_RANK, Rows, Shape, padded_ld};

/// A tensor in row-major order, but that consecutive rows (of the last dimension) start `ld`
/// elements apart; [`Rows`] with the other dimensions still told apart.
///
/// A scalar is one row of one element. Elements between the last dimension and `ld` belong to the
/// row and mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Extents.
    pub shape: Shape,
    /// Elements from the start of a row to the start of the next, at least the last extent.
    pub ld: usize,
}

impl View {
    /// Rows follow each other without a gap.
    pub fn dense(shape: Shape) -> View {
        View { shape, ld: Rows::dense(&shape).ld }
    }

    /// Rows at the distance of [`padded_ld`].
    pub fn padded(shape: Shape) -> View {
        View { shape, ld: padded_ld(Rows::dense(&shape).c) }
    }

    /// The same memory with all but the last dimension as one.
    pub fn rows(&self) -> Rows {
        Rows { ld: self.ld, ..Rows::dense(&self.shape) }
    }

    /// Elements from the first to past the last, the padding of the last row included.
    pub fn len(&self) -> usize {
        self.rows().len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.shape.elements() == 0
    }

    /// Elements between neighbours along each axis.
    pub fn strides(&self) -> [usize; MAX_RANK] {
        let mut strides = [0; MAX_RANK];
        let mut next = 1;
        for (axis, &extent) in self.shape.dims().iter().enumerate().rev() {
            strides[axis] = next;
            next = if axis + 1 == self.shape.rank() { self.ld } else { next * extent };
        }
        strides
    }

    /// Whether elements follow each other without a gap: no padding, or one row.
    pub fn is_contiguous(&self) -> bool {
        let rows = self.rows();
        rows.is_dense() || rows.rows <= 1
    }

    /// The same memory under another shape of as many elements, where rows stay rows or there is
    /// no gap between them; else `None`.
    pub fn reshaped(&self, shape: &Shape) -> Option<View> {
        if shape.elements() != self.shape.elements() {
            return None;
        }
        if Rows::dense(shape).c == self.rows().c {
            return Some(View { shape: *shape, ld: self.ld });
        }
        self.is_contiguous().then(|| View::dense(*shape))
    }

    /// Whether memory can hold it and rows do not overlap.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where `ld` is below the last extent, or the length, at 8 bytes
    /// each, does not fit `isize`.
    pub(crate) fn check(&self, kernel: &'static str) -> Result<(), KernelError> {
        let rows = Rows { ld: self.ld, ..Rows::dense(&self.shape) };
        if rows.ld < rows.c {
            let reason = format!("rows of {} elements lie {} apart", rows.c, rows.ld);
            return Err(KernelError::Invalid { kernel, reason });
        }
        match rows.rows.max(1).checked_mul(rows.ld) {
            Some(len) if len <= isize::MAX as usize / 8 => Ok(()),
            _ => {
                let reason = format!("{} with rows {} apart exceeds memory", self.shape, self.ld);
                Err(KernelError::Invalid { kernel, reason })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(dims: &[usize], ld: usize) -> View {
        View { shape: Shape::new(dims).unwrap(), ld }
    }

    #[test]
    fn strides_step_over_the_padding_of_rows() {
        assert_eq!(&view(&[2, 3, 4, 5], 16).strides()[..4], &[192, 64, 16, 1]);
        assert_eq!(view(&[5], 16).strides()[0], 1);
        assert_eq!(view(&[2, 3, 4, 5], 16).len(), 384);
    }

    #[test]
    fn a_scalar_is_one_row_of_one() {
        let scalar = View::dense(Shape::SCALAR);
        assert_eq!((scalar.ld, scalar.len()), (1, 1));
    }

    #[test]
    fn reshaping_keeps_rows_or_needs_no_gaps() {
        let shape = |dims: &[usize]| Shape::new(dims).unwrap();
        let padded = view(&[2, 3, 5], 16);
        assert_eq!(padded.reshaped(&shape(&[6, 5])), Some(view(&[6, 5], 16)));
        assert_eq!(padded.reshaped(&shape(&[30])), None);
        assert_eq!(padded.reshaped(&shape(&[6, 6])), None, "more elements");
        assert_eq!(view(&[1, 1, 30], 32).reshaped(&shape(&[5, 6])), Some(view(&[5, 6], 6)));
        assert_eq!(view(&[2, 15], 15).reshaped(&shape(&[5, 6])), Some(view(&[5, 6], 6)));
    }

    #[test]
    fn overlapping_and_huge_rows_are_refused() {
        assert!(view(&[2, 5], 4).check("k").is_err());
        assert!(view(&[1 << 40, 2], 1 << 30).check("k").is_err());
        assert!(view(&[2, 5], 5).check("k").is_ok());
    }
}
