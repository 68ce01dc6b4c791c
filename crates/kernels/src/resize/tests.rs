use super::*;
use crate::par::Par;
use crate::run_f32;
use depthwise_layers::{Coordinates, Layer, NearestRounding, Resize, ResizeAxis, ResizeMode};
use depthwise_tensor::{Tensor, padded_ld};
use depthwise_testkit::Guarded;
use proptest::prelude::*;

fn supported() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().filter(|k| Cpu::detect().supports(k.isa))
}

/// The samples that the layer names for an axis.
fn axis_taps(layer: &Resize, input: usize, output: usize) -> AxisTaps {
    let axis = ResizeAxis { input, output, scale: output as f64 / input as f64 };
    let all: Vec<Vec<(usize, f64)>> = (0..output).map(|o| layer.taps(&axis, o)).collect();
    AxisTaps {
        taps: all.first().map_or(1, Vec::len),
        index: all.iter().flatten().map(|tap| tap.0 as u32).collect(),
        weight: all.iter().flatten().map(|tap| tap.1 as f32).collect(),
    }
}

fn spec(layer: &Resize, input: Nhwc, h: usize, w: usize) -> ResizeSpec {
    let ld = padded_ld(input.c);
    ResizeSpec {
        input,
        output: Nhwc { h, w, ..input },
        ld_in: ld,
        ld_out: ld,
        rows: axis_taps(layer, input.h, h),
        cols: axis_taps(layer, input.w, w),
    }
}

/// The meaningful outputs for a dense picture, from and to padded pixels.
fn run_resize(kernel: &'static Kernel, spec: &ResizeSpec, xs: &[f32], threads: usize) -> Vec<f32> {
    let op = ResizeF32::with_kernel(kernel, spec.clone(), threads).unwrap();
    let c = spec.input.c;
    let mut input = Guarded::<f32>::new(spec.input.pixels() * spec.ld_in);
    for (pixel, values) in input.chunks_exact_mut(spec.ld_in).zip(xs.chunks_exact(c)) {
        pixel[..c].copy_from_slice(values);
    }
    let mut out = Guarded::<f32>::new(spec.output.pixels() * spec.ld_out);
    run_f32(&op, &[&input], &mut [&mut out], &Par::new(threads).unwrap()).unwrap();
    out.assert_intact();
    out.chunks_exact(spec.ld_out).flat_map(|pixel| pixel[..c].to_vec()).collect()
}

fn ramp(x: &Nhwc) -> Vec<f32> {
    (0..x.pixels() * x.c).map(|i| ((i * 37 + 11) % 101) as f32 - 50.0).collect()
}

/// Every kernel against the reference of the layer, and against itself on three threads.
fn check(layer: &Resize, x: Nhwc, h: usize, w: usize) {
    let xs = ramp(&x);
    let tensor = Tensor::from_slice(&[x.n, x.h, x.w, x.c], &xs).unwrap();
    let sizes = Tensor::from_slice(&[4], &[x.n as i64, h as i64, w as i64, x.c as i64]).unwrap();
    let want = layer.reference(&[Some(&tensor), Some(&sizes)]).unwrap().remove(0);
    let want = want.to_f32();
    let spec = spec(layer, x, h, w);
    for kernel in supported() {
        let got = run_resize(kernel, &spec, &xs, 1);
        assert_eq!(got.len(), want.len());
        for (i, (&got, &want)) in got.iter().zip(want.iter()).enumerate() {
            // A rounding per sample, its weight and the sum; cubic weights add up to below 2.
            assert!(
                (got - want).abs() <= 50.0 * 2.0 * 12.0 * f32::EPSILON,
                "{} element {i}: {got}, expected {want}; {layer:?} of {x:?} to {h}x{w}",
                kernel.name
            );
        }
        assert_eq!(got, run_resize(kernel, &spec, &xs, 3), "{} on three threads", kernel.name);
    }
}

#[test]
fn four_coordinate_modes_match_hand_values() {
    // CASES.md C19, along the columns and along the rows.
    use Coordinates::{AlignCorners, Asymmetric, HalfPixel, PytorchHalfPixel};
    let seventh = |k: usize| 10.0 * k as f32 / 7.0;
    let half = [0.0, 25.0 / 7.0, 65.0 / 7.0, 15.0, 145.0 / 7.0, 185.0 / 7.0, 30.0];
    let asymmetric = [0.0, seventh(4), seventh(8), seventh(12), seventh(16), seventh(20), 30.0];
    let corners = [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0];
    let cases = [
        (HalfPixel, half, 15.0),
        (PytorchHalfPixel, half, 0.0),
        (AlignCorners, corners, 0.0),
        (Asymmetric, asymmetric, 0.0),
    ];
    let xs = [0.0, 10.0, 20.0, 30.0];
    for (coordinates, seven, one) in cases {
        let layer = Resize { mode: ResizeMode::Linear, coordinates };
        let (wide, tall) = (Nhwc { n: 1, h: 1, w: 4, c: 1 }, Nhwc { n: 1, h: 4, w: 1, c: 1 });
        for kernel in supported() {
            for spec in [spec(&layer, wide, 1, 7), spec(&layer, tall, 7, 1)] {
                let got = run_resize(kernel, &spec, &xs, 1);
                for (got, want) in got.iter().zip(seven) {
                    assert!((got - want).abs() < 1e-5, "{coordinates:?}: {got}, not {want}");
                }
            }
            assert_eq!(run_resize(kernel, &spec(&layer, wide, 1, 1), &xs, 1), [one]);
        }
    }
}

