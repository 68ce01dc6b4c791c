//! Pictures at other sizes.

use crate::picture::CHANNELS;
use crate::{DecodeLimits, Picture, Point, VisionError};
use depthwise_tensor::Hw;
use fast_image_resize as fir;
use fir::images::{TypedImage, TypedImageRef};
use fir::pixels::U8x3;

/// How pixels between pixels are found. All but `Nearest` widen with the reduction, as Pillow's
/// filters do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interpolation {
    /// The pixel at the centre.
    Nearest,
    /// Triangle filter: what most networks were trained with.
    #[default]
    Bilinear,
    /// Catmull-Rom-like cubic, `a = -0.5`.
    Bicubic,
    /// Lanczos windowed sinc over three lobes.
    Lanczos3,
}

impl Interpolation {
    const ALL: [Interpolation; 4] = [
        Interpolation::Nearest,
        Interpolation::Bilinear,
        Interpolation::Bicubic,
        Interpolation::Lanczos3,
    ];

    /// Lower-case name: `bilinear`.
    pub const fn name(self) -> &'static str {
        match self {
            Interpolation::Nearest => "nearest",
            Interpolation::Bilinear => "bilinear",
            Interpolation::Bicubic => "bicubic",
            Interpolation::Lanczos3 => "lanczos3",
        }
    }

    /// The interpolation of this [name](Interpolation::name).
    pub fn from_name(name: &str) -> Option<Interpolation> {
        Interpolation::ALL.into_iter().find(|i| i.name() == name)
    }

    fn algorithm(self) -> fir::ResizeAlg {
        match self {
            Interpolation::Nearest => fir::ResizeAlg::Nearest,
            Interpolation::Bilinear => fir::ResizeAlg::Convolution(fir::FilterType::Bilinear),
            Interpolation::Bicubic => fir::ResizeAlg::Convolution(fir::FilterType::CatmullRom),
            Interpolation::Lanczos3 => fir::ResizeAlg::Convolution(fir::FilterType::Lanczos3),
        }
    }
}

/// Where a letterboxed picture lies in its frame; maps boxes found there back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// First row of the picture.
    pub top: usize,
    /// First column of the picture.
    pub left: usize,
    /// Extents of the picture inside the frame.
    pub hw: Hw,
    /// Extents of the picture as it was.
    pub original: Hw,
}

impl Placement {
    /// A point of the frame, in pixels, as a point of the original picture; rows first.
    pub fn to_original(&self, y: f32, x: f32) -> (f32, f32) {
        let axis = |at: f32, start: usize, inside: usize, original: usize| {
            (at - start as f32) * original as f32 / inside as f32
        };
        (
            axis(y, self.top, self.hw.h, self.original.h),
            axis(x, self.left, self.hw.w, self.original.w),
        )
    }

    /// A point in shares of the frame, as networks give them, as a point of the original picture in
    /// pixels.
    pub fn share_to_original(&self, frame: Hw, share: Point) -> Point {
        let (y, x) = self.to_original(share.y * frame.h as f32, share.x * frame.w as f32);
        Point { x, y }
    }
}

impl Picture {
    /// The picture stretched to these extents.
    ///
    /// Filtered along the rows, then along the columns. So does Pillow where proportions are
    /// kept; where they are not, Pillow 13 may begin with the columns, which changes a fifth of
    /// the bytes by 1.
    ///
    /// # Errors
    /// [`VisionError::Empty`] for a target without pixels, [`VisionError::TooLarge`] for one past
    /// the pixels of [`DecodeLimits::default`].
    pub fn resize(&self, to: Hw, how: Interpolation) -> Result<Picture, VisionError> {
        check_target(to)?;
        if how == Interpolation::Nearest {
            return resample(self, to, how);
        }
        // Pillow filters along the rows first and rounds in between; in one call the library
        // would filter along the columns first, and a fifth of the bytes would differ by 1.
        let narrow = Hw { h: self.height(), w: to.w };
        check_target(narrow)?;
        if narrow == self.hw() {
            return resample(self, to, how);
        }
        let narrow = resample(self, narrow, how)?;
        if narrow.hw() == to { Ok(narrow) } else { resample(&narrow, to, how) }
    }

