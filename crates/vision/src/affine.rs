//! Pictures seen through an affine map.

use crate::picture::CHANNELS;
use crate::{Picture, VisionError};
use depthwise_tensor::Hw;

/// An affine map of points `(y, x)` in pixels, for [`Picture::warp`]:
/// `y' = m[0][0] y + m[0][1] x + m[0][2]`, `x' = m[1][0] y + m[1][1] x + m[1][2]`.
///
/// Points are continuous: pixel 0 reaches from 0 to 1, its centre is 0.5.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine2d {
    /// Rows of the matrix; the last column is the shift.
    pub m: [[f32; 3]; 2],
}

impl Affine2d {
    /// Every point stays.
    pub const IDENTITY: Affine2d = Affine2d { m: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]] };

    /// Adds to both coordinates.
    pub const fn shift(y: f32, x: f32) -> Affine2d {
        Affine2d { m: [[1.0, 0.0, y], [0.0, 1.0, x]] }
    }

    /// Multiplies the coordinates.
    pub const fn scale(y: f32, x: f32) -> Affine2d {
        Affine2d { m: [[y, 0.0, 0.0], [0.0, x, 0.0]] }
    }

    /// Turns about the origin, clockwise as seen (y points down), by this many degrees.
    pub fn rotation(degrees: f32) -> Affine2d {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Affine2d { m: [[cos, sin, 0.0], [-sin, cos, 0.0]] }
    }

    /// Adds `tan(degrees) * y` to x.
    pub fn shear(degrees: f32) -> Affine2d {
        Affine2d { m: [[1.0, 0.0, 0.0], [degrees.to_radians().tan(), 1.0, 0.0]] }
    }

    /// This map, and then another.
    pub fn then(self, next: Affine2d) -> Affine2d {
        let (a, b) = (self.m, next.m);
        let row = |r: [f32; 3]| {
            let at = |column: usize| r[0] * a[0][column] + r[1] * a[1][column];
            [at(0), at(1), at(2) + r[2]]
        };
        Affine2d { m: [row(b[0]), row(b[1])] }
    }

    /// Where a point goes.
    pub fn apply(self, y: f32, x: f32) -> (f32, f32) {
        let at = |r: [f32; 3]| r[0] * y + r[1] * x + r[2];
        (at(self.m[0]), at(self.m[1]))
    }
}

impl Picture {
    /// A picture of extents `to`, whose point `p` shows what this picture has at `source(p)`:
    /// bilinear between pixel centres; what lies outside shows the nearest pixel of the border.
    ///
    /// One resampling does a whole chain of crops, turns and scalings. It does not widen with the
    /// reduction as [`Picture::resize`] does: for scales below about 1/2, resize first.
    ///
    /// # Errors
    /// [`VisionError::Empty`], [`VisionError::TooLarge`] as [`Picture::resize`].
    pub fn warp(&self, to: Hw, source: Affine2d) -> Result<Picture, VisionError> {
        crate::resize::check_target(to)?;
        let mut pixels = Vec::with_capacity(to.area() * CHANNELS);
        let (height, width) = (self.height(), self.width());
        let last = ((height - 1) as f32, (width - 1) as f32);
        for row in 0..to.h {
            for column in 0..to.w {
                let (y, x) = source.apply(row as f32 + 0.5, column as f32 + 0.5);
                // NaN, which only a map of NaN or overflow can give, becomes 0.
                let (y, x) = ((y - 0.5).max(0.0).min(last.0), (x - 0.5).max(0.0).min(last.1));
                let (top, left) = (y as usize, x as usize);
                let (dy, dx) = (y - top as f32, x - left as f32);
                let (bottom, right) = ((top + 1).min(height - 1), (left + 1).min(width - 1));
                let at =
                    |y: usize, x: usize| &self.pixels()[(y * width + x) * CHANNELS..][..CHANNELS];
                let corners = [at(top, left), at(top, right), at(bottom, left), at(bottom, right)];
                for channel in 0..CHANNELS {
                    let [a, b, c, d] = corners.map(|pixel| f32::from(pixel[channel]));
                    let (upper, lower) = (a + (b - a) * dx, c + (d - c) * dx);
                    pixels.push((upper + (lower - upper) * dy + 0.5) as u8);
                }
            }
        }
        Picture::from_raw(to.w, to.h, pixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2 rows, 3 columns: red 10 20 30 / 40 50 60, green 0, blue 255.
    fn six() -> Picture {
        let pixels = [10, 20, 30, 40, 50, 60].into_iter().flat_map(|r| [r, 0, 255]).collect();
        Picture::from_raw(3, 2, pixels).unwrap()
    }

    fn red(picture: &Picture) -> Vec<u8> {
        picture.pixels().iter().step_by(3).copied().collect()
    }

    #[test]
    fn maps_compose_in_order() {
        let map = Affine2d::shift(1.0, 2.0).then(Affine2d::scale(3.0, 10.0));
        assert_eq!(map.apply(4.0, 5.0), (15.0, 70.0));
        let (y, x) = Affine2d::rotation(90.0).apply(0.0, 1.0);
        // The point right of the origin goes below it: y up... with y down, sin(90) * 1 = 1.
        assert!((y - 1.0).abs() < 1e-6 && x.abs() < 1e-6, "{y} {x}");
        let (y, x) = Affine2d::shear(45.0).apply(2.0, 1.0);
        assert!((y - 2.0).abs() < 1e-6 && (x - 3.0).abs() < 1e-6, "{y} {x}");
    }

    #[test]
    fn the_identity_copies_and_a_shift_repeats_the_border() {
        let hw = Hw { h: 2, w: 3 };
        assert_eq!(six().warp(hw, Affine2d::IDENTITY).unwrap(), six());
        let moved = six().warp(hw, Affine2d::shift(0.0, 1.0)).unwrap();
        assert_eq!(red(&moved), [20, 30, 30, 50, 60, 60]);
        assert_eq!(moved.pixel(0, 0), Some([20, 0, 255]));
    }

    #[test]
    fn half_a_pixel_is_the_mean_of_neighbours() {
        let hw = Hw { h: 1, w: 2 };
        let between = six().warp(hw, Affine2d::shift(0.5, 0.5)).unwrap();
        // (10 + 20 + 40 + 50) / 4, (20 + 30 + 50 + 60) / 4
        assert_eq!(red(&between), [30, 40]);
    }

    #[test]
    fn a_quarter_turn_moves_every_pixel() {
        // Clockwise: the first column, from the bottom, becomes the first row.
        let back = Affine2d::rotation(-90.0).then(Affine2d::shift(2.0, 0.0));
        let turned = six().warp(Hw { h: 3, w: 2 }, back).unwrap();
        assert_eq!(red(&turned), [40, 10, 50, 20, 60, 30]);
    }
}
