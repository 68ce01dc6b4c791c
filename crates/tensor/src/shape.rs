//! Extents of tensors, in elements.

use std::fmt;
use std::ops::Deref;

/// The largest number of dimensions of a [`Shape`].
pub const MAX_RANK: usize = 8;

/// Why a shape was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// More dimensions than [`MAX_RANK`].
    #[error("{0} dimensions; at most {MAX_RANK} are supported")]
    Rank(usize),
    /// The element count does not fit `isize`.
    #[error("shape {0:?} has more elements than memory can hold")]
    TooLarge(Vec<usize>),
    /// Two shapes that do not broadcast.
    #[error("shapes {0} and {1} do not broadcast")]
    Broadcast(Box<Shape>, Box<Shape>),
}

/// The extents of a tensor, outermost first; up to [`MAX_RANK`] of them, without allocation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: u8,
}

impl Shape {
    /// The shape of a scalar: no dimensions, one element.
    pub const SCALAR: Shape = Shape { dims: [0; MAX_RANK], rank: 0 };

    /// A shape of these extents.
    ///
    /// # Errors
    /// [`ShapeError::Rank`] for more than [`MAX_RANK`] extents, [`ShapeError::TooLarge`] where
    /// the element count, at 8 bytes each, would not fit `isize`.
    pub fn new(dims: &[usize]) -> Result<Shape, ShapeError> {
        if dims.len() > MAX_RANK {
            return Err(ShapeError::Rank(dims.len()));
        }
        // A zero extent must not hide an overflow of the others: strides are computed from them.
        let product = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)));
        match product {
            Some(n) if n <= isize::MAX as usize / 8 => {}
            _ => return Err(ShapeError::TooLarge(dims.to_vec())),
        }
        let mut out = Shape { dims: [0; MAX_RANK], rank: dims.len() as u8 };
        out.dims[..dims.len()].copy_from_slice(dims);
        Ok(out)
    }

    /// Number of dimensions.
    pub const fn rank(&self) -> usize {
        self.rank as usize
    }

    /// The extents, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank as usize]
    }

    /// Number of elements: the product of the extents, 1 for a scalar.
    pub fn elements(&self) -> usize {
        self.dims().iter().product()
    }

    /// Strides of the dense row-major layout, in elements.
    pub fn strides(&self) -> [usize; MAX_RANK] {
        let mut strides = [0; MAX_RANK];
        let mut next = 1;
        for axis in (0..self.rank()).rev() {
            strides[axis] = next;
            next *= self.dims[axis].max(1);
        }
        strides
    }

    /// The axis that `axis` names, where -1 is the last; `None` when out of range.
    pub fn axis(&self, axis: i64) -> Option<usize> {
        let rank = self.rank() as i64;
        let axis = if axis < 0 { axis + rank } else { axis };
        (0..rank).contains(&axis).then_some(axis as usize)
    }

    /// The shape as an NHWC picture, if it has four dimensions.
    pub fn nhwc(&self) -> Option<Nhwc> {
        match *self.dims() {
            [n, h, w, c] => Some(Nhwc { n, h, w, c }),
            _ => None,
        }
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        self.dims()
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.dims(), f)
    }
}

impl fmt::Display for Shape {
    /// `1x56x56x24`; `scalar` without dimensions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rank == 0 {
            return f.pad("scalar");
        }
        let text: Vec<String> = self.dims().iter().map(usize::to_string).collect();
        f.pad(&text.join("x"))
    }
}

/// The common shape of two operands under NumPy's broadcasting rules.
///
/// # Errors
/// [`ShapeError::Broadcast`] where two extents differ and neither is 1.
pub fn broadcast(a: &Shape, b: &Shape) -> Result<Shape, ShapeError> {
    let rank = a.rank().max(b.rank());
    let mut dims = [0; MAX_RANK];
    for i in 0..rank {
        let of = |s: &Shape| if i < s.rank() { s.dims()[s.rank() - 1 - i] } else { 1 };
        dims[rank - 1 - i] = match (of(a), of(b)) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            _ => return Err(ShapeError::Broadcast(Box::new(*a), Box::new(*b))),
        };
    }
    Shape::new(&dims[..rank])
}

/// Extents of a picture: batch, height, width, channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nhwc {
    /// Pictures in the batch.
    pub n: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

impl Nhwc {
    /// The height and width alone.
    pub const fn hw(&self) -> Hw {
        Hw { h: self.h, w: self.w }
    }

    /// Pixels of the whole batch.
    pub const fn pixels(&self) -> usize {
        self.n * self.h * self.w
    }
}

/// Height and width: a kernel, a stride, a dilation, the size of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hw {
    /// Along the rows.
    pub h: usize,
    /// Along the columns.
    pub w: usize,
}

impl Hw {
    /// One by one.
    pub const ONE: Hw = Hw { h: 1, w: 1 };

    /// The same extent both ways.
    pub const fn square(side: usize) -> Hw {
        Hw { h: side, w: side }
    }

    /// Height times width.
    pub const fn area(&self) -> usize {
        self.h * self.w
    }
}

impl fmt::Display for Hw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}x{}", self.h, self.w))
    }
}

/// Zero rows and columns around a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pad2d {
    /// Rows above.
    pub top: usize,
    /// Columns before.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns after.
    pub right: usize,
}

impl Pad2d {
    /// No padding.
    pub const ZERO: Pad2d = Pad2d { top: 0, left: 0, bottom: 0, right: 0 };

    /// The same on all four sides.
    pub const fn all(pad: usize) -> Pad2d {
        Pad2d { top: pad, left: pad, bottom: pad, right: pad }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: &[usize]) -> Shape {
        Shape::new(dims).unwrap()
    }

    #[test]
    fn elements_and_strides_of_a_picture() {
        let s = shape(&[2, 3, 4, 5]);
        assert_eq!(s.elements(), 120);
        assert_eq!(&s.strides()[..4], &[60, 20, 5, 1]);
        assert_eq!(s.to_string(), "2x3x4x5");
        assert_eq!(Shape::SCALAR.elements(), 1);
    }

    #[test]
    fn overflowing_extents_are_refused_even_beside_a_zero() {
        assert!(matches!(Shape::new(&[usize::MAX, 2]), Err(ShapeError::TooLarge(_))));
        assert!(matches!(Shape::new(&[0, usize::MAX, 2]), Err(ShapeError::TooLarge(_))));
        assert!(matches!(Shape::new(&[1; 9]), Err(ShapeError::Rank(9))));
    }

    #[test]
    fn broadcasting_follows_numpy() {
        assert_eq!(broadcast(&shape(&[2, 1, 3]), &shape(&[4, 1])).unwrap(), shape(&[2, 4, 3]));
        assert_eq!(broadcast(&Shape::SCALAR, &shape(&[0])).unwrap(), shape(&[0]));
        assert!(broadcast(&shape(&[2]), &shape(&[3])).is_err());
    }

    #[test]
    fn negative_axes_count_from_the_end() {
        let s = shape(&[2, 3]);
        assert_eq!((s.axis(-1), s.axis(0), s.axis(2), s.axis(-3)), (Some(1), Some(0), None, None));
    }
}
