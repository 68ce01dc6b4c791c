//! Pixels.

use crate::VisionError;
use depthwise_tensor::{Hw, Tensor};
use std::fmt;

/// Channels of a pixel: red, green, blue.
pub(crate) const CHANNELS: usize = 3;

/// A picture of at least one pixel: 8-bit RGB, interleaved, rows from the top without gaps.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Picture {
    /// A picture of these pixels, `height * width * 3` bytes.
    ///
    /// # Errors
    /// [`VisionError::Empty`] without pixels, [`VisionError::Length`] where the byte count does
    /// not fit.
    pub fn from_raw(width: usize, height: usize, pixels: Vec<u8>) -> Result<Picture, VisionError> {
        if width == 0 || height == 0 {
            return Err(VisionError::Empty { what: "pixels", width, height });
        }
        let want = width.saturating_mul(height).saturating_mul(CHANNELS);
        if pixels.len() != want {
            return Err(VisionError::Length { what: "pixels", want, got: pixels.len() });
        }
        Ok(Picture { width, height, pixels })
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Rows and columns.
    pub fn hw(&self) -> Hw {
        Hw { h: self.height, w: self.width }
    }

    /// The bytes, `height * width * 3`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes, `height * width * 3`, to be changed.
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// Gives the bytes away.
    pub fn into_raw(self) -> Vec<u8> {
        self.pixels
    }

    /// Red, green and blue at row `y` and column `x`, `None` outside the picture.
    pub fn pixel(&self, y: usize, x: usize) -> Option<[u8; 3]> {
        let inside = y < self.height && x < self.width;
        let start = (y * self.width + x) * CHANNELS;
        inside.then(|| [self.pixels[start], self.pixels[start + 1], self.pixels[start + 2]])
    }

    /// The bytes as a `u8` tensor `1,H,W,3`, moved, not copied: for networks that take raw pixels.
    ///
    /// # Errors
    /// [`VisionError::Tensor`] where the extents do not make a shape.
    pub fn into_tensor(self) -> Result<Tensor, VisionError> {
        Ok(Tensor::from_vec(&[1, self.height, self.width, CHANNELS], self.pixels)?)
    }

    /// The rows of a window.
    pub(crate) fn rows(&self, window: Window) -> impl Iterator<Item = &[u8]> {
        let rows = self.pixels.chunks_exact(self.width * CHANNELS);
        let columns = window.left * CHANNELS..(window.left + window.hw.w) * CHANNELS;
        rows.skip(window.top).take(window.hw.h).map(move |row| &row[columns.clone()])
    }

    /// A copy of the middle, which starts at row `floor((height - h) / 2)` and column
    /// `floor((width - w) / 2)`.
    ///
    /// # Errors
    /// [`VisionError::Crop`] where the crop does not fit, [`VisionError::Empty`] without pixels.
    pub fn centre_crop(&self, crop: Hw) -> Result<Picture, VisionError> {
        let window = centre_window(self.hw(), crop)?;
        let mut pixels = Vec::with_capacity(crop.area() * CHANNELS);
        for row in self.rows(window) {
            pixels.extend_from_slice(row);
        }
        Picture::from_raw(crop.w, crop.h, pixels)
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({} x {}, width x height)", self.width, self.height)
    }
}

/// A part of a picture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) hw: Hw,
}

/// The window in the middle of a picture, the odd row or column left over after it.
pub(crate) fn centre_window(picture: Hw, crop: Hw) -> Result<Window, VisionError> {
    if crop.h > picture.h || crop.w > picture.w {
        return Err(VisionError::Crop { crop, picture });
    }
    Ok(Window { top: (picture.h - crop.h) / 2, left: (picture.w - crop.w) / 2, hw: crop })
}
