//! What a network wants done to a picture.

use crate::picture::{CHANNELS, Window, centre_window};
use crate::resize::short_side;
use crate::{Interpolation, Normalize, Picture, VisionError};
use depthwise_tensor::{AlignedBuf, DType, Hw, Shape, Tensor, TensorError};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// How a picture of any size comes to the size of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resize {
    /// It does not.
    None,
    /// In proportion, so that the short side has this many pixels; the long one is
    /// `round(long * target / short)`, halves to even.
    ShortSide(usize),
    /// To these extents, whatever its proportions.
    Stretch(Hw),
    /// In proportion, as large as fits into these extents, in the middle of a frame of grey.
    Letterbox {
        /// Extents of the frame.
        frame: Hw,
        /// Value of the frame's pixels.
        fill: u8,
    },
}

/// The steps from a picture to the input of a network: resize, crop the middle, normalise.
///
/// Travels with a model as metadata strings: [`Preprocess::to_metadata`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocess {
    /// First step.
    pub resize: Resize,
    /// Second step: the middle of these extents, or all.
    pub crop: Option<Hw>,
    /// How the first step finds its pixels.
    pub interpolation: Interpolation,
    /// Last step.
    pub normalize: Normalize,
}

impl Preprocess {
    /// What ImageNet classifiers are evaluated with: the short side to `side * 256 / 224`, the
    /// middle `side * side`, bilinear.
    pub fn classifier(side: usize, normalize: Normalize) -> Preprocess {
        Preprocess {
            resize: Resize::ShortSide(side.saturating_mul(256) / 224),
            crop: Some(Hw::square(side)),
            interpolation: Interpolation::Bilinear,
            normalize,
        }
    }

    /// The picture stretched to `hw`, bilinear.
    pub fn stretch(hw: Hw, normalize: Normalize) -> Preprocess {
        Preprocess {
            resize: Resize::Stretch(hw),
            crop: None,
            interpolation: Interpolation::Bilinear,
            normalize,
        }
    }

    /// Extents of what a picture of extents `picture` becomes.
    ///
    /// # Errors
    /// [`VisionError::Crop`] where the crop does not fit.
    pub fn output_hw(&self, picture: Hw) -> Result<Hw, VisionError> {
        let resized = match self.resize {
            Resize::None => picture,
            Resize::ShortSide(target) => short_side(picture, target),
            Resize::Stretch(hw) => hw,
            Resize::Letterbox { frame, .. } => frame,
        };
        Ok(centre_window(resized, self.crop.unwrap_or(resized))?.hw)
    }

    /// Prepares a picture into `out`: `H,W,3` of [`Preprocess::output_hw`], dense.
    ///
    /// # Errors
    /// [`VisionError::Length`] where `out` has another length, and as [`Picture::resize`].
    pub fn write(&self, picture: &Picture, out: &mut [f32]) -> Result<(), VisionError> {
        let (picture, window) = self.window(picture)?;
        let want = window.hw.area() * CHANNELS;
        if out.len() != want {
            return Err(VisionError::Length { what: "prepared picture", want, got: out.len() });
        }
        let affine = self.normalize.affine();
        for (row, out) in picture.rows(window).zip(out.chunks_exact_mut(window.hw.w * CHANNELS)) {
            affine.write(row, out);
        }
        Ok(())
    }

    /// The resized and cropped picture, before normalisation: what the network sees.
    ///
    /// # Errors
    /// As [`Picture::resize`], and [`VisionError::Crop`].
    pub fn picture(&self, picture: &Picture) -> Result<Picture, VisionError> {
        let (picture, window) = self.window(picture)?;
        picture.centre_crop(window.hw)
    }

    /// The picture as an `f32` tensor `1,H,W,3`.
    ///
    /// # Errors
    /// As [`Preprocess::write`].
    pub fn tensor(&self, picture: &Picture) -> Result<Tensor, VisionError> {
        self.batch(std::slice::from_ref(picture))
    }

