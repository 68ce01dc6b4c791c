//! RoIAlign against the reference implementation of ONNX.

use depthwise_tensor::Hw;
use depthwise_vision::{Rect, RoiAlign, RoiMode, VisionError};

#[derive(serde::Deserialize)]
struct File {
    features: Vec<f32>,
    boxes: Vec<[f32; 4]>,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    half_pixel: bool,
    mode: String,
    samples: usize,
    output: Vec<f32>,
}

#[test]
fn all_modes_meet_onnx() {
    let file: File = serde_json::from_str(include_str!("roi_align/cases.json")).unwrap();
    let corner = |b: &[f32; 4]| Rect { left: b[0], top: b[1], right: b[2], bottom: b[3] };
    let boxes: Vec<Rect> = file.boxes.iter().map(corner).collect();
    assert_eq!(file.cases.len(), 8);
    for case in &file.cases {
        let mode = if case.mode == "avg" { RoiMode::Mean } else { RoiMode::Max };
        let align = RoiAlign {
            output: Hw { h: 2, w: 3 },
            scale: 0.75,
            samples: case.samples,
            half_pixel: case.half_pixel,
            mode,
        };
        let got = align.run(&file.features, Hw { h: 5, w: 6 }, 2, &boxes).unwrap();
        assert_eq!(got.len(), case.output.len());
        for (i, (got, want)) in got.iter().zip(&case.output).enumerate() {
            // Six digits are written down, of numbers up to 10.
            let label = || format!("{i} of {} {} {}", case.mode, case.samples, case.half_pixel);
            assert!((got - want).abs() < 2e-5, "{}: {got} for {want}", label());
        }
    }
}

#[test]
fn a_ramp_gives_the_middle_of_each_bin() {
    // Features that are linear in place come out as they are at the centres of the bins.
    let features: Vec<f32> =
        (0..8).flat_map(|y| (0..9).map(move |x| (x + 10 * y) as f32)).collect();
    let align = RoiAlign {
        output: Hw { h: 1, w: 2 },
        scale: 0.5,
        samples: 3,
        half_pixel: true,
        mode: RoiMode::Mean,
    };
    let rect = Rect { left: 3.0, top: 4.0, right: 11.0, bottom: 10.0 };
    let got = align.run(&features, Hw { h: 8, w: 9 }, 1, &[rect]).unwrap();
    // x from 1 to 5, bins around 2 and 4; y from 1.5 to 4.5, around 3.
    for (got, want) in got.iter().zip([32.0, 34.0]) {
        assert!((got - want).abs() < 1e-4, "{got} for {want}");
    }
}

#[test]
fn boxes_and_features_that_are_none_are_errors() {
    let align = RoiAlign {
        output: Hw::square(2),
        scale: 1.0,
        samples: 0,
        half_pixel: true,
        mode: RoiMode::Mean,
    };
    let run = |len: usize, right: f32| {
        let rect = Rect { right, bottom: 1.0, ..Rect::default() };
        align.run(&vec![0.0; len], Hw::square(2), 3, &[rect])
    };
    assert_eq!(run(12, 1.0).unwrap(), [0.0; 12]);
    assert!(matches!(run(11, 1.0), Err(VisionError::Length { want: 12, got: 11, .. })));
    for right in [f32::NAN, f32::INFINITY, 1e30] {
        assert!(matches!(run(12, right), Err(VisionError::Rect { .. })), "{right}");
    }
}

#[test]
fn gradients_are_central_differences() {
    let (hw, channels) = (Hw { h: 5, w: 6 }, 2);
    let noise = |i: usize, k: f32| ((i as f32 + 1.0) * k).sin();
    let features: Vec<f32> = (0..60).map(|i| noise(i, 0.7)).collect();
    // One inside, one across the border.
    let corner = |[left, top, right, bottom]: [f32; 4]| Rect { left, top, right, bottom };
    let boxes = [corner([1.0, 1.5, 6.0, 5.0]), corner([-4.0, 3.0, 3.0, 12.0])];
    for mode in [RoiMode::Mean, RoiMode::Max] {
        let output = Hw { h: 2, w: 3 };
        let align = RoiAlign { output, scale: 0.75, samples: 2, half_pixel: true, mode };
        let dy: Vec<f32> = (0..2 * 6 * channels).map(|i| noise(i, 1.3)).collect();
        let got = align.gradient(&features, hw, channels, &boxes, &dy).unwrap();
        let value = |i: usize, step: f32| {
            let mut moved = features.clone();
            moved[i] += step;
            let y = align.run(&moved, hw, channels, &boxes).unwrap();
            y.iter().zip(&dy).map(|(y, d)| f64::from(*y) * f64::from(*d)).sum::<f64>()
        };
        // So short that no maximum passes to another sample on the way.
        let step = 1.0 / 1024.0;
        for (i, &got) in got.iter().enumerate() {
            let want = (value(i, step) - value(i, -step)) / f64::from(2.0 * step);
            // Results have 24 bits; the step is 10 of them.
            assert!((f64::from(got) - want).abs() < 5e-4, "{mode:?} {i}: {got} {want}");
        }
        assert!(got.iter().any(|&g| g != 0.0));
        assert!(align.gradient(&features, hw, channels, &boxes, &dy[1..]).is_err());
    }
}
