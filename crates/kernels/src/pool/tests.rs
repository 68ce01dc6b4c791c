use super::*;
use crate::par::Par;
use crate::run_f32;
use depthwise_layers::{Layer, Pool2d};
use depthwise_tensor::{Hw, Nhwc, Pad2d, Shape, Tensor, padded_ld};
use proptest::prelude::*;

fn supported() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().filter(|k| Cpu::detect().supports(k.isa))
}

fn layer(
    kind: PoolKind,
    kernel: Hw,
    stride: Hw,
    dilation: Hw,
    padding: depthwise_layers::Padding,
    ceil_mode: bool,
) -> Pool2d {
    let kind = match kind {
        PoolKind::Max => depthwise_layers::PoolKind::Max,
        PoolKind::Average { include_pad } => depthwise_layers::PoolKind::Average { include_pad },
    };
    Pool2d { kind, kernel, stride, dilation, padding, ceil_mode }
}

fn kind_of(layer: &Pool2d) -> PoolKind {
    match layer.kind {
        depthwise_layers::PoolKind::Max => PoolKind::Max,
        depthwise_layers::PoolKind::Average { include_pad } => PoolKind::Average { include_pad },
    }
}

/// The meaningful outputs of the operator for a dense picture, from and to padded pixels in
/// poisoned surroundings.
fn run_pool(
    kernel: &'static Kernel,
    layer: &Pool2d,
    x: &Nhwc,
    xs: &[f32],
    threads: usize,
) -> Vec<f32> {
    const GUARD: f32 = 12345.0;
    let geometry = layer.geometry(Shape::new(&[x.n, x.h, x.w, x.c]).unwrap()).unwrap();
    let ld = padded_ld(x.c);
    let spec = PoolSpec { geometry, kind: kind_of(layer), ld_in: ld, ld_out: ld };
    let op = PoolF32::with_kernel(kernel, spec, threads).unwrap();
    let mut input = vec![f32::NAN; x.pixels() * ld];
    for (pixel, values) in input.chunks_exact_mut(ld).zip(xs.chunks_exact(x.c)) {
        pixel[..x.c].copy_from_slice(values);
    }
    let len = geometry.output.pixels() * ld;
    let mut buffer = vec![GUARD; len + 2 * 17];
    let (before, rest) = buffer.split_at_mut(17);
    let (out, after) = rest.split_at_mut(len);
    run_f32(&op, &[&input], &mut [out], &Par::new(threads).unwrap()).unwrap();
    assert!(before.iter().chain(&*after).all(|&x| x == GUARD), "{} wrote outside", kernel.name);
    out.chunks_exact(ld).flat_map(|pixel| pixel[..x.c].to_vec()).collect()
}

/// Every kernel against the reference of the layer, and against itself on three threads.
fn check_layer(layer: &Pool2d, x: Nhwc, xs: &[f32]) {
    let tensor = Tensor::from_slice(&[x.n, x.h, x.w, x.c], xs).unwrap();
    let want = layer.reference(&[Some(&tensor)]).unwrap().remove(0);
    let size = xs.iter().fold(0f32, |m, x| m.max(x.abs()));
    // A rounding per addition, one of the division.
    let roundings = (layer.kernel.area() + 1) as f32;
    for kernel in supported() {
        let got = run_pool(kernel, layer, &x, xs, 1);
        for (i, (&got, &want)) in got.iter().zip(want.to_f32().iter()).enumerate() {
            let close = (got - want).abs() <= roundings * size * f32::EPSILON;
            assert!(
                close || got == want || (got.is_nan() && want.is_nan()),
                "{} element {i}: {got}, expected {want}; {layer:?} of {x:?}",
                kernel.name
            );
        }
        let threaded = run_pool(kernel, layer, &x, xs, 3);
        let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&got), bits(&threaded), "{} on three threads", kernel.name);
    }
}

fn ramp(x: &Nhwc) -> Vec<f32> {
    (0..x.pixels() * x.c).map(|i| ((i * 37 + 11) % 101) as f32 - 50.0).collect()
}