    /// The pictures as an `f32` tensor `N,H,W,3`.
    ///
    /// # Errors
    /// As [`Preprocess::write`]; [`VisionError::Batch`] where they come out at different sizes.
    pub fn batch(&self, pictures: &[Picture]) -> Result<Tensor, VisionError> {
        let Some(first) = pictures.first() else {
            let shape = Shape::new(&[0, 0, 0, CHANNELS]).map_err(TensorError::from)?;
            return Ok(Tensor::zeros(DType::F32, shape)?);
        };
        let want = self.output_hw(first.hw())?;
        for (index, picture) in pictures.iter().enumerate() {
            let got = self.output_hw(picture.hw())?;
            if got != want {
                return Err(VisionError::Batch { index, want, got });
            }
        }
        let shape = Shape::new(&[pictures.len(), want.h, want.w, CHANNELS]);
        let shape = shape.map_err(TensorError::from)?;
        let bytes = shape.elements() * size_of::<f32>();
        let mut buf = AlignedBuf::zeroed(bytes).map_err(TensorError::from)?;
        let parts = buf.as_mut_slice::<f32>().chunks_exact_mut(want.area() * CHANNELS);
        for (picture, out) in pictures.iter().zip(parts) {
            self.write(picture, out)?;
        }
        Ok(Tensor::new(DType::F32, shape, buf.into_bytes())?)
    }

    /// The resized picture, and the part of it that the network sees.
    fn window<'p>(&self, picture: &'p Picture) -> Result<(Cow<'p, Picture>, Window), VisionError> {
        let how = self.interpolation;
        let resized = match self.resize {
            Resize::None => Cow::Borrowed(picture),
            Resize::ShortSide(target) => resized(picture, short_side(picture.hw(), target), how)?,
            Resize::Stretch(hw) => resized(picture, hw, how)?,
            Resize::Letterbox { frame, fill } => Cow::Owned(picture.letterbox(frame, fill, how)?.0),
        };
        let window = centre_window(resized.hw(), self.crop.unwrap_or(resized.hw()))?;
        Ok((resized, window))
    }
}

fn resized(picture: &Picture, to: Hw, how: Interpolation) -> Result<Cow<'_, Picture>, VisionError> {
    if picture.hw() == to {
        return Ok(Cow::Borrowed(picture));
    }
    Ok(Cow::Owned(picture.resize(to, how)?))
}

/// Metadata keys.
const RESIZE: &str = "preprocess.resize";
const CROP: &str = "preprocess.crop";
const INTERPOLATION: &str = "preprocess.interpolation";
const DIVISOR: &str = "preprocess.divisor";
const MEAN: &str = "preprocess.mean";
const STD: &str = "preprocess.std";

impl Preprocess {
    /// The steps as metadata entries, all under `preprocess.`; extents are rows x columns.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        let list = |v: [f32; 3]| v.map(|x| x.to_string()).join(",");
        let resize = match self.resize {
            Resize::None => "none".into(),
            Resize::ShortSide(target) => format!("short-side {target}"),
            Resize::Stretch(hw) => format!("stretch {hw}"),
            Resize::Letterbox { frame, fill } => format!("letterbox {frame} {fill}"),
        };
        let crop = self.crop.map_or("none".into(), |hw| hw.to_string());
        [
            (RESIZE, resize),
            (CROP, crop),
            (INTERPOLATION, self.interpolation.name().into()),
            (DIVISOR, self.normalize.divisor.to_string()),
            (MEAN, list(self.normalize.mean)),
            (STD, list(self.normalize.std)),
        ]
        .map(|(key, value)| (key.to_string(), value))
        .into()
    }

    /// The steps that metadata describes; `None` where it describes none.
    ///
    /// # Errors
    /// [`VisionError::Metadata`] where an entry is missing or is not understood.
    pub fn from_metadata(
        metadata: &BTreeMap<String, String>,
    ) -> Result<Option<Preprocess>, VisionError> {
        let keys = [RESIZE, CROP, INTERPOLATION, DIVISOR, MEAN, STD];
        if !keys.iter().any(|&key| metadata.contains_key(key)) {
            return Ok(None);
        }
        let entry =
            |key, want| Entry { key, value: metadata.get(key).map_or("", String::as_str), want };
        let resize = entry(RESIZE, "none, short-side N, stretch HxW or letterbox HxW FILL");
        let crop = entry(CROP, "none or HxW");
        let interpolation = entry(INTERPOLATION, "nearest, bilinear, bicubic or lanczos3");
        let divisor = entry(DIVISOR, "a finite number other than 0");
        let mean = entry(MEAN, "three finite numbers");
        let std = entry(STD, "three finite numbers other than 0");
        Ok(Some(Preprocess {
            resize: resize.parse(parse_resize)?,
            crop: crop.parse(|text| match text {
                "none" => Some(None),
                text => Some(Some(parse_hw(text)?)),
            })?,
            interpolation: interpolation.parse(Interpolation::from_name)?,
            normalize: Normalize {
                divisor: divisor.parse(|text| parse_finite(text).filter(|&x| x != 0.0))?,
                mean: mean.parse(parse_triple)?,
                std: std.parse(|text| parse_triple(text).filter(|v| !v.contains(&0.0)))?,
            },
        }))
    }
}

