//! Turned windows of a picture: what landmark networks look at.

use crate::geometry::{Detection, Point, Rect};
use crate::picture::CHANNELS;
use crate::{DecodeLimits, Picture, VisionError};
use depthwise_tensor::Hw;

/// A box that may be turned, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RotatedRect {
    /// The middle.
    pub centre: Point,
    /// Extent along its own x axis.
    pub width: f32,
    /// Extent along its own y axis.
    pub height: f32,
    /// Angle of its own x axis, in radians, clockwise on the screen (from x to y).
    pub angle: f32,
}

impl RotatedRect {
    /// The square around a detection (in pixels) that MediaPipe shows its landmark networks: as
    /// long as the longer side of the box times `scale`, and turned so that the line from keypoint
    /// `from` to keypoint `to` has the angle `target`, counted as in the sources from the x axis
    /// with y upwards, in radians (`DetectionsToRectsCalculator`, `RectTransformationCalculator`
    /// with `square_long`). Where a keypoint is missing, it is not turned.
    pub fn for_landmarks(
        detection: &Detection,
        (from, to): (usize, usize),
        target: f32,
        scale: f32,
    ) -> RotatedRect {
        let point = |i: usize| detection.keypoints.get(i);
        let angle = match (point(from), point(to)) {
            (Some(a), Some(b)) => wrap(target - (-(b.y - a.y)).atan2(b.x - a.x)),
            _ => 0.0,
        };
        let side = detection.rect.width().max(detection.rect.height()) * scale;
        RotatedRect { centre: detection.rect.centre(), width: side, height: side, angle }
    }

    /// The square for MediaPipe's face landmarks: the eyes level, half as large again as the face.
    pub fn for_face_landmarks(detection: &Detection) -> RotatedRect {
        RotatedRect::for_landmarks(detection, (0, 1), 0.0, 1.5)
    }

    /// The square for MediaPipe's hand landmarks from a palm detection: wrist to middle finger
    /// upwards, moved half its extent towards the fingers, 2.6 times as large.
    pub fn for_hand_landmarks(detection: &Detection) -> RotatedRect {
        let upwards = std::f32::consts::FRAC_PI_2;
        let palm = RotatedRect::for_landmarks(detection, (0, 2), upwards, 1.0);
        let height = detection.rect.height();
        let (sin, cos) = palm.angle.sin_cos();
        let centre =
            Point { x: palm.centre.x + 0.5 * height * sin, y: palm.centre.y - 0.5 * height * cos };
        RotatedRect { centre, width: palm.width * 2.6, height: palm.height * 2.6, ..palm }
    }

    /// A point inside, in shares of its own extents from its own top left, as a point of the
    /// picture.
    pub fn to_picture(&self, share: Point) -> Point {
        let (sin, cos) = self.angle.sin_cos();
        let (x, y) = ((share.x - 0.5) * self.width, (share.y - 0.5) * self.height);
        Point { x: self.centre.x + x * cos - y * sin, y: self.centre.y + x * sin + y * cos }
    }

    /// The inverse of [`RotatedRect::to_picture`].
    pub fn from_picture(&self, point: Point) -> Point {
        let (sin, cos) = self.angle.sin_cos();
        let (x, y) = (point.x - self.centre.x, point.y - self.centre.y);
        Point {
            x: (x * cos + y * sin) / self.width + 0.5,
            y: (y * cos - x * sin) / self.height + 0.5,
        }
    }

