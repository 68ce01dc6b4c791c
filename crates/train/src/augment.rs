//! Random changes to training pictures.

use crate::FitError;
use crate::streams::{Rng, normal, symmetric, unit};
use depthwise_tensor::Hw;
use depthwise_vision::{Affine2d, Picture, VisionError};
use std::fmt;
use std::str::FromStr;

/// What is changed at random in a training picture, and how much. The default changes nothing.
///
/// All movements (crop, flips, shift, shear, rotation, zoom) are composed into one map, so that
/// pixels are interpolated once. What a map brings in from outside the picture shows its border.
///
/// As text: `flip,rotate=10,crop=0.7`; see [`Augment::from_str`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Augment {
    /// Smallest share of the picture's area that a random window has, its sides in proportions
    /// from 3/4 to 4/3 (Szegedy et al., "Going deeper with convolutions", 2015); 1 keeps the
    /// window that the network is evaluated with.
    pub crop: f32,
    /// Whether left and right are exchanged in half of the pictures.
    pub flip: bool,
    /// Whether top and bottom are exchanged in half of the pictures.
    pub flip_vertical: bool,
    /// Largest rotation to either side, in degrees.
    pub rotate: f32,
    /// Largest shift to any side, as a share of the extents.
    pub shift: f32,
    /// Largest shear to either side, in degrees.
    pub shear: f32,
    /// Largest magnification or reduction: factors from `1 - zoom` to `1 + zoom`.
    pub zoom: f32,
    /// Largest change of brightness: factors from `1 - brightness` to `1 + brightness`.
    pub brightness: f32,
    /// Standard deviation of the noise added to every byte.
    pub noise: f32,
    /// Share of the pixels that become black or white.
    pub salt_pepper: f32,
    /// Side of a grey square, as a share of the picture's (DeVries and Taylor, "Improved
    /// regularization of convolutional neural networks with cutout", 2017).
    pub cutout: f32,
    /// Parameter of the beta distribution by which pairs of pictures are mixed (Zhang et al.,
    /// "mixup: beyond empirical risk minimization", 2018), one share per batch; 0 mixes nothing.
    pub mixup: f32,
}

impl Default for Augment {
    fn default() -> Augment {
        Augment {
            crop: 1.0,
            flip: false,
            flip_vertical: false,
            rotate: 0.0,
            shift: 0.0,
            shear: 0.0,
            zoom: 0.0,
            brightness: 0.0,
            noise: 0.0,
            salt_pepper: 0.0,
            cutout: 0.0,
            mixup: 0.0,
        }
    }
}

/// A setting of [`Augment`] that is a number.
struct Number {
    name: &'static str,
    range: std::ops::RangeInclusive<f32>,
    want: &'static str,
    off: f32,
    of: fn(&mut Augment) -> &mut f32,
}

const NUMBERS: [Number; 10] = [
    Number {
        name: "crop",
        range: 0.01..=1.0,
        want: "from 0.01 to 1",
        off: 1.0,
        of: |a| &mut a.crop,
    },
    Number {
        name: "rotate",
        range: 0.0..=180.0,
        want: "from 0 to 180",
        off: 0.0,
        of: |a| &mut a.rotate,
    },
    Number { name: "shift", range: 0.0..=1.0, want: "from 0 to 1", off: 0.0, of: |a| &mut a.shift },
    Number {
        name: "shear",
        range: 0.0..=60.0,
        want: "from 0 to 60",
        off: 0.0,
        of: |a| &mut a.shear,
    },
    Number { name: "zoom", range: 0.0..=0.9, want: "from 0 to 0.9", off: 0.0, of: |a| &mut a.zoom },
    Number {
        name: "brightness",
        range: 0.0..=1.0,
        want: "from 0 to 1",
        off: 0.0,
        of: |a| &mut a.brightness,
    },
    Number {
        name: "noise",
        range: 0.0..=255.0,
        want: "from 0 to 255",
        off: 0.0,
        of: |a| &mut a.noise,
    },
    Number {
        name: "salt-pepper",
        range: 0.0..=1.0,
        want: "from 0 to 1",
        off: 0.0,
        of: |a| &mut a.salt_pepper,
    },
    Number {
        name: "cutout",
        range: 0.0..=1.0,
        want: "from 0 to 1",
        off: 0.0,
        of: |a| &mut a.cutout,
    },
    Number { name: "mixup", range: 0.0..=2.0, want: "from 0 to 2", off: 0.0, of: |a| &mut a.mixup },
];