impl fmt::Display for Preprocess {
    /// `short side 256, centre 224x224, bilinear, (x / 1 - 127) / 128`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resize {
            Resize::None => write!(f, "own size")?,
            Resize::ShortSide(target) => write!(f, "short side {target}")?,
            Resize::Stretch(hw) => write!(f, "stretched to {hw}")?,
            Resize::Letterbox { frame, fill } => write!(f, "letterbox {frame} on {fill}")?,
        }
        if let Some(crop) = self.crop {
            write!(f, ", centre {crop}")?;
        }
        write!(f, ", {}, {}", self.interpolation.name(), self.normalize)
    }
}

/// A metadata entry on its way to a value.
struct Entry<'m> {
    key: &'static str,
    value: &'m str,
    want: &'static str,
}

impl Entry<'_> {
    fn parse<T>(&self, read: impl Fn(&str) -> Option<T>) -> Result<T, VisionError> {
        read(self.value).ok_or_else(|| VisionError::Metadata {
            key: self.key,
            value: self.value.into(),
            want: self.want,
        })
    }
}

fn parse_resize(text: &str) -> Option<Resize> {
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        ["none"] => Some(Resize::None),
        ["short-side", target] => Some(Resize::ShortSide(target.parse().ok()?)),
        ["stretch", hw] => Some(Resize::Stretch(parse_hw(hw)?)),
        ["letterbox", frame, fill] => {
            Some(Resize::Letterbox { frame: parse_hw(frame)?, fill: fill.parse().ok()? })
        }
        _ => None,
    }
}

fn parse_hw(text: &str) -> Option<Hw> {
    let (h, w) = text.split_once('x')?;
    Some(Hw { h: h.parse().ok()?, w: w.parse().ok()? })
}

fn parse_finite(text: &str) -> Option<f32> {
    text.trim().parse::<f32>().ok().filter(|x| x.is_finite())
}