#[test]
fn ceil_mode_averages_match_hand_values() {
    // CASES.md C15, the plane repeated over channels to reach every vector tail.
    let average = |include_pad| PoolKind::Average { include_pad };
    let cases: [(_, _, &[f32]); 3] = [
        (true, 1, &[28.0 / 9.0, 20.0 / 3.0, 4.0, 38.0 / 3.0, 22.0, 12.0, 9.0, 15.0, 8.0]),
        (false, 1, &[7.0, 10.0, 12.0, 19.0, 22.0, 24.0, 27.0, 30.0, 32.0]),
        (false, 0, &[12.0, 15.0, 24.0, 27.0]),
    ];
    for (include_pad, pad, want) in cases {
        let padding = depthwise_layers::Padding::all(pad);
        let (k, s) = (Hw::square(3), Hw::square(2));
        let layer = layer(average(include_pad), k, s, Hw::ONE, padding, true);
        for c in [1, 3, 8, 17, 33, 70] {
            let x = Nhwc { n: 1, h: 4, w: 4, c };
            let xs: Vec<f32> = (0..16 * c).map(|i| (2 * (i / c) + 2) as f32).collect();
            for kernel in supported() {
                let got = run_pool(kernel, &layer, &x, &xs, 1);
                let want: Vec<f32> = want.iter().flat_map(|&y| vec![y; c]).collect();
                for (got, want) in got.iter().zip(&want) {
                    assert!((got - want).abs() <= 1e-5 * want, "{}: {got} {want}", kernel.name);
                }
            }
        }
    }
}

#[test]
fn same_lower_averages_count_declared_padding() {
    // CASES.md C17.
    let kind = PoolKind::Average { include_pad: true };
    let lower = depthwise_layers::Padding::SameLower;
    let layer = layer(kind, Hw { h: 4, w: 1 }, Hw::ONE, Hw::ONE, lower, false);
    let x = Nhwc { n: 1, h: 6, w: 1, c: 1 };
    for kernel in supported() {
        let got = run_pool(kernel, &layer, &x, &[6.0, 12.0, 18.0, 24.0, 30.0, 36.0], 1);
        assert_eq!(got, [4.5, 9.0, 15.0, 21.0, 27.0, 22.5], "{}", kernel.name);
    }
}

#[test]
fn windows_of_padding_alone_give_the_lowest_number_and_zero() {
    let padding =
        depthwise_layers::Padding::Explicit(Pad2d { top: 3, left: 0, bottom: 0, right: 0 });
    let x = Nhwc { n: 1, h: 2, w: 1, c: 5 };
    for (kind, want) in [(PoolKind::Max, f32::MIN), (PoolKind::Average { include_pad: false }, 0.0)]
    {
        let layer = layer(kind, Hw { h: 2, w: 1 }, Hw::ONE, Hw::ONE, padding, false);
        for kernel in supported() {
            let got = run_pool(kernel, &layer, &x, &[-1.0; 10], 1);
            assert_eq!(got[..5], [want; 5], "{}", kernel.name);
            assert_eq!(got[15..], [-1.0; 5], "{}", kernel.name);
        }
    }
}

#[test]
fn nan_in_a_window_gives_nan() {
    for kind in [PoolKind::Max, PoolKind::Average { include_pad: false }] {
        let valid = depthwise_layers::Padding::Valid;
        let layer = layer(kind, Hw::square(2), Hw::square(2), Hw::ONE, valid, false);
        let x = Nhwc { n: 1, h: 4, w: 4, c: 19 };
        for at in 0..4 {
            let mut xs = vec![1.0; 16 * 19];
            xs[((at / 2) * 4 + at % 2) * 19 + 18] = f32::NAN;
            for kernel in supported() {
                let got = run_pool(kernel, &layer, &x, &xs, 1);
                for (i, y) in got.iter().enumerate() {
                    assert_eq!(y.is_nan(), i == 18, "{} {i}", kernel.name);
                }
            }
        }
    }
}

#[test]
fn global_pools_match_the_reference_for_every_channel_tail() {
    let channels: &[usize] = if cfg!(target_arch = "aarch64") {
        &[1, 17, 70]
    } else {
        &[1, 7, 16, 17, 33, 63, 64, 65, 128, 1280]
    };
    for &c in channels {
        let x = Nhwc { n: 2, h: 7, w: 7, c };
        for kind in [PoolKind::Max, PoolKind::Average { include_pad: false }] {
            let valid = depthwise_layers::Padding::Valid;
            let layer = layer(kind, Hw::square(7), Hw::ONE, Hw::ONE, valid, false);
            check_layer(&layer, x, &ramp(&x));
        }
    }
}

