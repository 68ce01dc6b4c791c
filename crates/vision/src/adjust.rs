//! Pictures changed pixel by pixel, or moved by whole pixels.

use crate::picture::{CHANNELS, Window};
use crate::{Picture, VisionError};
use depthwise_tensor::Hw;

impl Picture {
    /// The picture of `to` extents that shows this one from row `top` and column `left` on.
    ///
    /// # Errors
    /// [`VisionError::Crop`] where it does not fit, [`VisionError::Empty`] without pixels.
    pub fn crop(&self, top: usize, left: usize, to: Hw) -> Result<Picture, VisionError> {
        let fits = |start: usize, len: usize, all: usize| start <= all && len <= all - start;
        if !fits(top, to.h, self.height()) || !fits(left, to.w, self.width()) {
            return Err(VisionError::Crop { crop: to, picture: self.hw() });
        }
        let rows = self.rows(Window { top, left, hw: to });
        Picture::from_raw(to.w, to.h, rows.flatten().copied().collect())
    }

    /// Left and right exchanged.
    pub fn flip_horizontal(&self) -> Picture {
        let mut pixels = Vec::with_capacity(self.pixels().len());
        for row in self.pixels().chunks_exact(self.width() * CHANNELS) {
            pixels.extend(row.chunks_exact(CHANNELS).rev().flatten());
        }
        self.with_pixels(pixels)
    }

    /// Top and bottom exchanged.
    pub fn flip_vertical(&self) -> Picture {
        let rows = self.pixels().chunks_exact(self.width() * CHANNELS);
        self.with_pixels(rows.rev().flatten().copied().collect())
    }

    /// Every byte multiplied by `factor`, rounded to nearest, at most 255.
    pub fn brighten(&self, factor: f32) -> Picture {
        self.map_bytes(|x| f32::from(x) * factor)
    }

    /// Every byte with the next value of `noise` added, rounded to nearest, within 0..=255.
    pub fn add_noise(&self, mut noise: impl FnMut() -> f32) -> Picture {
        self.map_bytes(|x| f32::from(x) + noise())
    }

    /// The pixels for which `choose` gives a value set to that grey, in order of rows.
    pub fn replace_pixels(&self, mut choose: impl FnMut() -> Option<u8>) -> Picture {
        let mut pixels = self.pixels().to_vec();
        for pixel in pixels.chunks_exact_mut(CHANNELS) {
            if let Some(grey) = choose() {
                pixel.fill(grey);
            }
        }
        self.with_pixels(pixels)
    }

    /// A grey rectangle of extents `hw` from row `top` and column `left` on, as much of it as lies
    /// in the picture.
    pub fn erase(&self, top: usize, left: usize, hw: Hw, grey: u8) -> Picture {
        let mut pixels = self.pixels().to_vec();
        let columns = left.min(self.width())..left.saturating_add(hw.w).min(self.width());
        let rows = pixels.chunks_exact_mut(self.width() * CHANNELS);
        for row in rows.skip(top).take(hw.h) {
            row[columns.start * CHANNELS..columns.end * CHANNELS].fill(grey);
        }
        self.with_pixels(pixels)
    }

    fn map_bytes(&self, mut f: impl FnMut(u8) -> f32) -> Picture {
        // The cast saturates, and NaN becomes 0.
        self.with_pixels(self.pixels().iter().map(|&x| (f(x) + 0.5) as u8).collect())
    }

    /// Other pixels under the same extents.
    fn with_pixels(&self, pixels: Vec<u8>) -> Picture {
        Picture::from_raw(self.width(), self.height(), pixels).expect("as many pixels as before")
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
    fn flips_and_crops_move_whole_pixels() {
        assert_eq!(red(&six().flip_horizontal()), [30, 20, 10, 60, 50, 40]);
        assert_eq!(red(&six().flip_vertical()), [40, 50, 60, 10, 20, 30]);
        assert_eq!(six().flip_horizontal().pixel(0, 0), Some([30, 0, 255]));
        assert_eq!(red(&six().crop(1, 1, Hw { h: 1, w: 2 }).unwrap()), [50, 60]);
        assert!(six().crop(1, 1, Hw { h: 2, w: 2 }).is_err());
        assert!(six().crop(usize::MAX, 0, Hw { h: 1, w: 1 }).is_err());
    }

    #[test]
    fn bytes_round_and_saturate() {
        assert_eq!(red(&six().brighten(5.05)), [51, 101, 152, 202, 253, 255]);
        let mut steps = [-11.0, 0.0, 0.4].into_iter().cycle();
        let noisy = six().add_noise(|| steps.next().unwrap());
        assert_eq!(noisy.pixel(0, 0), Some([0, 0, 255]));
        let mut turn = 0..;
        let salted = six().replace_pixels(|| (turn.next() == Some(4)).then_some(255));
        assert_eq!(red(&salted), [10, 20, 30, 40, 255, 60]);
        assert_eq!(salted.pixel(1, 1), Some([255; 3]));
    }

    #[test]
    fn an_erased_rectangle_ends_at_the_border() {
        let erased = six().erase(0, 2, Hw { h: 9, w: 9 }, 7);
        assert_eq!(red(&erased), [10, 20, 7, 40, 50, 7]);
        assert_eq!(six().erase(5, 5, Hw::square(2), 7), six());
    }
}
