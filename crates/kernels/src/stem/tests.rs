use super::*;
use crate::conv2d::tests::{Case, Parts};
use crate::conv2d::{self, ConvF32};
use crate::gemm_f32::tests::values;
use crate::isa::Cpu;
use crate::operator::{run, run_f32};
use crate::par::Par;
use proptest::prelude::*;

/// Runs the case with every kernel that this CPU supports; all of them must apply.
fn check_all(case: &Case) {
    let g = &case.geometry;
    let (ic, oc) = (g.input.c, g.output.c);
    for kernel in KERNELS.iter().filter(|kernel| kernel.info().is_supported(&Cpu::detect())) {
        let same = |conv: &&conv2d::Kernel| conv.info().isa == kernel.isa && conv.nr() == kernel.nr;
        let conv = conv2d::KERNELS.iter().find(same).expect("a packing for each stem kernel");
        let pack = |w: &[f32], b: &[f32]| {
            PackedConvF32::with_kernel(conv, g.kernel, ic, oc, 1, w, Some(b)).unwrap()
        };
        case.check(&pack, &|weights, spec, threads| {
            assert!(StemF32::applies(&weights, &spec), "{spec:?}");
            let op = StemF32::new(weights, spec, threads)?;
            assert_eq!(op.kernel(), kernel.name);
            Ok(Arc::new(op))
        });
    }
}

#[test]
fn every_step_and_padding_matches_the_reference() {
    for (ic, stride) in [(1, 1), (1, 2), (3, 1), (3, 2)] {
        for pads in [[0; 4], [1; 4], [0, 0, 1, 1], [1, 3, 0, 2]] {
            for oc in [1, 16, 24, 35] {
                let size = 15 * stride + 2;
                let parts = Parts { pads, ..Parts::square(size, (ic, oc), 3, stride, 0) };
                for dense_input in [false, true] {
                    check_all(&Case { dense_input, ..parts.case() });
                }
            }
        }
    }
}

#[test]
fn large_kernels_pictures_and_activations_match_the_reference() {
    let parts = Parts { n: 2, hw: (13, 40), ..Parts::square(0, (3, 20), 7, 2, 3) };
    for act in [Activation::Identity, Activation::HardSwish, Activation::Silu] {
        check_all(&Case { act, dense_input: true, ..parts.case() });
    }
}

#[test]
fn bits_equal_those_of_the_general_convolution() {
    let case = Parts::square(33, (3, 32), 3, 2, 1).case();
    let g = case.geometry;
    let (x, w) = (values(1, 33 * 33 * 3), values(2, 32 * 27));
    for cpu in Cpu::detect().levels() {
        let weights = PackedConvF32::pack(&cpu, g.kernel, 3, 32, 1, &w, None).unwrap();
        let weights = Arc::new(weights);
        let spec = ConvSpec {
            geometry: g,
            ld_in: 3,
            ld_out: 32,
            residual_ld: None,
            activation: Activation::RELU6,
        };
        let stem = StemF32::new(Arc::clone(&weights), spec, 1).unwrap();
        let conv = ConvF32::new(weights, spec, 1).unwrap();
        let run = |op: &dyn Operator| {
            let mut y = vec![f32::NAN; g.output.pixels() * 32];
            run_f32(op, &[&x], &mut [&mut y], &Par::single()).unwrap();
            y
        };
        assert_eq!(run(&stem), run(&conv), "{cpu}");
    }
}

/// The bits of the same convolution on the numbers that the bytes stand for.
fn check_bytes(parts: Parts) {
    let g = parts.geometry().unwrap();
    let (ic, oc) = (g.input.c, g.output.c);
    let bytes: Vec<u8> =
        values(1, g.input.pixels() * ic).iter().map(|v| v.to_bits() as u8).collect();
    let pixels = Pixels {
        scale: (0..ic).map(|c| 0.01 + c as f32 * 0.003).collect(),
        shift: (0..ic).map(|c| 0.7 - c as f32).collect(),
    };
    let number = |(i, &x): (usize, &u8)| f32::from(x) * pixels.scale[i % ic] + pixels.shift[i % ic];
    let x: Vec<f32> = bytes.iter().enumerate().map(number).collect();
    let (w, bias) = (values(2, oc * g.kernel.area() * ic), values(3, oc));
    for cpu in Cpu::detect().levels() {
        let weights = PackedConvF32::pack(&cpu, g.kernel, ic, oc, 1, &w, Some(&bias)).unwrap();
        let weights = Arc::new(weights);
        let ld_out = oc.next_multiple_of(16);
        let spec = ConvSpec {
            geometry: g,
            ld_in: ic,
            ld_out,
            residual_ld: None,
            activation: Activation::RELU6,
        };
        let mut want = vec![0.0; g.output.pixels() * ld_out];
        let numbers = StemF32::new(Arc::clone(&weights), spec, 1).unwrap();
        run_f32(&numbers, &[&x], &mut [&mut want], &Par::single()).unwrap();
        for threads in [1, 2] {
            let op = StemF32::of_bytes(Arc::clone(&weights), spec, &pixels, threads).unwrap();
            let mut y = vec![0f32; g.output.pixels() * ld_out];
            let outputs = &mut [bytemuck::cast_slice_mut(&mut y)];
            run(&op, &[&bytes], outputs, &Par::new(threads).unwrap()).unwrap();
            let row =
                |y: &[f32]| y.chunks(ld_out).map(|row| row[..oc].to_vec()).collect::<Vec<_>>();
            assert_eq!(row(&y), row(&want), "{cpu} {g:?}");
        }
    }
}

