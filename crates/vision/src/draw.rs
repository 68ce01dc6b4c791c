//! Marks on pictures: boxes, points, lines, labels.

use crate::geometry::{Point, Rect};
use crate::picture::CHANNELS;
use crate::{Picture, RotatedRect};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle, iso_8859_1};
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{Circle, Line, PrimitiveStyle};
use embedded_graphics::text::{Baseline, Text};
use std::convert::Infallible;

/// Red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color(pub [u8; 3]);

impl Color {
    /// White.
    pub const WHITE: Color = Color([255; 3]);
    /// Black.
    pub const BLACK: Color = Color([0; 3]);

    /// Of these parts.
    pub const fn rgb(red: u8, green: u8, blue: u8) -> Color {
        Color([red, green, blue])
    }

    /// Colours that can be told apart, also by most colour-blind people (Okabe and Ito 2008); they
    /// repeat after seven.
    pub const fn nth(i: usize) -> Color {
        const ALL: [[u8; 3]; 7] = [
            [86, 180, 233],
            [230, 159, 0],
            [0, 158, 115],
            [240, 228, 66],
            [213, 94, 0],
            [204, 121, 167],
            [0, 114, 178],
        ];
        Color(ALL[i % ALL.len()])
    }

    /// Black or white, whichever reads better on this colour.
    fn contrast(self) -> Color {
        // Weights of ITU-R BT.601.
        let [r, g, b] = self.0.map(u32::from);
        if 299 * r + 587 * g + 114 * b > 128_000 { Color::BLACK } else { Color::WHITE }
    }
}

/// Mixes `share` of a colour into a pixel.
pub(crate) fn blend(pixel: &mut [u8], color: Color, share: f32) {
    for (x, &c) in pixel.iter_mut().zip(&color.0) {
        let old = f32::from(*x);
        *x = (old + (f32::from(c) - old) * share).round() as u8;
    }
}

/// Draws on a picture, in pixels; what lies outside is left out. Lines and letters are as thick as
/// suits the picture's size.
///
/// ```
/// use depthwise_vision::{Color, Painter, Picture, Rect};
///
/// let mut picture = Picture::from_raw(640, 480, vec![90; 640 * 480 * 3])?;
/// let mut painter = Painter::new(&mut picture);
/// let rect = Rect { left: 100.0, top: 80.0, right: 300.0, bottom: 400.0 };
/// painter.rect(&rect, Color::nth(0));
/// painter.label(&rect, "cat 0.93", Color::nth(0));
/// # Ok::<(), depthwise_vision::VisionError>(())
/// ```
#[derive(Debug)]
pub struct Painter<'p> {
    picture: &'p mut Picture,
    stroke: u32,
}

/// The longest coordinate that is drawn.
const FAR: f32 = 1e6;

/// The part of a line inside a box and `margin` around it (Liang and Barsky 1984): far points would
/// overflow the arithmetic of lines.
fn clip(from: Point, to: Point, room: &Rect, margin: f32) -> Option<(Point, Point)> {
    let [x, y, to_x, to_y] =
        [from.x, from.y, to.x, to.y].map(f64::from).map(|v| v.clamp(-1e9, 1e9));
    let (dx, dy) = (to_x - x, to_y - y);
    let (mut first, mut last) = (0f64, 1f64);
    let sides = [
        (-dx, x - f64::from(room.left - margin)),
        (dx, f64::from(room.right + margin) - x),
        (-dy, y - f64::from(room.top - margin)),
        (dy, f64::from(room.bottom + margin) - y),
    ];
    for (step, distance) in sides {
        if step == 0.0 && distance < 0.0 {
            return None;
        }
        let at = distance / step;
        if step < 0.0 {
            first = first.max(at);
        } else if step > 0.0 {
            last = last.min(at);
        }
    }
    let point = |t: f64| Point { x: (x + t * dx) as f32, y: (y + t * dy) as f32 };
    let real = (dx + dy).is_finite() && first <= last;
    real.then(|| {
        let end = |t: f64, whole: f64, exact: Point| if t == whole { exact } else { point(t) };
        (end(first, 0.0, from), end(last, 1.0, to))
    })
}