    /// The picture, at its own proportions, as large as fits into a frame of these extents, in
    /// the middle of it; the rest of the frame is grey of value `fill`.
    ///
    /// # Errors
    /// As [`Picture::resize`].
    pub fn letterbox(
        &self,
        frame: Hw,
        fill: u8,
        how: Interpolation,
    ) -> Result<(Picture, Placement), VisionError> {
        check_target(frame)?;
        let hw = fit_inside(self.hw(), frame);
        let inner = self.resize(hw, how)?;
        let (top, left) = ((frame.h - hw.h) / 2, (frame.w - hw.w) / 2);
        let placement = Placement { top, left, hw, original: self.hw() };
        if hw == frame {
            return Ok((inner, placement));
        }
        let mut pixels = vec![fill; frame.area() * CHANNELS];
        let rows = pixels.chunks_exact_mut(frame.w * CHANNELS).skip(top);
        for (row, inner) in rows.zip(inner.pixels().chunks_exact(hw.w * CHANNELS)) {
            row[left * CHANNELS..][..inner.len()].copy_from_slice(inner);
        }
        Ok((Picture::from_raw(frame.w, frame.h, pixels)?, placement))
    }
}

/// One call of the resampler. The target has passed [`check_target`].
fn resample(from: &Picture, to: Hw, how: Interpolation) -> Result<Picture, VisionError> {
    if to == from.hw() {
        return Ok(from.clone());
    }
    let (Ok(width), Ok(height)) = (u32::try_from(from.width()), u32::try_from(from.height()))
    else {
        return Err(too_large("resize", from.hw()));
    };
    let mut pixels = vec![0; to.area() * CHANNELS];
    // Typed: the other call compiles the filters for all kinds of pixels.
    let lengths = "buffers are as long as their extents say";
    let source = TypedImageRef::<U8x3>::from_buffer(width, height, from.pixels()).expect(lengths);
    let mut target =
        TypedImage::<U8x3>::from_buffer(to.w as u32, to.h as u32, &mut pixels).expect(lengths);
    let options = fir::ResizeOptions::new().resize_alg(how.algorithm());
    let whole = "the whole source is read, and the target is not empty";
    fir::Resizer::new().resize_typed(&source, &mut target, &options).expect(whole);
    Picture::from_raw(to.w, to.h, pixels)
}

/// Extents at which the short side is `target` and the long one in proportion, rounded half to
/// even (Python's `round`).
pub(crate) fn short_side(picture: Hw, target: usize) -> Hw {
    let short = picture.h.min(picture.w);
    let scale = |side: usize| if side == short { target } else { ratio(side, target, short) };
    Hw { h: scale(picture.h), w: scale(picture.w) }
}

/// The largest extents of the picture's proportions inside the frame, at least one pixel.
pub(crate) fn fit_inside(picture: Hw, frame: Hw) -> Hw {
    // frame.w / picture.w <= frame.h / picture.h, without division.
    let width_bound = frame.w as u128 * picture.h as u128 <= frame.h as u128 * picture.w as u128;
    if width_bound {
        Hw { h: ratio(picture.h, frame.w, picture.w).clamp(1, frame.h), w: frame.w }
    } else {
        Hw { h: frame.h, w: ratio(picture.w, frame.h, picture.h).clamp(1, frame.w) }
    }
}

/// `side * target / short`, rounded half to even, saturated.
fn ratio(side: usize, target: usize, short: usize) -> usize {
    let (product, short) = (side as u128 * target as u128, short as u128);
    let (whole, twice) = (product / short, product % short * 2);
    let up = twice > short || (twice == short && whole % 2 == 1);
    usize::try_from(whole + u128::from(up)).unwrap_or(usize::MAX)
}