impl FromStr for Augment {
    type Err = FitError;

    /// `none`, or a list of `flip`, `flip-vertical`, and `crop`, `rotate`, `shift`, `shear`,
    /// `zoom`, `brightness`, `noise`, `salt-pepper`, `cutout`, `mixup` with `=` and a number.
    fn from_str(text: &str) -> Result<Augment, FitError> {
        let mut augment = Augment::default();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (name, value) = match item.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim())),
                None => (item, None),
            };
            let number = NUMBERS.iter().find(|number| number.name == name);
            match (name, value, number) {
                ("none", None, _) => augment = Augment::default(),
                ("flip", None, _) => augment.flip = true,
                ("flip-vertical", None, _) => augment.flip_vertical = true,
                (_, Some(value), Some(number)) => {
                    let parsed = value.parse().ok().filter(|x| number.range.contains(x));
                    let refused = || FitError::Setting {
                        name: number.name,
                        value: value.to_owned(),
                        want: number.want,
                    };
                    *(number.of)(&mut augment) = parsed.ok_or_else(refused)?;
                }
                _ => {
                    let want = "a list of flip, flip-vertical, and crop, rotate, shift, shear, \
                                zoom, brightness, noise, salt-pepper, cutout, mixup with =NUMBER";
                    return Err(FitError::Setting {
                        name: "augmentation",
                        value: item.into(),
                        want,
                    });
                }
            }
        }
        Ok(augment)
    }
}

impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut copy = *self;
        let mut items: Vec<String> = [(self.flip, "flip"), (self.flip_vertical, "flip-vertical")]
            .into_iter()
            .filter(|(on, _)| *on)
            .map(|(_, name)| name.to_owned())
            .collect();
        for number in &NUMBERS {
            let value = *(number.of)(&mut copy);
            if value != number.off {
                items.push(format!("{}={value}", number.name));
            }
        }
        f.pad(&if items.is_empty() { "none".to_owned() } else { items.join(",") })
    }
}

impl Augment {
    /// Changes a picture, and brings it to extents `to`.
    pub(crate) fn apply(
        &self,
        picture: &Picture,
        to: Hw,
        rng: &mut Rng,
    ) -> Result<Picture, VisionError> {
        let map = self.map(picture.hw(), to, rng);
        let mut picture = picture.warp(to, map)?;
        if self.brightness > 0.0 {
            picture = picture.brighten(1.0 + symmetric(rng, self.brightness));
        }
        if self.noise > 0.0 {
            picture = picture.add_noise(|| normal(rng) * self.noise);
        }
        if self.salt_pepper > 0.0 {
            picture = picture.replace_pixels(|| {
                let hit = unit(rng);
                let grey = if hit * 2.0 < self.salt_pepper { 0 } else { 255 };
                (hit < self.salt_pepper).then_some(grey)
            });
        }
        if self.cutout > 0.0 {
            let side = |extent: usize| (extent as f32 * self.cutout).round() as usize;
            let hole = Hw { h: side(to.h), w: side(to.w) };
            let mut start = |extent: usize, side: usize| {
                ((extent - side.min(extent)) as f32 * unit(rng)).round() as usize
            };
            let (top, left) = (start(to.h, hole.h), start(to.w, hole.w));
            picture = picture.erase(top, left, hole, 128);
        }
        Ok(picture)
    }

