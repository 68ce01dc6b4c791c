//! 8-bit pixels to the numbers that a network was trained on.

use crate::VisionError;
use crate::picture::CHANNELS;
use std::fmt;

/// `y = (x / divisor - mean[c]) / std[c]` for a pixel value `x` in 0..=255 of channel `c`.
///
/// Computed as one multiplication and one addition, whose factors are found in `f64` and rounded
/// once: at most a few units in the last place from the formula.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalize {
    /// Divides the pixel value first; 255 where `mean` and `std` are meant for 0..=1.
    pub divisor: f32,
    /// Subtracted next, per channel.
    pub mean: [f32; 3],
    /// Divides last, per channel.
    pub std: [f32; 3],
}

impl Normalize {
    /// 0..=255 as they are.
    pub const RAW: Normalize = Normalize::uniform(1.0, 0.0, 1.0);
    /// `x / 255`: 0..=1.
    pub const UNIT: Normalize = Normalize::uniform(255.0, 0.0, 1.0);
    /// `x / 127.5 - 1`: -1..=1. Keras' "tf" mode, MobileNet V1 and V2 of TensorFlow.
    pub const SIGNED_UNIT: Normalize = Normalize::uniform(127.5, 1.0, 1.0);
    /// `(x - 127) / 128`: EfficientNet-Lite and many face detectors.
    pub const CENTRED_127: Normalize = Normalize::uniform(1.0, 127.0, 128.0);
    /// `x / 255`, then the mean and standard deviation of ImageNet: torchvision and timm.
    pub const IMAGENET: Normalize =
        Normalize { divisor: 255.0, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

    /// The same for all channels.
    pub const fn uniform(divisor: f32, mean: f32, std: f32) -> Normalize {
        Normalize { divisor, mean: [mean; 3], std: [std; 3] }
    }

    /// Normalises interleaved RGB bytes into `out`, which is as long.
    ///
    /// # Errors
    /// [`VisionError::Length`] where the lengths differ or hold no whole pixels.
    pub fn write(&self, pixels: &[u8], out: &mut [f32]) -> Result<(), VisionError> {
        if pixels.len() != out.len() || !pixels.len().is_multiple_of(CHANNELS) {
            let (want, got) = (pixels.len(), out.len());
            return Err(VisionError::Length { what: "normalised pixels", want, got });
        }
        self.affine().write(pixels, out);
        Ok(())
    }

    pub(crate) fn affine(&self) -> Affine {
        let mut affine = Affine { scale: [0.0; LANES], offset: [0.0; LANES] };
        for lane in 0..LANES {
            let (mean, std) = (self.mean[lane % CHANNELS], self.std[lane % CHANNELS]);
            affine.scale[lane] = (1.0 / (f64::from(self.divisor) * f64::from(std))) as f32;
            affine.offset[lane] = (-f64::from(mean) / f64::from(std)) as f32;
        }
        affine
    }
}

impl fmt::Display for Normalize {
    /// `(x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |v: &[f32; 3]| {
            if v.iter().all(|x| *x == v[0]) { format!("{}", v[0]) } else { format!("{v:?}") }
        };
        let text = format!("(x / {} - {}) / {}", self.divisor, list(&self.mean), list(&self.std));
        f.pad(&text)
    }
}

/// A whole number of pixels that is also a whole number of vectors.
const LANES: usize = 24;

/// `y = x * scale + offset`, with the factors laid out for [`LANES`] neighbouring bytes.
pub(crate) struct Affine {
    scale: [f32; LANES],
    offset: [f32; LANES],
}

impl Affine {
    /// Both slices hold the same whole number of pixels.
    pub(crate) fn write(&self, pixels: &[u8], out: &mut [f32]) {
        debug_assert_eq!(pixels.len(), out.len());
        let mut from = pixels.chunks_exact(LANES);
        let mut into = out.chunks_exact_mut(LANES);
        for (x, y) in from.by_ref().zip(into.by_ref()) {
            for lane in 0..LANES {
                y[lane] = f32::from(x[lane]) * self.scale[lane] + self.offset[lane];
            }
        }
        for (lane, (x, y)) in from.remainder().iter().zip(into.into_remainder()).enumerate() {
            *y = f32::from(*x) * self.scale[lane] + self.offset[lane];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(normalize: Normalize, x: u8) -> [f32; 3] {
        let mut out = [0.0; 3];
        normalize.write(&[x; 3], &mut out).unwrap();
        out
    }

    #[test]
    fn presets_meet_hand_values() {
        assert_eq!(one(Normalize::RAW, 200), [200.0; 3]);
        assert_eq!(one(Normalize::UNIT, 255), [1.0; 3]);
        assert_eq!(one(Normalize::CENTRED_127, 127), [0.0; 3]);
        assert_eq!(one(Normalize::CENTRED_127, 255), [1.0; 3]);
        assert_eq!(one(Normalize::SIGNED_UNIT, 0), [-1.0; 3]);
        assert!((one(Normalize::SIGNED_UNIT, 255)[0] - 1.0).abs() < 2e-7);
        // (1 - 0.485) / 0.229 and so on.
        let want = [2.248_908_3, 2.428_571_4, 2.64];
        for (got, want) in one(Normalize::IMAGENET, 255).into_iter().zip(want) {
            assert!((got - want).abs() < 1e-6, "{got} for {want}");
        }
    }

    #[test]
    fn ragged_lengths_are_errors() {
        let mut out = [0.0; 4];
        assert!(Normalize::RAW.write(&[0; 4], &mut out).is_err());
        assert!(Normalize::RAW.write(&[0; 3], &mut out).is_err());
    }

    proptest! {
        #[test]
        fn every_length_and_channel_follows_the_formula(
            pixels in proptest::collection::vec(any::<[u8; 3]>(), 0..40),
        ) {
            let bytes = pixels.as_flattened();
            let mut out = vec![f32::NAN; bytes.len()];
            let n = Normalize::IMAGENET;
            n.write(bytes, &mut out).unwrap();
            for (i, (&x, &y)) in bytes.iter().zip(&out).enumerate() {
                let (mean, std) = (f64::from(n.mean[i % 3]), f64::from(n.std[i % 3]));
                let want = (f64::from(x) / 255.0 - mean) / std;
                // Two roundings of terms below 4.5.
                prop_assert!((f64::from(y) - want).abs() < 1e-6);
            }
        }
    }
}