    /// Its corners, clockwise from its own top left.
    pub fn corners(&self) -> [Point; 4] {
        [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
            .map(|(x, y)| self.to_picture(Point { x, y }))
    }
}

impl From<Rect> for RotatedRect {
    fn from(rect: Rect) -> RotatedRect {
        let (width, height) = (rect.width(), rect.height());
        RotatedRect { centre: rect.centre(), width, height, angle: 0.0 }
    }
}

/// The same angle between -pi and pi.
fn wrap(angle: f32) -> f32 {
    use std::f32::consts::{PI, TAU};
    angle - TAU * ((angle + PI) / TAU).floor()
}

impl Picture {
    /// What the window shows, stretched to `to`: bilinear between the nearest four pixels, without
    /// antialiasing, as MediaPipe does it. Outside the picture its border goes on.
    ///
    /// # Errors
    /// [`VisionError::Empty`] for a target without pixels, [`VisionError::TooLarge`] for one past
    /// the pixels of [`DecodeLimits::default`], [`VisionError::Window`] where the window is no
    /// finite box.
    pub fn crop_rotated(&self, window: &RotatedRect, to: Hw) -> Result<Picture, VisionError> {
        if to.h == 0 || to.w == 0 {
            return Err(VisionError::Empty { what: "crop", width: to.w, height: to.h });
        }
        let max_pixels = DecodeLimits::default().max_pixels;
        let (width, height) = (to.w as u64, to.h as u64);
        if width.saturating_mul(height) > max_pixels {
            return Err(VisionError::TooLarge { what: "crop".into(), width, height, max_pixels });
        }
        let parts = [window.centre.x, window.centre.y, window.width, window.height, window.angle];
        if parts.iter().any(|x| !x.is_finite()) || window.width <= 0.0 || window.height <= 0.0 {
            return Err(VisionError::Window { window: *window });
        }
        let mut pixels = Vec::with_capacity(to.area() * CHANNELS);
        for y in 0..to.h {
            for x in 0..to.w {
                let share =
                    Point { x: (x as f32 + 0.5) / to.w as f32, y: (y as f32 + 0.5) / to.h as f32 };
                pixels.extend(self.sample(window.to_picture(share)));
            }
        }
        Picture::from_raw(to.w, to.h, pixels)
    }