    /// From points of the result to points of a picture of extents `from`.
    fn map(&self, from: Hw, to: Hw, rng: &mut Rng) -> Affine2d {
        let ([top, left], window) = self.window(from, to, rng);
        let (h, w) = (to.h as f32, to.w as f32);
        let mut map = Affine2d::shift(-h / 2.0, -w / 2.0);
        let mut mirror = |on: bool| if on && unit(rng) < 0.5 { -1.0 } else { 1.0 };
        let (across, down) = (mirror(self.flip), mirror(self.flip_vertical));
        map = map.then(Affine2d::scale(down, across));
        if self.zoom > 0.0 {
            let factor = 1.0 / (1.0 + symmetric(rng, self.zoom));
            map = map.then(Affine2d::scale(factor, factor));
        }
        if self.shear > 0.0 {
            map = map.then(Affine2d::shear(symmetric(rng, self.shear)));
        }
        if self.rotate > 0.0 {
            map = map.then(Affine2d::rotation(symmetric(rng, self.rotate)));
        }
        if self.shift > 0.0 {
            let (y, x) = (symmetric(rng, self.shift), symmetric(rng, self.shift));
            map = map.then(Affine2d::shift(y * h, x * w));
        }
        map.then(Affine2d::scale(window[0] / h, window[1] / w))
            .then(Affine2d::shift(top + window[0] / 2.0, left + window[1] / 2.0))
    }

    /// Where the window of the picture begins, and its extents, in pixels.
    fn window(&self, from: Hw, to: Hw, rng: &mut Rng) -> ([f32; 2], [f32; 2]) {
        const TRIES: usize = 10;
        let (height, width) = (from.h as f32, from.w as f32);
        if self.crop < 1.0 {
            for _ in 0..TRIES {
                let area = height * width * (self.crop + (1.0 - self.crop) * unit(rng));
                let ratio = (symmetric(rng, (4f32 / 3.0).ln())).exp();
                let (h, w) = ((area / ratio).sqrt(), (area * ratio).sqrt());
                if h <= height && w <= width {
                    return ([(height - h) * unit(rng), (width - w) * unit(rng)], [h, w]);
                }
            }
        }
        let (h, w) = ((to.h as f32).min(height), (to.w as f32).min(width));
        // Whole pixels, as the crop of evaluation has it.
        ([((height - h) / 2.0).floor(), ((width - w) / 2.0).floor()], [h, w])
    }
}