#[test]
fn doubling_of_every_channel_tail_matches_the_reference() {
    let layer = Resize { mode: ResizeMode::Linear, coordinates: Coordinates::HalfPixel };
    let channels: &[usize] =
        if cfg!(target_arch = "aarch64") { &[1, 17] } else { &[1, 3, 8, 16, 17, 33, 256] };
    for &c in channels {
        check(&layer, Nhwc { n: 2, h: 5, w: 4, c }, 10, 8);
    }
}

#[test]
fn nan_of_weight_zero_is_not_seen() {
    let layer = Resize { mode: ResizeMode::Linear, coordinates: Coordinates::AlignCorners };
    let spec = spec(&layer, Nhwc { n: 1, h: 1, w: 3, c: 1 }, 1, 5);
    for kernel in supported() {
        let got = run_resize(kernel, &spec, &[1.0, f32::NAN, 3.0], 1);
        let nan: Vec<bool> = got.iter().map(|y| y.is_nan()).collect();
        assert_eq!(nan, [false, true, true, true, false], "{}", kernel.name);
        assert_eq!((got[0], got[4]), (1.0, 3.0));
    }
}

#[test]
fn nearest_copies_every_bit() {
    let rounding = NearestRounding::Floor;
    let layer =
        Resize { mode: ResizeMode::Nearest(rounding), coordinates: Coordinates::Asymmetric };
    let spec = spec(&layer, Nhwc { n: 1, h: 1, w: 2, c: 1 }, 1, 4);
    for kernel in supported() {
        let got = run_resize(kernel, &spec, &[-0.0, f32::INFINITY], 1);
        let bits: Vec<u32> = got.iter().map(|y| y.to_bits()).collect();
        let (zero, infinity) = ((-0f32).to_bits(), f32::INFINITY.to_bits());
        assert_eq!(bits, [zero, zero, infinity, infinity], "{}", kernel.name);
    }
}

#[test]
fn samples_that_do_not_fit_are_refused() {
    let layer = Resize { mode: ResizeMode::Linear, coordinates: Coordinates::HalfPixel };
    let good = spec(&layer, Nhwc { n: 1, h: 3, w: 3, c: 8 }, 6, 6);
    let new = |change: fn(&mut ResizeSpec)| {
        let mut spec = good.clone();
        change(&mut spec);
        ResizeF32::new(&Cpu::detect(), spec, 1)
    };
    assert!(new(|_| ()).is_ok());
    assert!(matches!(new(|s| s.ld_out = 8), Err(KernelError::Unsupported { .. })));
    for result in [
        new(|s| s.rows.index[3] = 3),
        new(|s| _ = s.cols.weight.pop()),
        new(|s| s.cols.taps = 0),
        new(|s| s.output.h = 5),
        new(|s| s.output.c = 9),
        new(|s| s.input.n = 2),
        new(|s| s.output.w = usize::MAX),
    ] {
        assert!(matches!(result, Err(KernelError::Invalid { .. })), "{result:?}");
    }
}

fn any_layer() -> impl Strategy<Value = Resize> {
    use Coordinates::{AlignCorners, Asymmetric, HalfPixel, HalfPixelSymmetric, PytorchHalfPixel};
    let mode = prop_oneof![
        Just(ResizeMode::Nearest(NearestRounding::RoundPreferFloor)),
        Just(ResizeMode::Nearest(NearestRounding::Ceil)),
        Just(ResizeMode::Linear),
        any::<bool>().prop_map(|exclude_outside| ResizeMode::Cubic { a: -0.75, exclude_outside }),
    ];
    let coordinates = proptest::sample::select(vec![
        HalfPixel,
        HalfPixelSymmetric,
        PytorchHalfPixel,
        AlignCorners,
        Asymmetric,
    ]);
    (mode, coordinates).prop_map(|(mode, coordinates)| Resize { mode, coordinates })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "aarch64") { 20 } else { 200 }))]

    #[test]
    fn any_resize_matches_the_reference(
        layer in any_layer(),
        (n, ih, iw, c) in (1..=2usize, 1..=8usize, 1..=8usize, 1..=20usize),
        (oh, ow) in (1..=12usize, 1..=12usize),
    ) {
        check(&layer, Nhwc { n, h: ih, w: iw, c }, oh, ow);
    }
}