impl<'p> Painter<'p> {
    /// Draws on this picture.
    pub fn new(picture: &'p mut Picture) -> Painter<'p> {
        let short = picture.width().min(picture.height());
        let stroke = (short as f32 / 250.0).round().clamp(1.0, 40.0) as u32;
        Painter { picture, stroke }
    }

    /// Pixels of a line's width.
    pub fn stroke(&self) -> u32 {
        self.stroke
    }

    /// Draws lines of another width, at least one pixel.
    pub fn set_stroke(&mut self, pixels: u32) {
        self.stroke = pixels.clamp(1, 1000);
    }

    /// The outline of a box. Where it reaches past the picture, the rest of its outline is drawn.
    pub fn rect(&mut self, rect: &Rect, color: Color) {
        let Rect { left, top, right, bottom } = *rect;
        let corners = [(left, top), (right, top), (right, bottom), (left, bottom)];
        self.outline(&corners.map(|(x, y)| Point { x, y }), color);
    }

    /// The outline of a turned box.
    pub fn rotated_rect(&mut self, rect: &RotatedRect, color: Color) {
        self.outline(&rect.corners(), color);
    }

    /// A closed line through these points.
    pub fn outline(&mut self, points: &[Point], color: Color) {
        self.path(points, color);
        if let [first, .., last] = points {
            self.line(*last, *first, color);
        }
    }

    /// A line through these points.
    pub fn path(&mut self, points: &[Point], color: Color) {
        for ends in points.windows(2) {
            self.line(ends[0], ends[1], color);
        }
    }

    /// A straight line.
    pub fn line(&mut self, from: Point, to: Point, color: Color) {
        let margin = self.stroke as f32;
        let (right, bottom) = (self.picture.width() as f32, self.picture.height() as f32);
        let room = Rect { left: 0.0, top: 0.0, right, bottom };
        let Some((from, to)) = clip(from, to, &room, margin) else { return };
        let (Some(from), Some(to)) = (place(from), place(to)) else { return };
        let style = PrimitiveStyle::with_stroke(BinaryColor::On, self.stroke);
        let Ok(()) = Line::new(from, to).into_styled(style).draw(&mut self.brush(color));
    }

    /// A dot of this diameter in pixels, at least one.
    pub fn dot(&mut self, at: Point, diameter: u32, color: Color) {
        let Some(at) = place(at) else { return };
        let diameter = diameter.clamp(1, 10_000);
        let circle = Circle::with_center(at, diameter);
        let style = PrimitiveStyle::with_fill(BinaryColor::On);
        let Ok(()) = circle.into_styled(style).draw(&mut self.brush(color));
    }

    /// Text on a ground of this colour, on top of a box or, where there is no room, inside it.
    pub fn label(&mut self, rect: &Rect, text: &str, color: Color) {
        let (font, times) = self.letters();
        let pad = 2 * times;
        let text: String = text.chars().map(|c| if latin(c) { c } else { '?' }).collect();
        let letters = text.chars().count().min(1000) as i32;
        let width = font.character_size.width as i32 * times * letters + 2 * pad;
        let height = font.character_size.height as i32 * times + 2 * pad;
        let Some(corner) = place(Point { x: rect.left, y: rect.top }) else { return };
        let half = self.stroke as i32 / 2;
        let room = (self.picture.width() as i32 - width).max(0);
        let x = (corner.x - half).clamp(0, room);
        let above = corner.y - half - height;
        let y = if above >= 0 { above } else { (corner.y - half).max(0) };
        self.fill(x, y, width, height, color);
        let style = MonoTextStyle::new(font, BinaryColor::On);
        let mut brush = self.brush(color.contrast());
        (brush.origin, brush.scale) = ((x + pad, y + pad), times);
        let text = Text::with_baseline(
            &text,
            embedded_graphics::prelude::Point::zero(),
            style,
            Baseline::Top,
        );
        let Ok(_) = text.draw(&mut brush);
    }

    /// Letters of a thirtieth of the picture's short side, or the smallest there are: a font and
    /// how many times it is enlarged.
    fn letters(&self) -> (&'static MonoFont<'static>, i32) {
        match self.picture.width().min(self.picture.height()) {
            0..600 => (&iso_8859_1::FONT_7X13, 1),
            short => (&iso_8859_1::FONT_10X20, (short / 600).min(40) as i32),
        }
    }

    fn fill(&mut self, x: i32, y: i32, width: i32, height: i32, color: Color) {
        let mut brush = self.brush(color);
        for row in y..y + height {
            for column in x..x + width {
                brush.set(column, row);
            }
        }
    }

    fn brush(&mut self, color: Color) -> Brush<'_> {
        Brush { picture: self.picture, color, origin: (0, 0), scale: 1 }
    }
}

/// Whether the fonts have the letter.
fn latin(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{ff}')
}

/// A point on the grid of pixels, kept within [`FAR`]; `None` for what is not a number.
fn place(point: Point) -> Option<embedded_graphics::prelude::Point> {
    let axis = |x: f32| x.clamp(-FAR, FAR).floor() as i32;
    let finite = !point.x.is_nan() && !point.y.is_nan();
    finite.then(|| embedded_graphics::prelude::Point::new(axis(point.x), axis(point.y)))
}

