//! Picture files: formats, orientation, hostile bytes.

use depthwise_vision::{DecodeLimits, Picture, VisionError};
use image::{DynamicImage, ImageFormat, RgbImage};
use proptest::prelude::*;
use std::io::Cursor;

/// Left half red, right half blue, with a green top left corner.
fn flag() -> RgbImage {
    RgbImage::from_fn(32, 16, |x, y| match (x < 16, x < 8 && y < 8) {
        (_, true) => image::Rgb([0, 255, 0]),
        (true, _) => image::Rgb([255, 0, 0]),
        (false, _) => image::Rgb([0, 0, 255]),
    })
}

fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

const LOSSLESS: [ImageFormat; 5] =
    [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::Tiff, ImageFormat::WebP];

#[test]
fn lossless_formats_give_the_pixels_back() {
    for format in LOSSLESS {
        let picture = Picture::decode(&encode(flag(), format)).unwrap();
        assert_eq!((picture.width(), picture.height()), (32, 16), "{format:?}");
        assert_eq!(picture.pixels(), flag().as_raw().as_slice(), "{format:?}");
    }
}

#[test]
fn grey_sixteen_bit_and_transparent_pictures_become_rgb() {
    let grey = image::GrayImage::from_pixel(2, 2, image::Luma([77]));
    let picture = Picture::decode(&encode(grey, ImageFormat::Png)).unwrap();
    assert_eq!(picture.pixel(1, 1), Some([77; 3]));
    let clear = image::RgbaImage::from_pixel(2, 2, image::Rgba([10, 20, 30, 0]));
    let picture = Picture::decode(&encode(clear, ImageFormat::Png)).unwrap();
    assert_eq!(picture.pixel(0, 0), Some([10, 20, 30]), "alpha is dropped, not blended");
    let deep = image::ImageBuffer::from_pixel(2, 2, image::Rgb([65535u16, 32896, 0]));
    let picture = Picture::decode(&encode(deep, ImageFormat::Png)).unwrap();
    assert_eq!(picture.pixel(0, 0), Some([255, 128, 0]));
}

/// The JPEG with an EXIF block that holds nothing but this orientation.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    tiff.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let mut out = jpeg[..2].to_vec();
    out.extend([0xff, 0xe1]);
    out.extend((2 + 6 + tiff.len() as u16).to_be_bytes());
    out.extend(b"Exif\0\0");
    out.extend(tiff);
    out.extend(&jpeg[2..]);
    out
}

#[test]
fn exif_orientation_is_honoured() {
    let jpeg = encode(flag(), ImageFormat::Jpeg);
    // Where the green corner of the upright file lies for each orientation (EXIF 2.3, 4.6.4).
    let corners =
        [(1, "tl"), (2, "tr"), (3, "br"), (4, "bl"), (5, "tl"), (6, "tr"), (7, "br"), (8, "bl")];
    for (orientation, corner) in corners {
        let picture = Picture::decode(&with_orientation(&jpeg, orientation)).unwrap();
        let (h, w) = (picture.height(), picture.width());
        assert_eq!((h, w), if orientation < 5 { (16, 32) } else { (32, 16) });
        let y = if corner.starts_with('t') { 2 } else { h - 3 };
        let x = if corner.ends_with('l') { 2 } else { w - 3 };
        let [r, g, b] = picture.pixel(y, x).unwrap();
        assert!(g > 200 && r < 60 && b < 60, "orientation {orientation}: {r} {g} {b}");
    }
}

#[test]
fn errors_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("holiday.png");
    let error = Picture::open(&path).unwrap_err();
    assert!(matches!(error, VisionError::Io { .. }) && error.to_string().contains("holiday.png"));
    std::fs::write(&path, b"no picture at all").unwrap();
    let error = Picture::open(&path).unwrap_err();
    assert!(matches!(error, VisionError::Decode { .. }));
    assert!(error.to_string().contains("holiday.png"), "{error}");
    // The content decides, not the extension.
    std::fs::write(&path, encode(flag(), ImageFormat::Bmp)).unwrap();
    assert_eq!(Picture::open(&path).unwrap().width(), 32);
}

#[test]
fn a_small_file_that_declares_a_huge_picture_is_refused() {
    let mut png = encode(flag(), ImageFormat::Png);
    png[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let crc = crc32(&png[12..29]).to_be_bytes();
    png[29..33].copy_from_slice(&crc);
    let error = Picture::decode(&png).unwrap_err();
    assert!(matches!(error, VisionError::TooLarge { width: 60_000, .. }), "{error}");
    let tight = DecodeLimits { max_pixels: 511, ..DecodeLimits::default() };
    let error = Picture::decode_with(&encode(flag(), ImageFormat::Jpeg), tight).unwrap_err();
    assert!(matches!(error, VisionError::TooLarge { width: 32, height: 16, .. }));
    let tight = DecodeLimits { max_alloc_bytes: 100, ..DecodeLimits::default() };
    for format in LOSSLESS {
        let decoded = Picture::decode_with(&encode(flag(), format), tight);
        assert!(decoded.is_err(), "{format:?} needs more than 100 bytes");
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &b| {
        (0..8).fold(crc ^ u32::from(b), |c, _| (c >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(c & 1)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever comes out, it is a picture or a typed error.
    #[test]
    fn mutated_and_truncated_files_never_panic(
        format in 0..6usize,
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
        end in any::<proptest::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let formats = [&LOSSLESS[..], &[ImageFormat::Jpeg]].concat();
        let mut bytes = encode(flag(), formats[format]);
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        let limits = DecodeLimits { max_pixels: 1 << 20, max_alloc_bytes: 16 << 20 };
        if let Ok(picture) = Picture::decode_with(&bytes, limits) {
            prop_assert_eq!(picture.pixels().len(), picture.width() * picture.height() * 3);
        }
    }
}