fn parse_triple(text: &str) -> Option<[f32; 3]> {
    let values: Vec<f32> = text.split(',').map(parse_finite).collect::<Option<_>>()?;
    values.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A picture whose red is the column, green the row.
    fn grid(h: usize, w: usize) -> Picture {
        let pixels = (0..h).flat_map(|y| (0..w).flat_map(move |x| [x as u8, y as u8, 7]));
        Picture::from_raw(w, h, pixels.collect()).unwrap()
    }

    #[test]
    fn the_crop_starts_at_the_floor_of_half_the_rest() {
        let steps = Preprocess {
            resize: Resize::None,
            crop: Some(Hw { h: 2, w: 3 }),
            interpolation: Interpolation::Bilinear,
            normalize: Normalize::RAW,
        };
        let tensor = steps.tensor(&grid(5, 6)).unwrap();
        assert_eq!(tensor.shape().dims(), [1, 2, 3, 3]);
        let want = [1, 1, 7, 2, 1, 7, 3, 1, 7, 1, 2, 7, 2, 2, 7, 3, 2, 7].map(|x| x as f32);
        assert_eq!(tensor.data::<f32>().unwrap(), want);
        assert_eq!(steps.picture(&grid(5, 6)).unwrap().pixel(0, 0), Some([1, 1, 7]));
    }

    #[test]
    fn crops_past_the_picture_and_mixed_batches_are_errors() {
        let mut steps = Preprocess::stretch(Hw::square(4), Normalize::UNIT);
        steps.crop = Some(Hw { h: 4, w: 5 });
        assert!(matches!(steps.tensor(&grid(9, 9)), Err(VisionError::Crop { .. })));
        steps = Preprocess { resize: Resize::ShortSide(4), crop: None, ..steps };
        let batch = steps.batch(&[grid(4, 4), grid(4, 8)]);
        assert!(matches!(batch, Err(VisionError::Batch { index: 1, .. })));
        assert!(steps.write(&grid(4, 4), &mut [0.0; 47]).is_err());
    }

    #[test]
    fn a_batch_holds_its_pictures_one_after_the_other() {
        let steps = Preprocess::stretch(Hw::square(2), Normalize::RAW);
        let dark = Picture::from_raw(3, 5, vec![10; 45]).unwrap();
        let light = Picture::from_raw(2, 2, vec![200; 12]).unwrap();
        let tensor = steps.batch(&[dark, light]).unwrap();
        let data = tensor.data::<f32>().unwrap();
        assert_eq!((tensor.shape().dims()[0], data[11], data[12]), (2, 10.0, 200.0));
    }

    #[test]
    fn a_thin_picture_cannot_ask_for_unbounded_memory() {
        let thin = Picture::from_raw(100_000, 1, vec![0; 300_000]).unwrap();
        let steps = Preprocess::classifier(224, Normalize::IMAGENET);
        assert!(matches!(steps.tensor(&thin), Err(VisionError::TooLarge { .. })));
    }

    #[test]
    fn broken_metadata_names_key_and_value() {
        let steps = Preprocess::classifier(224, Normalize::CENTRED_127);
        assert_eq!(Preprocess::from_metadata(&BTreeMap::new()).unwrap(), None);
        for (key, bad) in [
            (RESIZE, "short-side"),
            (CROP, "224"),
            (INTERPOLATION, "cubic"),
            (DIVISOR, "0"),
            (MEAN, "1,2"),
            (STD, "1,0,1"),
        ] {
            let mut metadata = steps.to_metadata();
            metadata.insert(key.into(), bad.into());
            let error = Preprocess::from_metadata(&metadata).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(bad), "{error}");
            metadata.remove(key);
            assert!(Preprocess::from_metadata(&metadata).is_err(), "{key} is needed");
        }
    }

    #[test]
    fn steps_print_in_words() {
        let steps = Preprocess::classifier(224, Normalize::CENTRED_127);
        assert_eq!(
            steps.to_string(),
            "short side 256, centre 224x224, bilinear, (x / 1 - 127) / 128"
        );
    }

    fn any_resize() -> impl Strategy<Value = Resize> {
        let hw = || (1..2000usize, 1..2000usize).prop_map(|(h, w)| Hw { h, w });
        prop_oneof![
            Just(Resize::None),
            (1..2000usize).prop_map(Resize::ShortSide),
            hw().prop_map(Resize::Stretch),
            (hw(), any::<u8>()).prop_map(|(frame, fill)| Resize::Letterbox { frame, fill }),
        ]
    }

    proptest! {
        #[test]
        fn metadata_round_trips(
            resize in any_resize(),
            crop in proptest::option::of(1..2000usize),
            which in 0..4usize,
            divisor in 0.001f32..1e6,
            mean in any::<[i16; 3]>(),
            std in [0.001f32..1e6, 0.001f32..1e6, 0.001f32..1e6],
        ) {
            let names = ["nearest", "bilinear", "bicubic", "lanczos3"];
            let steps = Preprocess {
                resize,
                crop: crop.map(Hw::square),
                interpolation: Interpolation::from_name(names[which]).unwrap(),
                normalize: Normalize { divisor, mean: mean.map(|m| f32::from(m) / 7.0), std },
            };
            prop_assert_eq!(Preprocess::from_metadata(&steps.to_metadata()).unwrap(), Some(steps));
        }
    }
}