/// Where the drawing library puts its pixels: in one colour, enlarged, from an origin.
struct Brush<'p> {
    picture: &'p mut Picture,
    color: Color,
    origin: (i32, i32),
    scale: i32,
}

impl Brush<'_> {
    fn set(&mut self, x: i32, y: i32) {
        let (width, height) = (self.picture.width(), self.picture.height());
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x < width && y < height {
            let start = (y * width + x) * CHANNELS;
            self.picture.pixels_mut()[start..][..CHANNELS].copy_from_slice(&self.color.0);
        }
    }
}

impl OriginDimensions for Brush<'_> {
    fn size(&self) -> Size {
        Size::new(self.picture.width() as u32, self.picture.height() as u32)
    }
}

impl DrawTarget for Brush<'_> {
    type Color = BinaryColor;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<BinaryColor>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        for Pixel(at, color) in pixels {
            if color != BinaryColor::On {
                continue;
            }
            let (x, y) = (self.origin.0 + at.x * self.scale, self.origin.1 + at.y * self.scale);
            for row in 0..self.scale {
                for column in 0..self.scale {
                    self.set(x + column, y + row);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: Color = Color::rgb(255, 0, 0);

    fn black(width: usize, height: usize) -> Picture {
        Picture::from_raw(width, height, vec![0; width * height * 3]).unwrap()
    }

    /// The picture as text, `#` for what is not black.
    fn text(picture: &Picture) -> Vec<String> {
        let rows = picture.pixels().chunks(picture.width() * 3);
        let row = |row: &[u8]| {
            row.chunks(3).map(|p| if p == [0; 3] { '.' } else { '#' }).collect::<String>()
        };
        rows.map(row).collect()
    }

    #[test]
    fn outlines_are_where_the_box_is() {
        let mut picture = black(6, 5);
        let rect = Rect { left: 1.0, top: 1.0, right: 4.0, bottom: 3.0 };
        Painter::new(&mut picture).rect(&rect, RED);
        assert_eq!(text(&picture), ["......", ".####.", ".#..#.", ".####.", "......"]);
        assert_eq!(picture.pixel(1, 1), Some([255, 0, 0]));
    }

    #[test]
    fn what_lies_outside_is_left_out() {
        let mut picture = black(4, 3);
        let mut painter = Painter::new(&mut picture);
        painter.rect(&Rect { left: -9.0, top: 1.0, right: 1e30, bottom: 90.0 }, RED);
        painter.dot(Point { x: f32::NAN, y: 0.0 }, 3, RED);
        painter.line(Point { x: 1e30, y: 2.0 }, Point { x: 3.0, y: 2.0 }, RED);
        painter.line(Point { x: 0.0, y: -50.0 }, Point { x: 3.0, y: -60.0 }, RED);
        assert_eq!(text(&picture), ["....", "####", "...#"]);
        // y = 2 - x, from far outside to far outside.
        let mut picture = black(4, 3);
        let (from, to) = (Point { x: -3e5, y: 300_002.0 }, Point { x: 3e5, y: -299_998.0 });
        Painter::new(&mut picture).line(from, to, RED);
        assert_eq!(text(&picture), ["..#.", ".#..", "#..."]);
    }

    #[test]
    fn dots_are_round() {
        let mut picture = black(5, 5);
        Painter::new(&mut picture).dot(Point { x: 2.5, y: 2.5 }, 3, RED);
        assert_eq!(text(&picture), [".....", "..#..", ".###.", "..#..", "....."]);
    }

    #[test]
    fn labels_stand_above_or_inside_and_within_the_picture() {
        let rows = |top: f32| {
            let mut picture = black(100, 60);
            let rect = Rect { left: 90.0, top, right: 99.0, bottom: 59.0 };
            Painter::new(&mut picture).label(&rect, "face ☺", RED);
            let text = text(&picture);
            let marked = |row: &String| row.contains('#');
            let (first, last) =
                (text.iter().position(marked).unwrap(), text.iter().rposition(marked).unwrap());
            assert_eq!(picture.pixel(first, 99), Some([255, 0, 0]), "moved to the left");
            assert!(picture.pixels().chunks(3).any(|p| p == Color::WHITE.0), "letters");
            (first, last)
        };
        // 13 pixels of letters between margins of 2.
        assert_eq!(rows(40.0), (23, 39));
        assert_eq!(rows(10.0), (10, 26));
    }

    #[test]
    fn colours_read_on_their_ground() {
        assert_eq!(Color::WHITE.contrast(), Color::BLACK);
        assert_eq!(Color::rgb(0, 0, 160).contrast(), Color::WHITE);
        assert_eq!(Color::nth(0), Color::nth(7));
    }
}
