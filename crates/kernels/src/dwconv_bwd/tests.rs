use super::*;
use crate::dwconv_f32::PackDwF32;
use crate::operator::run_f32;
use crate::par::Par;
use depthwise_layers::{DepthwiseConv2d, DepthwiseInputGrad, DepthwiseWeightGrad, Layer, Padding};
use depthwise_tensor::{Activation, Hw, Shape, Tensor, padded_ld};
use depthwise_testkit::random_tensor;
use proptest::prelude::*;

/// The pixels of a tensor, `ld` apart, the rest NaN.
fn padded(t: &Tensor, ld: usize) -> Vec<f32> {
    let c = *t.shape().last().unwrap();
    let mut rows = vec![f32::NAN; t.elements() / c * ld];
    for (to, from) in rows.chunks_mut(ld).zip(t.to_f32().chunks(c)) {
        to[..c].copy_from_slice(from);
    }
    rows
}

fn assert_near(got: &[f32], want: &[f32], what: &str) {
    let largest = want.iter().fold(1e-3f32, |a, w| a.max(w.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        // Sums of some hundred terms of about 1, rounded once each.
        assert!((got - want).abs() <= 1e-5 * largest, "{what}: [{i}] {got} {want}");
    }
}

fn check(conv: &DepthwiseConv2d, kernel: Hw, (n, h, w, c): (usize, usize, usize, usize)) {
    let x = random_tensor(&[n, h, w, c], 1);
    let weights = random_tensor(&[kernel.h, kernel.w, c], 2);
    let geometry = conv.geometry(*x.shape(), *weights.shape()).unwrap();
    let out = geometry.output;
    let dy = random_tensor(&[n, out.h, out.w, c], 3);
    let ld = padded_ld(c);
    let spec = DwGradSpec { geometry, ld_x: ld, ld_dy: ld };
    let grad = DepthwiseWeightGrad { conv: conv.clone(), kernel };
    let want_dw = grad.reference(&[Some(&x), Some(&dy)]).unwrap().remove(0);
    let grad = DepthwiseInputGrad { conv: conv.clone(), input: Hw { h, w }, channels: c };
    let want_dx = grad.reference(&[Some(&dy), Some(&weights)]).unwrap().remove(0);
    let (in_x, in_dy) = (padded(&x, ld), padded(&dy, ld));
    let pack = PackDwF32::new(kernel, c, c, false).unwrap();
    let mut packed = vec![f32::NAN; (kernel.area() + 1) * c.next_multiple_of(BLOCK)];
    let single = Par::single();
    run_f32(&pack, &[&weights.to_f32()], &mut [&mut packed], &single).unwrap();
    for kernel in KERNELS.iter().filter(|k| Cpu::detect().supports(k.isa)) {
        let mut first: Option<Vec<f32>> = None;
        for threads in [1, 3] {
            let par = Par::new(threads).unwrap();
            let op = DwWeightGradF32::with_kernel(kernel, spec, threads).unwrap();
            let mut dw = vec![f32::NAN; want_dw.elements()];
            run_f32(&op, &[&in_x, &in_dy], &mut [&mut dw], &par).unwrap();
            assert_near(&dw, &want_dw.to_f32(), &format!("{} dw {spec:?}", kernel.name));
            let op = DwInputGradF32::with_kernel(kernel, spec, threads).unwrap();
            let mut dx = vec![f32::NAN; n * h * w * ld];
            run_f32(&op, &[&in_dy, &packed], &mut [&mut dx], &par).unwrap();
            let dx: Vec<f32> = dx.chunks(ld).flat_map(|row| row[..c].to_vec()).collect();
            assert_near(&dx, &want_dx.to_f32(), &format!("{} dx {spec:?}", kernel.name));
            dw.extend(dx);
            assert_eq!(first.get_or_insert(dw.clone()), &dw, "bits depend on the threads");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "aarch64") { 3 } else { 24 }))]
    #[test]
    fn any_geometry_matches_the_references(
        (kh, kw) in (1usize..6, 1usize..6),
        (sh, sw, dh, dw) in (1usize..3, 1usize..4, 1usize..3, 1usize..3),
        same: bool,
        size in (1usize..3, 9usize..13, 9usize..16),
        c in prop::sample::select(vec![1usize, 8, 16, 17, 40]),
    ) {
        let conv = DepthwiseConv2d {
            stride: Hw { h: sh, w: sw },
            dilation: Hw { h: dh, w: dw },
            padding: if same { Padding::Same } else { Padding::all(2) },
            activation: Activation::Identity,
        };
        check(&conv, Hw { h: kh, w: kw }, (size.0, size.1, size.2, c));
    }
}

#[test]
fn a_depth_multiplier_is_refused() {
    let conv = DepthwiseConv2d::default();
    let shape = |d: &[usize]| Shape::new(d).unwrap();
    let geometry = conv.geometry(shape(&[1, 4, 4, 2]), shape(&[3, 3, 4])).unwrap();
    let spec = DwGradSpec { geometry, ld_x: 16, ld_dy: 16 };
    let refused = DwWeightGradF32::new(&Cpu::detect(), spec, 1);
    assert!(matches!(refused, Err(KernelError::Unsupported { .. })));
}