#[test]
fn shapes_that_do_not_go_together_are_refused() {
    let valid = depthwise_layers::Padding::Valid;
    let layer = layer(PoolKind::Max, Hw::square(2), Hw::ONE, Hw::ONE, valid, false);
    let geometry = layer.geometry(Shape::new(&[1, 4, 4, 8]).unwrap()).unwrap();
    let spec = PoolSpec { geometry, kind: PoolKind::Max, ld_in: 16, ld_out: 16 };
    let new = |spec| PoolF32::new(&Cpu::detect(), spec, 1);
    assert!(new(spec).is_ok());
    assert!(matches!(new(PoolSpec { ld_in: 8, ..spec }), Err(KernelError::Unsupported { .. })));
    let bad = |change: fn(&mut PoolGeometry)| {
        let mut geometry = geometry;
        change(&mut geometry);
        new(PoolSpec { geometry, ..spec })
    };
    for result in [
        bad(|g| g.output.c = 9),
        bad(|g| g.stride.h = 0),
        bad(|g| g.kernel.w = 0),
        bad(|g| g.pad.right = usize::MAX),
        bad(|g| g.stride.w = usize::MAX),
        bad(|g| g.output.h = usize::MAX),
    ] {
        assert!(matches!(result, Err(KernelError::Invalid { .. })), "{result:?}");
    }
}

fn any_pool() -> impl Strategy<Value = (Pool2d, Nhwc)> {
    let kind = prop_oneof![
        Just(PoolKind::Max),
        any::<bool>().prop_map(|include_pad| PoolKind::Average { include_pad }),
    ];
    let hw = |max: usize| (1..=max, 1..=max).prop_map(|(h, w)| Hw { h, w });
    let pads = (0..=2usize, 0..=2usize, 0..=2usize, 0..=2usize)
        .prop_map(|(top, left, bottom, right)| Pad2d { top, left, bottom, right });
    let padding = prop_oneof![
        pads.prop_map(depthwise_layers::Padding::Explicit),
        Just(depthwise_layers::Padding::Same),
        Just(depthwise_layers::Padding::SameLower),
    ];
    let picture = (1..=2usize, 1..=9usize, 1..=9usize, 1..=40usize);
    (kind, hw(4), hw(3), hw(2), padding, any::<bool>(), picture)
        .prop_map(|(kind, kernel, stride, dilation, padding, ceil_mode, (n, h, w, c))| {
            let layer = layer(kind, kernel, stride, dilation, padding, ceil_mode);
            (layer, Nhwc { n, h, w, c })
        })
        .prop_filter("no window fits", |(layer, x)| {
            layer.geometry(Shape::new(&[x.n, x.h, x.w, x.c]).unwrap()).is_ok()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "aarch64") { 20 } else { 300 }))]

    #[test]
    fn any_pool_matches_the_reference((layer, x) in any_pool()) {
        check_layer(&layer, x, &ramp(&x));
    }
}

#[test]
fn positions_match_the_reference() {
    let x = Nhwc { n: 2, h: 7, w: 6, c: 3 };
    let dims = [x.n, x.h, x.w, x.c];
    // Ties, and some that are no numbers.
    let values: Vec<f32> = (0..x.pixels() * x.c)
        .map(|i| if i % 41 == 7 { f32::NAN } else { ((i * 7) % 5) as f32 - 2.0 })
        .collect();
    let tensor = Tensor::from_slice(&dims, &values).unwrap();
    let pad = Pad2d { top: 1, left: 2, bottom: 1, right: 0 };
    for (kernel, dilation, column_major) in [(3, 1, false), (2, 2, true), (1, 1, false)] {
        let layer = depthwise_layers::MaxPositions {
            kernel: Hw { h: kernel, w: 2 },
            stride: Hw { h: 2, w: 1 },
            dilation: Hw::square(dilation),
            padding: depthwise_layers::Padding::Explicit(pad),
            ceil_mode: true,
            column_major,
        };
        let want = layer.reference(&[Some(&tensor)]).unwrap().remove(0);
        let geometry = layer.geometry(Shape::new(&dims).unwrap()).unwrap();
        let ld = padded_ld(x.c);
        let mut input = vec![f32::NAN; x.pixels() * ld];
        for (pixel, values) in input.chunks_exact_mut(ld).zip(values.chunks_exact(x.c)) {
            pixel[..x.c].copy_from_slice(values);
        }
        let out = crate::layout::View::dense(*want.shape());
        let op = MaxPositionsF32::new(geometry, column_major, ld, out, 3).unwrap();
        let mut y = vec![i64::MIN; out.len()];
        let outputs = &mut [bytemuck::cast_slice_mut(&mut y)];
        let par = Par::new(2).unwrap();
        crate::operator::run(&op, &[bytemuck::cast_slice(&input)], outputs, &par).unwrap();
        assert_eq!(y, *want.to_i64(), "{layer:?}");
        let flat = crate::layout::View::dense(Shape::new(&[out.len()]).unwrap());
        assert!(MaxPositionsF32::new(geometry, column_major, ld, flat, 1).is_err());
        assert!(MaxPositionsF32::new(geometry, column_major, x.c - 1, out, 1).is_err());
    }
}
