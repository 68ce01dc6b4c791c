//! Files to pictures.

use crate::{Picture, VisionError};
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits};
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

/// Bounds on what a file may make the decoder allocate.
///
/// A few bytes can declare a picture of any size, so the bounds do not follow from the size of
/// the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Largest product of width and height.
    pub max_pixels: u64,
    /// Largest number of bytes that the decoder holds at a time, its output included.
    pub max_alloc_bytes: u64,
}

impl Default for DecodeLimits {
    /// 2^26 pixels (8192 x 8192), 512 MiB.
    fn default() -> DecodeLimits {
        DecodeLimits { max_pixels: 1 << 26, max_alloc_bytes: 512 << 20 }
    }
}

impl Picture {
    /// Reads a JPEG, PNG, BMP, WebP, GIF (first frame) or TIFF file, recognised by its content,
    /// upright as its EXIF orientation says. Transparency is dropped, not blended.
    ///
    /// # Errors
    /// [`VisionError::Io`], [`VisionError::Decode`], [`VisionError::TooLarge`], all naming the
    /// file.
    pub fn open(path: impl AsRef<Path>) -> Result<Picture, VisionError> {
        Picture::open_with(path, DecodeLimits::default())
    }

    /// As [`Picture::open`], with other limits.
    ///
    /// # Errors
    /// As [`Picture::open`].
    pub fn open_with(path: impl AsRef<Path>, limits: DecodeLimits) -> Result<Picture, VisionError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => decode(&name, BufReader::new(file), limits),
            Err(source) => Err(VisionError::Io { file: name, source }),
        }
    }

    /// Reads a picture file that lies in memory; otherwise as [`Picture::open`].
    ///
    /// # Errors
    /// As [`Picture::open`].
    pub fn decode(bytes: &[u8]) -> Result<Picture, VisionError> {
        Picture::decode_with(bytes, DecodeLimits::default())
    }

    /// As [`Picture::decode`], with other limits.
    ///
    /// # Errors
    /// As [`Picture::open`].
    pub fn decode_with(bytes: &[u8], limits: DecodeLimits) -> Result<Picture, VisionError> {
        decode("picture in memory", Cursor::new(bytes), limits)
    }
}

fn decode(
    name: &str,
    reader: impl BufRead + Seek,
    limits: DecodeLimits,
) -> Result<Picture, VisionError> {
    let io = |source| VisionError::Io { file: name.into(), source };
    let fail = |source: ImageError| match source {
        ImageError::IoError(source) => io(source),
        source => VisionError::Decode { file: name.into(), source: source.into() },
    };
    let mut reader = ImageReader::new(reader).with_guessed_format().map_err(io)?;
    let mut bounds = Limits::no_limits();
    bounds.max_alloc = Some(limits.max_alloc_bytes);
    reader.limits(bounds);
    let mut decoder = reader.into_decoder().map_err(fail)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(VisionError::TooLarge {
            what: name.into(),
            width: width.into(),
            height: height.into(),
            max_pixels: limits.max_pixels,
        });
    }
    // Not every decoder minds the bound that it was given.
    let (bytes, max_bytes) = (decoder.total_bytes(), limits.max_alloc_bytes);
    if bytes > max_bytes {
        return Err(VisionError::Memory { file: name.into(), bytes, max_bytes });
    }
    let orientation = decoder.orientation().map_err(fail)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(fail)?;
    image.apply_orientation(orientation);
    let rgb = image.into_rgb8();
    let (width, height) = (rgb.width() as usize, rgb.height() as usize);
    Picture::from_raw(width, height, rgb.into_raw())
}
