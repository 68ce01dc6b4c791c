//! The input tensors of the classifiers' goldens, made by Pillow and NumPy of a photo in the
//! repository.

use depthwise_vision::{Normalize, Picture, Preprocess};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The `f32` tensor `name` of a safetensors file.
fn read(file: &Path, name: &str) -> Vec<f32> {
    let bytes = std::fs::read(file).unwrap();
    let header_bytes = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let (header, data) = bytes[8..].split_at(header_bytes);
    let header: serde_json::Value = serde_json::from_slice(header).unwrap();
    let at = |i: usize| header[name]["data_offsets"][i].as_u64().unwrap() as usize;
    let floats = data[at(0)..at(1)].chunks_exact(4);
    floats.map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn prepared_photo_is_within_one_step_of_the_golden_inputs() {
    let goldens = root().join("../shared/models/golden");
    if !goldens.is_dir() {
        println!("skipped: no ../shared");
        return;
    }
    let photo = Picture::open(root().join("photos/chelsea.png")).unwrap();
    // One step of 8 bits (see pillow.rs); in the second net also 1e-6 of rounding in `f32`.
    for (file, normalize, step) in [
        ("efficientnet_lite0_imagenet", Normalize::CENTRED_127, 1.0 / 128.0),
        ("mobilenet_v2_imagenet", Normalize::IMAGENET, 1.0 / 255.0 / 0.224 + 1e-6),
    ] {
        let want = read(&goldens.join(file).with_extension("safetensors"), "in/input_nhwc");
        let tensor = Preprocess::classifier(224, normalize).tensor(&photo).unwrap();
        let got = tensor.data::<f32>().unwrap();
        assert_eq!(got.len(), want.len());
        let differences = got.iter().zip(&want).map(|(a, b)| (a - b).abs());
        assert!(differences.clone().all(|d| d <= step), "{file}");
        let differing = differences.filter(|&d| d > 1e-6).count() as f64 / got.len() as f64;
        println!("{file}: {:.2}% of the elements differ by one step", 100.0 * differing);
        assert!(differing < 0.02, "{file}: {differing}");
    }
}