/// Mixes each of `rows` rows with its counterpart from the end: `share` of itself, the rest of the
/// other.
pub(crate) fn mix(data: &mut [f32], rows: usize, share: f32) {
    let width = data.len() / rows.max(1);
    let before = data.to_vec();
    for (row, other) in data.chunks_exact_mut(width.max(1)).zip((0..rows).rev()) {
        for (x, &y) in row.iter_mut().zip(&before[other * width..]) {
            *x = share * *x + (1.0 - share) * y;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::{Use, rng};

    fn gradient(h: usize, w: usize) -> Picture {
        let pixels =
            (0..h).flat_map(|y| (0..w).flat_map(move |x| [(x * 7) as u8, (y * 5) as u8, 9]));
        Picture::from_raw(w, h, pixels.collect()).unwrap()
    }

    fn of(text: &str, index: usize) -> Picture {
        let augment: Augment = text.parse().unwrap();
        let mut rng = rng(1, Use::Augment, 0, index);
        augment.apply(&gradient(20, 24), Hw { h: 16, w: 20 }, &mut rng).unwrap()
    }

    #[test]
    fn nothing_is_the_crop_of_evaluation() {
        let want = gradient(20, 24).centre_crop(Hw { h: 16, w: 20 }).unwrap();
        assert_eq!(of("none", 0), want);
        let odd = gradient(21, 23);
        let to = Hw { h: 16, w: 16 };
        let got = Augment::default().apply(&odd, to, &mut rng(1, Use::Augment, 0, 0)).unwrap();
        assert_eq!(got, odd.centre_crop(to).unwrap());
    }

    #[test]
    fn flips_are_exact_and_as_frequent_as_not() {
        let plain = of("none", 0);
        let flipped: Vec<bool> = (0..200)
            .map(|i| match of("flip", i) {
                p if p == plain => false,
                p => {
                    assert_eq!(p, plain.flip_horizontal());
                    true
                }
            })
            .collect();
        let count = flipped.iter().filter(|f| **f).count();
        // Five standard deviations of a fair coin.
        assert!((65..=135).contains(&count), "{count}");
        let all = ["flip,flip-vertical"; 40].iter().enumerate().map(|(i, text)| of(text, i));
        let turned = plain.flip_horizontal().flip_vertical();
        assert!(all.into_iter().any(|p| p == turned));
    }

    #[test]
    fn every_change_changes_and_keeps_the_extents() {
        let plain = of("none", 0);
        for number in &NUMBERS[..9] {
            let value = if number.name == "crop" { "0.3" } else { "0.5" };
            let value =
                if ["rotate", "shear", "noise"].contains(&number.name) { "20" } else { value };
            let text = format!("{}={value}", number.name);
            let changed = of(&text, 1);
            assert_eq!(changed.hw(), plain.hw(), "{text}");
            assert_ne!(changed, plain, "{text}");
            assert_eq!(changed, of(&text, 1), "{text}: the same again");
            assert_ne!(changed, of(&text, 2), "{text}: samples differ");
        }
    }

    #[test]
    fn random_windows_have_the_area_asked_for() {
        let augment: Augment = "crop=0.25".parse().unwrap();
        let from = Hw { h: 100, w: 150 };
        for i in 0..200 {
            let mut rng = rng(4, Use::Augment, 0, i);
            let ([top, left], [h, w]) = augment.window(from, Hw::square(64), &mut rng);
            assert!(top >= 0.0 && left >= 0.0 && top + h <= 100.001 && left + w <= 150.001);
            let share = h * w / 15_000.0;
            assert!((0.2499..=1.0).contains(&share), "{share}");
            assert!((0.74..=1.34).contains(&(w / h)), "{}", w / h);
        }
    }

    #[test]
    fn brightness_scales_by_one_factor() {
        let (plain, bright) = (of("none", 0), of("brightness=0.2", 3));
        let factor =
            f32::from(bright.pixel(8, 10).unwrap()[0]) / f32::from(plain.pixel(8, 10).unwrap()[0]);
        assert!((0.78..=1.22).contains(&factor), "{factor}");
        for (a, b) in plain.pixels().iter().zip(bright.pixels()) {
            assert!((f32::from(*a) * factor - f32::from(*b)).abs() <= 2.0);
        }
    }

    #[test]
    fn salt_and_pepper_hit_their_share() {
        let grey = Picture::from_raw(100, 100, vec![100; 30_000]).unwrap();
        let augment: Augment = "salt-pepper=0.1".parse().unwrap();
        let mut rng = rng(2, Use::Augment, 0, 0);
        let got = augment.apply(&grey, Hw::square(100), &mut rng).unwrap();
        let count = |value: u8| got.pixels().chunks(3).filter(|p| *p == [value; 3]).count();
        let (pepper, salt) = (count(0), count(255));
        assert!((400..600).contains(&pepper) && (400..600).contains(&salt), "{pepper} {salt}");
        assert_eq!(count(100) + pepper + salt, 10_000);
    }

    #[test]
    fn rows_are_mixed_with_their_counterparts() {
        let mut rows = [0.0, 10.0, 100.0, 110.0, 200.0, 210.0];
        mix(&mut rows, 3, 0.75);
        assert_eq!(rows, [50.0, 60.0, 100.0, 110.0, 150.0, 160.0]);
    }

    #[test]
    fn text_round_trips_and_mistakes_are_named() {
        for text in ["none", "flip", "flip,flip-vertical,crop=0.5,noise=4,mixup=0.2"] {
            assert_eq!(text.parse::<Augment>().unwrap().to_string(), text);
        }
        for (text, want) in [
            ("spin=4", "spin"),
            ("rotate=200", "180"),
            ("flip=2", "flip"),
            ("crop", "crop"),
            ("noise=nan", "255"),
        ] {
            let error = text.parse::<Augment>().unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