pub(crate) fn check_target(to: Hw) -> Result<(), VisionError> {
    if to.h == 0 || to.w == 0 {
        return Err(VisionError::Empty { what: "resize", width: to.w, height: to.h });
    }
    let pixels = (to.h as u64).saturating_mul(to.w as u64);
    if pixels > DecodeLimits::default().max_pixels {
        return Err(too_large("resize", to));
    }
    Ok(())
}

fn too_large(what: &str, hw: Hw) -> VisionError {
    VisionError::TooLarge {
        what: what.into(),
        width: hw.w as u64,
        height: hw.h as u64,
        max_pixels: DecodeLimits::default().max_pixels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hw(h: usize, w: usize) -> Hw {
        Hw { h, w }
    }

    #[test]
    fn short_side_rounds_half_to_even() {
        assert_eq!(short_side(hw(300, 451), 256), hw(256, 385)); // 384.85
        assert_eq!(short_side(hw(929, 512), 256), hw(464, 256)); // 464.5, the even neighbour
        assert_eq!(short_side(hw(931, 512), 256), hw(466, 256)); // 465.5, the even neighbour
        assert_eq!(short_side(hw(7, 7), 256), hw(256, 256));
    }

    #[test]
    fn fitting_touches_one_side_and_keeps_a_pixel() {
        assert_eq!(fit_inside(hw(100, 200), hw(320, 320)), hw(160, 320));
        assert_eq!(fit_inside(hw(200, 100), hw(320, 320)), hw(320, 160));
        assert_eq!(fit_inside(hw(1, 10_000), hw(240, 320)), hw(1, 320));
        assert_eq!(fit_inside(hw(480, 640), hw(240, 320)), hw(240, 320));
    }

    #[test]
    fn letterbox_centres_the_picture_and_maps_points_back() {
        let picture = Picture::from_raw(4, 2, vec![200; 24]).unwrap();
        let (framed, at) = picture.letterbox(hw(9, 8), 7, Interpolation::Bilinear).unwrap();
        assert_eq!((at.top, at.left, at.hw), (2, 0, hw(4, 8)));
        assert_eq!(framed.pixel(1, 3), Some([7; 3]));
        assert_eq!(framed.pixel(2, 0), Some([200; 3]));
        assert_eq!(framed.pixel(6, 7), Some([7; 3]));
        assert_eq!(at.to_original(2.0, 0.0), (0.0, 0.0));
        assert_eq!(at.to_original(6.0, 8.0), (2.0, 4.0));
        let corner = Point { x: 1.0, y: 6.0 / 9.0 };
        assert_eq!(at.share_to_original(hw(9, 8), corner), Point { x: 4.0, y: 2.0 });
    }

    #[test]
    fn impossible_targets_are_errors() {
        let picture = Picture::from_raw(1, 1, vec![0; 3]).unwrap();
        let to = |h, w| picture.resize(hw(h, w), Interpolation::Bilinear);
        assert!(matches!(to(0, 5), Err(VisionError::Empty { width: 5, height: 0, .. })));
        assert!(matches!(to(usize::MAX, 2), Err(VisionError::TooLarge { .. })));
    }

    #[test]
    fn halving_a_ramp_meets_pillow() {
        // Pillow 13: Image.fromarray(ramp).resize((4, 1), BILINEAR), ramp = 0, 30, ..., 210.
        let ramp = (0..8u8).flat_map(|x| [x * 30; 3]).collect();
        let picture = Picture::from_raw(8, 1, ramp).unwrap();
        let half = picture.resize(hw(1, 4), Interpolation::Bilinear).unwrap();
        let red: Vec<u8> = half.pixels().iter().step_by(3).copied().collect();
        assert_eq!(red, [21, 75, 135, 189]);
    }
}