#[test]
fn bytes_give_the_bits_of_the_numbers_they_stand_for() {
    for (ic, stride) in [(1, 1), (1, 2), (3, 1), (3, 2)] {
        for pads in [[0; 4], [1; 4], [0, 0, 1, 1], [1, 3, 0, 2], [4; 4]] {
            let size = 15 * stride + 2;
            check_bytes(Parts { n: 2, pads, ..Parts::square(size, (ic, 35), 3, stride, 0) });
        }
    }
}

#[test]
fn bytes_of_other_channels_or_with_gaps_are_refused() {
    let g = Parts::square(33, (3, 8), 3, 2, 1).geometry().unwrap();
    let weights = PackedConvF32::pack(&Cpu::detect(), g.kernel, 3, 8, 1, &[0.0; 8 * 27], None);
    let weights = Arc::new(weights.unwrap());
    let build = |ld_in, channels| {
        let spec = ConvSpec {
            geometry: g,
            ld_in,
            ld_out: 16,
            residual_ld: None,
            activation: Activation::Identity,
        };
        let pixels = Pixels { scale: vec![1.0; channels], shift: vec![0.0; channels] };
        StemF32::of_bytes(Arc::clone(&weights), spec, &pixels, 1).map(|_| ())
    };
    assert_eq!(build(3, 3), Ok(()));
    assert!(matches!(build(3, 1), Err(KernelError::Invalid { .. })));
    assert!(matches!(build(4, 3), Err(KernelError::Unsupported { .. })));
}

#[test]
fn what_it_does_not_compute_is_refused() {
    let cpu = Cpu::detect();
    let build = |parts: Parts, residual: bool| {
        let g = parts.geometry().unwrap();
        let len = g.output.c * g.kernel.area() * g.input.c / g.groups;
        let (ic, oc) = (g.input.c, g.output.c);
        let weights =
            PackedConvF32::pack(&cpu, g.kernel, ic, oc, g.groups, &vec![0.0; len], None).unwrap();
        let spec = ConvSpec {
            geometry: g,
            ld_in: ic,
            ld_out: 32,
            residual_ld: residual.then_some(32),
            activation: Activation::Identity,
        };
        StemF32::new(Arc::new(weights), spec, 1).map(|_| ())
    };
    let good = Parts::square(33, (3, 24), 3, 2, 1);
    assert_eq!(build(good, false), Ok(()));
    assert!(build(good, true).is_err());
    for parts in [
        Parts { channels: (5, 24), ..good },
        Parts { channels: (3, 24), groups: 3, ..good },
        Parts { dilation: (1, 2), ..good },
        Parts { hw: (33, 3), ..good },
    ] {
        assert!(matches!(build(parts, false), Err(KernelError::Unsupported { .. })), "{parts:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "aarch64") { 6 } else { 60 }))]
    #[test]
    fn any_geometry_matches_the_reference(
        (ic, stride) in prop::sample::select(vec![(1, 1), (1, 2), (3, 1), (3, 2)]),
        (n, h, w, oc) in (1usize..3, 5usize..12, 36usize..50, 1usize..60),
        kernel in (1usize..5, 1usize..6),
        stride_h in 1usize..4,
        pads in prop::array::uniform4(0usize..4),
        dense_input: bool,
    ) {
        let parts = Parts {
            n,
            hw: (h, w),
            channels: (ic, oc),
            kernel,
            stride: (stride_h, stride),
            dilation: (1, 1),
            pads,
            groups: 1,
        };
        check_all(&Case { dense_input, ..parts.case() });
    }
}