    /// The colour at a point; the first pixel covers 0 to 1 and has its colour at 0.5.
    fn sample(&self, at: Point) -> [u8; 3] {
        let axis = |at: f32, extent: usize| {
            let last = (extent - 1) as f32;
            let at = (at - 0.5).clamp(0.0, last);
            let low = at.floor();
            (low as usize, (low + 1.0).min(last) as usize, at - low)
        };
        let (x0, x1, fx) = axis(at.x, self.width());
        let (y0, y1, fy) = axis(at.y, self.height());
        let pixel = |y: usize, x: usize| (y * self.width() + x) * CHANNELS;
        let corners = [pixel(y0, x0), pixel(y0, x1), pixel(y1, x0), pixel(y1, x1)];
        std::array::from_fn(|channel| {
            let [a, b, c, d] = corners.map(|start| f32::from(self.pixels()[start + channel]));
            let (top, bottom) = (a + (b - a) * fx, c + (d - c) * fx);
            (top + (bottom - top) * fy).round() as u8
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f32::consts::{FRAC_PI_2, PI};

    fn grid(h: usize, w: usize) -> Picture {
        let pixels = (0..h).flat_map(|y| (0..w).flat_map(move |x| [x as u8 * 10, y as u8 * 10, 7]));
        Picture::from_raw(w, h, pixels.collect()).unwrap()
    }

    fn rect(left: f32, top: f32, right: f32, bottom: f32) -> Rect {
        Rect { left, top, right, bottom }
    }

    #[test]
    fn a_straight_window_is_a_crop() {
        let crop =
            grid(6, 8).crop_rotated(&rect(2.0, 1.0, 5.0, 3.0).into(), Hw { h: 2, w: 3 }).unwrap();
        let want = [20, 10, 7, 30, 10, 7, 40, 10, 7, 20, 20, 7, 30, 20, 7, 40, 20, 7];
        assert_eq!(crop.pixels(), want);
    }

    #[test]
    fn a_quarter_turn_swaps_the_axes() {
        // Its x axis points down: its columns are rows of the picture, from right to left.
        let window = RotatedRect {
            centre: Point { x: 1.0, y: 1.5 },
            width: 3.0,
            height: 2.0,
            angle: FRAC_PI_2,
        };
        let crop = grid(3, 2).crop_rotated(&window, Hw { h: 2, w: 3 }).unwrap();
        let red: Vec<u8> = crop.pixels().chunks(3).map(|p| p[0]).collect();
        let green: Vec<u8> = crop.pixels().chunks(3).map(|p| p[1]).collect();
        assert_eq!(red, [10, 10, 10, 0, 0, 0]);
        assert_eq!(green, [0, 10, 20, 0, 10, 20]);
    }

    #[test]
    fn half_a_pixel_mixes_and_the_border_goes_on() {
        let crop = grid(2, 2).crop_rotated(&rect(-2.5, 0.0, 1.5, 2.0).into(), Hw { h: 2, w: 4 });
        let red: Vec<u8> = crop.unwrap().pixels().chunks(3).map(|p| p[0]).collect();
        // Centres at -2, -1, 0 and 1: halfway between columns 0 and 1.
        assert_eq!(red[..4], [0, 0, 0, 5]);
    }

    #[test]
    fn windows_that_are_none_are_errors() {
        let window =
            |width| RotatedRect { centre: Point::default(), width, height: 1.0, angle: 0.0 };
        for width in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let crop = grid(2, 2).crop_rotated(&window(width), Hw::square(2));
            assert!(matches!(crop, Err(VisionError::Window { .. })), "{width}");
        }
        assert!(grid(2, 2).crop_rotated(&window(1.0), Hw { h: 0, w: 1 }).is_err());
        let huge = grid(2, 2).crop_rotated(&window(1.0), Hw { h: usize::MAX, w: 2 });
        assert!(matches!(huge, Err(VisionError::TooLarge { .. })));
    }

    #[test]
    fn eyes_come_level() {
        let mut face = Detection { rect: rect(10.0, 20.0, 50.0, 80.0), ..Detection::default() };
        face.keypoints = vec![Point { x: 20.0, y: 40.0 }, Point { x: 40.0, y: 60.0 }];
        let window = RotatedRect::for_face_landmarks(&face);
        assert_eq!(
            (window.width, window.height, window.centre),
            (90.0, 90.0, Point { x: 30.0, y: 50.0 })
        );
        // 45 degrees clockwise on the screen.
        assert!((window.angle - PI / 4.0).abs() < 1e-6);
        let [a, b] = [0, 1].map(|i| window.from_picture(face.keypoints[i]));
        assert!((a.y - b.y).abs() < 1e-6 && a.x < b.x);
        face.keypoints.clear();
        assert_eq!(RotatedRect::for_face_landmarks(&face).angle, 0.0);
    }

    #[test]
    fn fingers_point_up() {
        let mut palm = Detection { rect: rect(0.0, 0.0, 10.0, 10.0), ..Detection::default() };
        // The hand points to the right of the screen.
        palm.keypoints =
            vec![Point { x: 0.0, y: 5.0 }, Point::default(), Point { x: 10.0, y: 5.0 }];
        let window = RotatedRect::for_hand_landmarks(&palm);
        assert!((window.angle - FRAC_PI_2).abs() < 1e-6);
        assert!((window.centre.x - 10.0).abs() < 1e-5 && (window.centre.y - 5.0).abs() < 1e-5);
        let [wrist, finger] = [0, 2].map(|i| window.from_picture(palm.keypoints[i]));
        assert!(finger.y < wrist.y && (finger.x - wrist.x).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn points_go_there_and_back(
            angle in -4.0f32..4.0, x in -1.0f32..2.0, y in -1.0f32..2.0,
            width in 1.0f32..500.0, height in 1.0f32..500.0,
        ) {
            let window = RotatedRect { centre: Point { x: 100.0, y: 50.0 }, width, height, angle };
            let back = window.from_picture(window.to_picture(Point { x, y }));
            // Rounding of coordinates up to 1000, seen in shares of a window of one pixel or more.
            prop_assert!((back.x - x).abs() < 1e-3 && (back.y - y).abs() < 1e-3);
        }
    }
}
