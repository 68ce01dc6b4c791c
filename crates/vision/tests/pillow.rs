//! Resizing against Pillow: `pillow/make.py` made the files.

use depthwise_tensor::Hw;
use depthwise_vision::{Interpolation, Picture};
use std::path::Path;

/// The picture of `make.py`.
fn noise() -> Picture {
    let mut state = 1u32;
    let pixels = (0..43 * 61 * 3).map(|_| {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        (state >> 24) as u8
    });
    Picture::from_raw(61, 43, pixels.collect()).unwrap()
}

#[test]
fn resized_noise_is_within_one_step_of_pillow() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pillow");
    for how in [Interpolation::Bilinear, Interpolation::Bicubic, Interpolation::Lanczos3] {
        for to in [Hw { h: 17, w: 23 }, Hw { h: 90, w: 40 }, Hw { h: 50, w: 61 }] {
            let file = folder.join(format!("{}_{to}.rgb", how.name()));
            let want = std::fs::read(&file).unwrap();
            let got = noise().resize(to, how).unwrap();
            assert_eq!(got.pixels().len(), want.len());
            let differences =
                got.pixels().iter().zip(&want).map(|(a, b)| usize::from(a.abs_diff(*b)));
            // fast_image_resize keeps filter weights in 16 bits, Pillow in 22: roundings differ.
            assert!(differences.clone().max() <= Some(1), "{}", file.display());
            let differing = differences.sum::<usize>() as f64 / want.len() as f64;
            println!("{how:?} to {to}: {:.2}% of the bytes differ by 1", 100.0 * differing);
            assert!(differing < 0.02, "{}: {differing}", file.display());
        }
    }
}
