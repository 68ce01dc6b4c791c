//! Pictures to bytes.

use crate::{DecodeLimits, Picture, VisionError};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

impl Picture {
    /// The picture as a PNG file, in memory.
    ///
    /// # Errors
    /// [`VisionError::TooLarge`] for extents past those of the format.
    pub fn to_png(&self) -> Result<Vec<u8>, VisionError> {
        let too_large = |_| VisionError::TooLarge {
            what: "PNG".into(),
            width: self.width() as u64,
            height: self.height() as u64,
            max_pixels: DecodeLimits::default().max_pixels,
        };
        let width = u32::try_from(self.width()).map_err(too_large)?;
        let height = u32::try_from(self.height()).map_err(too_large)?;
        let mut bytes = Vec::new();
        PngEncoder::new(&mut bytes)
            .write_image(self.pixels(), width, height, ExtendedColorType::Rgb8)
            .map_err(|source| VisionError::Decode { file: "PNG".into(), source: source.into() })?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn png_keeps_every_pixel() {
        let picture = Picture::from_raw(3, 2, (0..18).map(|x| x * 14).collect()).unwrap();
        assert_eq!(Picture::decode(&picture.to_png().unwrap()).unwrap(), picture);
    }
}
