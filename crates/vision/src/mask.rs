//! Maps of how much each pixel belongs to something.

use crate::draw::{Color, blend};
use crate::picture::CHANNELS;
use crate::{DecodeLimits, Picture, VisionError, encode};
use depthwise_tensor::Hw;
use fast_image_resize as fir;
use fir::images::{TypedImage, TypedImageRef};
use fir::pixels::F32;
use std::path::Path;

/// A number between 0 (no) and 1 (yes) for every pixel, rows from the top.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    hw: Hw,
    values: Vec<f32>,
}

impl Mask {
    /// A mask of these values, `h * w`; what lies outside 0 to 1 is clamped, NaN becomes 0.
    ///
    /// # Errors
    /// [`VisionError::Empty`] without pixels, [`VisionError::Length`] where the count does not fit.
    pub fn from_values(hw: Hw, values: &[f32]) -> Result<Mask, VisionError> {
        if hw.h == 0 || hw.w == 0 {
            return Err(VisionError::Empty { what: "mask", width: hw.w, height: hw.h });
        }
        let want = hw.h.saturating_mul(hw.w);
        if values.len() != want {
            return Err(VisionError::Length { what: "mask", want, got: values.len() });
        }
        let clean = |&x: &f32| if x.is_nan() { 0.0 } else { x.clamp(0.0, 1.0) };
        Ok(Mask { hw, values: values.iter().map(clean).collect() })
    }

    /// Rows and columns.
    pub fn hw(&self) -> Hw {
        self.hw
    }

    /// The values, `h * w`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// 1 minus the mask.
    pub fn inverted(&self) -> Mask {
        Mask { hw: self.hw, values: self.values.iter().map(|x| 1.0 - x).collect() }
    }

    /// Share of the pixels whose value is above `threshold`.
    pub fn share_above(&self, threshold: f32) -> f32 {
        let above = self.values.iter().filter(|&&x| x > threshold).count();
        above as f32 / self.values.len() as f32
    }

    /// The mask stretched to these extents, bilinear.
    ///
    /// # Errors
    /// [`VisionError::Empty`], [`VisionError::TooLarge`] as [`Picture::resize`].
    pub fn resize(&self, to: Hw) -> Result<Mask, VisionError> {
        if to.h == 0 || to.w == 0 {
            return Err(VisionError::Empty { what: "mask", width: to.w, height: to.h });
        }
        let max_pixels = DecodeLimits::default().max_pixels;
        let (width, height) = (to.w as u64, to.h as u64);
        let (Ok(from_w), Ok(from_h)) = (u32::try_from(self.hw.w), u32::try_from(self.hw.h)) else {
            return Err(VisionError::TooLarge { what: "mask".into(), width, height, max_pixels });
        };
        if width.saturating_mul(height) > max_pixels {
            return Err(VisionError::TooLarge { what: "mask".into(), width, height, max_pixels });
        }
        let pixels: Vec<F32> = self.values.iter().map(|&x| F32::new(x)).collect();
        let mut into = TypedImage::<F32>::new(to.w as u32, to.h as u32);
        let lengths = "buffers are as long as their extents say";
        let from = TypedImageRef::new(from_w, from_h, &pixels).expect(lengths);
        let filter = fir::ResizeAlg::Convolution(fir::FilterType::Bilinear);
        let options = fir::ResizeOptions::new().resize_alg(filter);
        let whole = "the whole source is read";
        fir::Resizer::new().resize_typed(&from, &mut into, &options).expect(whole);
        let values: Vec<f32> = into.pixels().iter().map(|pixel| pixel.0).collect();
        Mask::from_values(to, &values)
    }

    /// Writes the mask as a grey picture, 255 where it is 1; the format follows the extension.
    ///
    /// # Errors
    /// As [`Picture::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), VisionError> {
        let grey: Vec<u8> = self.values.iter().map(|x| (x * 255.0).round() as u8).collect();
        encode::save(path.as_ref(), &grey, self.hw, image::ExtendedColorType::L8)
    }
}

impl Picture {
    /// Mixes a colour into the picture: `opacity` of it where the mask is 1, none where it is 0.
    ///
    /// # Errors
    /// [`VisionError::Length`] where the mask is not of the picture's extents.
    pub fn tint(&mut self, mask: &Mask, color: Color, opacity: f32) -> Result<(), VisionError> {
        if mask.hw != self.hw() {
            let (want, got) = (self.hw().area(), mask.values.len());
            return Err(VisionError::Length { what: "mask", want, got });
        }
        let pixels = self.pixels_mut().chunks_exact_mut(CHANNELS);
        for (pixel, &value) in pixels.zip(&mask.values) {
            blend(pixel, color, value * opacity.clamp(0.0, 1.0));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_clamped_and_counted() {
        let hw = Hw { h: 1, w: 4 };
        let mask = Mask::from_values(hw, &[-1.0, f32::NAN, 0.75, 9.0]).unwrap();
        assert_eq!(mask.values(), [0.0, 0.0, 0.75, 1.0]);
        assert_eq!(mask.share_above(0.5), 0.5);
        assert_eq!(mask.inverted().values(), [1.0, 1.0, 0.25, 0.0]);
        assert!(matches!(Mask::from_values(hw, &[0.0; 3]), Err(VisionError::Length { .. })));
        assert!(Mask::from_values(Hw { h: 0, w: 4 }, &[]).is_err());
    }

    #[test]
    fn resizing_interpolates_between_centres() {
        let mask = Mask::from_values(Hw { h: 1, w: 2 }, &[0.0, 1.0]).unwrap();
        let wide = mask.resize(Hw { h: 2, w: 4 }).unwrap();
        // Centres at -0.25, 0.25, 0.75 and 1.25 of the two.
        let want = [0.0, 0.25, 0.75, 1.0];
        for (got, want) in wide.values().iter().zip(want.iter().chain(&want)) {
            assert!((got - want).abs() < 1e-6, "{:?}", wide.values());
        }
        assert!(mask.resize(Hw { h: usize::MAX, w: 2 }).is_err());
        assert!(mask.resize(Hw { h: 0, w: 2 }).is_err());
    }

    #[test]
    fn tint_mixes_by_the_mask() {
        let mut picture = Picture::from_raw(3, 1, vec![100; 9]).unwrap();
        let mask = Mask::from_values(Hw { h: 1, w: 3 }, &[0.0, 0.5, 1.0]).unwrap();
        picture.tint(&mask, Color::rgb(200, 0, 100), 0.5).unwrap();
        assert_eq!(picture.pixels(), [100, 100, 100, 125, 75, 100, 150, 50, 100]);
        let other = Mask::from_values(Hw { h: 3, w: 1 }, &[0.0; 3]).unwrap();
        assert!(picture.tint(&other, Color::WHITE, 1.0).is_err());
    }
}
