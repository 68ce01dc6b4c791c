use super::*;
use crate::par::Par;
use crate::run_f32;
use depthwise_tensor::{Hw, Nhwc, Pad2d};
use proptest::prelude::*;

/// A convolution with data; the operands lie as kernels want them, in poisoned surroundings.
struct Case {
    geometry: ConvGeometry,
    multiplier: usize,
    activation: Activation,
    residual: bool,
}

/// Numbers in -1 .. 1 that repeat late.
fn noise(seed: usize, i: usize) -> f32 {
    let mixed = (i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed as u32 * 40_503);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x2c1b_3c6d);
    ((mixed >> 8) as f32) / (1 << 23) as f32 - 1.0
}

/// `pixels` pixels of `c` channels with pixel stride `ld`; NaN in the lanes between.
fn padded(pixels: usize, c: usize, ld: usize, value: impl Fn(usize) -> f32) -> Vec<f32> {
    let mut data = vec![f32::NAN; pixels * ld];
    for (p, pixel) in data.chunks_exact_mut(ld).enumerate() {
        for (i, x) in pixel[..c].iter_mut().enumerate() {
            *x = value(p * c + i);
        }
    }
    data
}

impl Case {
    fn new(geometry: ConvGeometry) -> Case {
        let multiplier = geometry.output.c / geometry.input.c;
        Case { geometry, multiplier, activation: Activation::Identity, residual: false }
    }

    fn input(&self) -> Vec<f32> {
        let g = self.geometry.input;
        padded(g.pixels(), g.c, padded_ld(g.c), |i| noise(1, i))
    }

    fn residual(&self) -> Vec<f32> {
        let g = self.geometry.output;
        padded(g.pixels(), g.c, padded_ld(g.c), |i| noise(2, i))
    }

    fn weights(&self) -> (Vec<f32>, Vec<f32>) {
        let c = self.geometry.output.c;
        let taps = self.geometry.kernel.area();
        let weights = (0..taps * c).map(|i| noise(3, i)).collect();
        (weights, (0..c).map(|i| noise(4, i)).collect())
    }

    fn operator(&self, kernel: &'static Kernel, threads: usize) -> DwConvF32 {
        let (weights, bias) = self.weights();
        let g = self.geometry;
        let (cpu, m) = (Cpu::detect(), self.multiplier);
        let packed =
            PackedDwF32::pack(&cpu, g.kernel, g.input.c, m, &weights, Some(&bias)).unwrap();
        DwConvF32::with_kernel(kernel, Arc::new(packed), self.spec(), threads).unwrap()
    }

    fn spec(&self) -> DwSpec {
        let ld_out = padded_ld(self.geometry.output.c);
        DwSpec {
            geometry: self.geometry,
            ld_in: padded_ld(self.geometry.input.c),
            ld_out,
            residual_ld: self.residual.then_some(ld_out),
            activation: self.activation,
        }
    }

    /// Output and error bound of every element, in `f64`.
    fn reference(&self) -> Vec<(f64, f64)> {
        let g = self.geometry;
        let (input, (weights, bias)) = (self.input(), self.weights());
        let (residual, ld_in, ld_out) =
            (self.residual(), padded_ld(g.input.c), padded_ld(g.output.c));
        let mut out = Vec::new();
        for pixel in 0..g.output.pixels() {
            let ow = pixel % g.output.w;
            let oh = pixel / g.output.w % g.output.h;
            let n = pixel / (g.output.w * g.output.h);
            for oc in 0..g.output.c {
                let mut sum = f64::from(bias[oc]);
                if self.residual {
                    sum += f64::from(residual[pixel * ld_out + oc]);
                }
                let mut size = sum.abs() + 1.0;
                let (rows, cols) = (g.rows().taps(oh), g.cols().taps(ow));
                for kh in rows.0..rows.1 {
                    for kw in cols.0..cols.1 {
                        let (ih, iw) = (g.rows().position(oh, kh), g.cols().position(ow, kw));
                        let at = (n * g.input.h + ih) * g.input.w + iw;
                        let x = input[at * ld_in + oc / self.multiplier];
                        let w = weights[(kh * g.kernel.w + kw) * g.output.c + oc];
                        let product = f64::from(x) * f64::from(w);
                        sum += product;
                        size += product.abs();
                    }
                }
                // A rounding per tap, and a few in the activation, whose slope is below 1.5.
                let roundings = 2.0 * g.kernel.area() as f64 + 16.0;
                out.push((self.activation.eval(sum), roundings * size * f64::from(f32::EPSILON)));
            }
        }
        out
    }

    /// Runs into a buffer with guards; gives the meaningful lanes.
    fn run(&self, kernel: &'static Kernel, threads: usize) -> Vec<f32> {
        const GUARD: f32 = 12345.0;
        let op = self.operator(kernel, threads);
        let g = self.geometry.output;
        let ld = padded_ld(g.c);
        let mut buffer = vec![GUARD; g.pixels() * ld + 2 * 17];
        // Off any alignment but that of f32.
        let (before, rest) = buffer.split_at_mut(17);
        let (out, after) = rest.split_at_mut(g.pixels() * ld);
        out.fill(f32::NAN);
        let (input, residual) = (self.input(), self.residual());
        let inputs: &[&[f32]] = if self.residual { &[&input, &residual] } else { &[&input] };
        run_f32(&op, inputs, &mut [out], &Par::new(threads).unwrap()).unwrap();
        assert!(before.iter().chain(&*after).all(|&x| x == GUARD), "{kernel:?} wrote outside");
        out.chunks_exact(ld).flat_map(|pixel| pixel[..g.c].to_vec()).collect()
    }

    /// Every kernel that fits against the reference, and against itself on three threads.
    fn check(&self) -> usize {
        let want = self.reference();
        let kernels = supported().filter(|k| k.fits(&self.geometry));
        let mut count = 0;
        for kernel in kernels {
            let got = self.run(kernel, 1);
            for (i, (&got, &(want, bound))) in got.iter().zip(&want).enumerate() {
                assert!(
                    (f64::from(got) - want).abs() <= bound,
                    "{} element {i}: {got}, expected {want} +- {bound}; {:?}",
                    kernel.name,
                    self.geometry
                );
            }
            assert_eq!(got, self.run(kernel, 3), "{} on three threads", kernel.name);
            count += 1;
        }
        count
    }
}

fn supported() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().filter(|k| Cpu::detect().supports(k.isa))
}

fn geometry(
    (n, h, w, c): (usize, usize, usize, usize),
    m: usize,
    kernel: Hw,
    stride: Hw,
    dilation: Hw,
    pad: Pad2d,
) -> ConvGeometry {
    let out = |i: usize, pads: usize, k: usize, s: usize, d: usize| {
        (i + pads).checked_sub((k - 1) * d + 1).map_or(0, |room| room / s + 1)
    };
    ConvGeometry {
        input: Nhwc { n, h, w, c },
        output: Nhwc {
            n,
            h: out(h, pad.top + pad.bottom, kernel.h, stride.h, dilation.h),
            w: out(w, pad.left + pad.right, kernel.w, stride.w, dilation.w),
            c: c * m,
        },
        kernel,
        stride,
        dilation,
        pad,
        groups: c,
    }
}

fn square(
    h: usize,
    w: usize,
    c: usize,
    kernel: usize,
    stride: usize,
    (before, after): (usize, usize),
) -> ConvGeometry {
    let pad = Pad2d { top: before, left: before, bottom: after, right: after };
    let (kernel, stride) = (Hw::square(kernel), Hw::square(stride));
    geometry((1, h, w, c), 1, kernel, stride, Hw::ONE, pad)
}

/// Sides around the tiles of 1, 2 and 4 outputs; fewer where an emulator runs the tests.
const SIDES: &[usize] =
    if cfg!(target_arch = "aarch64") { &[2, 5, 9] } else { &[1, 2, 3, 4, 5, 7, 8, 9, 11, 14] };
const CHANNELS: &[usize] =
    if cfg!(target_arch = "aarch64") { &[1, 7, 18] } else { &[1, 3, 8, 16, 17, 33] };

#[test]
fn rows_in_groups_of_tiles_match_the_reference() {
    // Pixel strides that crowd L1, and rows of several groups; the last one ends amid a tile.
    for (c, w) in [(32, 75), (64, 41), (96, 37)] {
        for (stride, pads) in [(1, (1, 1)), (2, (0, 1))] {
            assert!(Case::new(square(17, w, c, 3, stride, pads)).check() > 0);
        }
    }
}

#[test]
fn tiles_of_every_size_match_the_reference() {
    let mut runs = std::collections::HashMap::new();
    for (kernel, stride, pads) in [
        (3, 1, (1, 1)),
        (3, 2, (1, 1)),
        (3, 2, (0, 1)),
        (5, 1, (2, 2)),
        (5, 2, (2, 2)),
        (5, 2, (1, 2)),
        (3, 1, (0, 0)),
    ] {
        for &h in SIDES {
            for &w in SIDES {
                // Channel tails only where the picture is small.
                let channels = if h == w { CHANNELS } else { &[17] };
                for &c in channels {
                    let g = square(h, w, c, kernel, stride, pads);
                    if g.output.pixels() > 0 {
                        Case::new(g).check();
                        supported().filter(|k| k.fits(&g)).for_each(|k| {
                            *runs.entry(k.name).or_insert(0) += 1;
                        });
                    }
                }
            }
        }
    }
    for kernel in supported() {
        assert!(runs.contains_key(kernel.name), "{} was never run", kernel.name);
    }
}

#[test]
fn epilogues_match_the_reference() {
    for activation in [
        Activation::Identity,
        Activation::RELU6,
        Activation::HardSwish,
        Activation::Silu,
        Activation::LeakyRelu { alpha: 0.1 },
    ] {
        for residual in [false, true] {
            for g in [
                square(7, 9, 19, 3, 1, (1, 1)),
                square(7, 9, 19, 3, 2, (1, 1)),
                square(7, 9, 19, 5, 1, (2, 2)),
                square(9, 7, 19, 5, 2, (2, 2)),
                square(6, 6, 19, 2, 1, (0, 1)),
            ] {
                let mut case = Case::new(g);
                (case.activation, case.residual) = (activation, residual);
                assert!(case.check() > 0);
            }
        }
    }
}

#[test]
fn asymmetric_pads_of_three_channels_match_hand_values() {
    // CASES.md C03.
    let g = geometry(
        (1, 5, 5, 3),
        1,
        Hw::square(3),
        Hw::square(2),
        Hw::ONE,
        Pad2d { top: 0, left: 0, bottom: 1, right: 1 },
    );
    let planes: [[f32; 9]; 3] = [
        [1.0, 0.0, -1.0, 2.0, 0.0, -2.0, 1.0, 0.0, -1.0],
        [1.0, 2.0, 1.0, 0.0, 0.0, 0.0, -1.0, -2.0, -1.0],
        [0.0, 1.0, 0.0, 1.0, -4.0, 1.0, 0.0, 1.0, 0.0],
    ];
    let weights: Vec<f32> = (0..27).map(|i| planes[i % 3][i / 3]).collect();
    let input = padded(25, 3, 16, |i| ((i % 3 + 1) * (i / 3)) as f32);
    let packed = PackedDwF32::pack(&Cpu::detect(), g.kernel, 3, 1, &weights, None).unwrap();
    let packed = Arc::new(packed);
    let activation = Activation::Identity;
    let spec = DwSpec { geometry: g, ld_in: 16, ld_out: 16, residual_ld: None, activation };
    for kernel in supported().filter(|k| k.fits(&g)) {
        let op = DwConvF32::with_kernel(kernel, Arc::clone(&packed), spec, 1).unwrap();
        let mut out = [f32::NAN; 4 * 16];
        run_f32(&op, &[&input], &mut [&mut out], &Par::single()).unwrap();
        for pixel in out.chunks_exact(16) {
            assert_eq!(pixel[..3], [-8.0, -80.0, 0.0], "{}", kernel.name);
        }
    }
}

#[test]
fn depth_multiplier_of_two_matches_hand_values() {
    // CASES.md C04.
    let g = geometry((1, 2, 2, 2), 2, Hw::ONE, Hw::ONE, Hw::ONE, Pad2d::ZERO);
    let input = padded(4, 2, 16, |i| (i + 1) as f32);
    let weights = [1.0, 10.0, 100.0, 1000.0];
    let packed =
        Arc::new(PackedDwF32::pack(&Cpu::detect(), Hw::ONE, 2, 2, &weights, None).unwrap());
    let activation = Activation::Identity;
    let spec = DwSpec { geometry: g, ld_in: 16, ld_out: 16, residual_ld: None, activation };
    for kernel in supported().filter(|k| k.fits(&g)) {
        let op = DwConvF32::with_kernel(kernel, Arc::clone(&packed), spec, 1).unwrap();
        let mut out = [f32::NAN; 4 * 16];
        run_f32(&op, &[&input], &mut [&mut out], &Par::single()).unwrap();
        let got: Vec<&[f32]> = out.chunks_exact(16).map(|p| &p[..4]).collect();
        assert_eq!(
            got,
            [
                [1.0, 10.0, 200.0, 2000.0],
                [3.0, 30.0, 400.0, 4000.0],
                [5.0, 50.0, 600.0, 6000.0],
                [7.0, 70.0, 800.0, 8000.0]
            ]
        );
    }
}

#[test]
fn dilation_two_matches_hand_values() {
    // CASES.md C06.
    let g = geometry(
        (1, 5, 5, 1),
        1,
        Hw::square(3),
        Hw::ONE,
        Hw::square(2),
        Pad2d { top: 2, left: 2, bottom: 2, right: 2 },
    );
    let input = padded(25, 1, 16, |i| (i + 1) as f32);
    let weights = [1.0, 2.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0];
    let packed =
        Arc::new(PackedDwF32::pack(&Cpu::detect(), g.kernel, 1, 1, &weights, None).unwrap());
    let activation = Activation::Identity;
    let spec = DwSpec { geometry: g, ld_in: 16, ld_out: 16, residual_ld: None, activation };
    let want = [
        [-12.0, -12.0, -1.0, 16.0, 18.0],
        [-12.0, -12.0, 4.0, 26.0, 28.0],
        [-7.0, -4.0, 21.0, 46.0, 51.0],
        [36.0, 40.0, 50.0, 44.0, 48.0],
        [56.0, 60.0, 75.0, 64.0, 68.0],
    ];
    for kernel in supported().filter(|k| k.fits(&g)) {
        let op = DwConvF32::with_kernel(kernel, Arc::clone(&packed), spec, 1).unwrap();
        let mut out = [f32::NAN; 25 * 16];
        run_f32(&op, &[&input], &mut [&mut out], &Par::single()).unwrap();
        let got: Vec<f32> = out.chunks_exact(16).map(|p| p[0]).collect();
        assert_eq!(got, want.as_flattened(), "{}", kernel.name);
    }
}

#[test]
fn nan_reaches_exactly_the_outputs_that_see_it() {
    for activation in [Activation::Identity, Activation::RELU6, Activation::HardSwish] {
        for (k, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
            let g = square(9, 9, 18, k, stride, (k / 2, k / 2));
            let mut case = Case::new(g);
            case.activation = activation;
            for kernel in supported().filter(|kernel| kernel.fits(&g)) {
                let op = case.operator(kernel, 1);
                let mut input = case.input();
                let (ih, iw, ic) = (4, 5, 17);
                input[(ih * 9 + iw) * 32 + ic] = f32::NAN;
                let mut out = vec![0.0; g.output.pixels() * 32];
                run_f32(&op, &[&input], &mut [&mut out], &Par::single()).unwrap();
                for (pixel, lanes) in out.chunks_exact(32).enumerate() {
                    let sees = |axis: depthwise_tensor::WindowAxis, o, i| {
                        let (lo, hi) = axis.taps(o);
                        (lo..hi).any(|k| axis.position(o, k) == i)
                    };
                    let seen = sees(g.rows(), pixel / g.output.w, ih)
                        && sees(g.cols(), pixel % g.output.w, iw);
                    for (c, x) in lanes[..18].iter().enumerate() {
                        assert_eq!(x.is_nan(), seen && c == ic, "{} {pixel} {c}", kernel.name);
                    }
                }
            }
        }
    }
}

#[test]
fn small_work_and_empty_output_are_one_chunk() {
    let kernel = supported().last().unwrap();
    assert_eq!(Case::new(square(3, 3, 4, 3, 1, (1, 1))).operator(kernel, 4).chunks(), 1);
    let empty = Case::new(square(1, 1, 4, 3, 1, (0, 0)));
    assert_eq!(empty.geometry.output.pixels(), 0);
    let any = supported().find(|k| k.window.is_none()).unwrap();
    assert_eq!(empty.operator(any, 4).chunks(), 1);
    assert_eq!(empty.run(any, 1), []);
}

#[test]
fn shapes_that_do_not_go_together_are_refused() {
    let g = square(7, 7, 8, 3, 1, (1, 1));
    let case = Case::new(g);
    let (weights, bias) = case.weights();
    let cpu = Cpu::detect();
    let pack = |c, w: &[f32], b: &[f32]| PackedDwF32::pack(&cpu, g.kernel, c, 1, w, Some(b));
    assert!(matches!(pack(8, &weights[1..], &bias), Err(KernelError::Invalid { .. })));
    assert!(matches!(pack(8, &weights, &bias[1..]), Err(KernelError::Invalid { .. })));
    let packed = Arc::new(pack(8, &weights, &bias).unwrap());
    let new = |spec| DwConvF32::new(Arc::clone(&packed), spec, 1);
    let spec = case.spec();
    assert!(new(spec).is_ok());
    assert!(matches!(new(DwSpec { ld_in: 8, ..spec }), Err(KernelError::Unsupported { .. })));
    assert!(matches!(new(DwSpec { ld_out: 0, ..spec }), Err(KernelError::Unsupported { .. })));
    let bad = |change: fn(&mut ConvGeometry)| {
        let mut geometry = g;
        change(&mut geometry);
        new(DwSpec { geometry, ..spec })
    };
    assert!(matches!(bad(|g| g.groups = 1), Err(KernelError::Invalid { .. })));
    assert!(matches!(bad(|g| g.stride.w = 0), Err(KernelError::Invalid { .. })));
    assert!(matches!(bad(|g| g.stride.h = usize::MAX), Err(KernelError::Invalid { .. })));
    assert!(matches!(bad(|g| g.pad.left = usize::MAX), Err(KernelError::Invalid { .. })));
    assert!(matches!(bad(|g| g.output.h = usize::MAX / 2), Err(KernelError::Invalid { .. })));
    assert!(matches!(bad(|g| g.output.n = 2), Err(KernelError::Invalid { .. })));
}

#[test]
fn every_level_has_a_kernel_for_every_convolution() {
    for cpu in Cpu::detect().levels() {
        for g in [square(9, 9, 8, 3, 1, (1, 1)), square(2, 2, 8, 7, 3, (9, 9))] {
            assert_eq!(select(&cpu, &g).isa, cpu.isa());
        }
    }
}

fn any_geometry() -> impl Strategy<Value = ConvGeometry> {
    let side = 1..=12usize;
    let common = prop_oneof![
        Just((3, 3, 1, 1, 1, 1)),
        Just((3, 3, 2, 2, 1, 1)),
        Just((5, 5, 1, 1, 1, 1)),
        Just((5, 5, 2, 2, 1, 1)),
        (1..=7usize, 1..=7usize, 1..=3usize, 1..=3usize, 1..=3usize, 1..=3usize),
    ];
    let pads = (0..=4usize, 0..=4usize, 0..=4usize, 0..=4usize);
    (1..=2usize, side.clone(), side, 1..=20usize, 1..=3usize, common, pads)
        .prop_map(|(n, h, w, c, m, (kh, kw, sh, sw, dh, dw), (top, left, bottom, right))| {
            let pad = Pad2d { top, left, bottom, right };
            let (kernel, stride) = (Hw { h: kh, w: kw }, Hw { h: sh, w: sw });
            geometry((n, h, w, c), m, kernel, stride, Hw { h: dh, w: dw }, pad)
        })
        .prop_filter("empty output", |g| g.output.pixels() > 0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "aarch64") { 20 } else { 300 }))]

    #[test]
    fn any_geometry_matches_the_reference(g in any_geometry(), residual: bool) {
        let mut case = Case::new(g);
        case.residual = residual;
        prop_assert!(case.check() > 0);
    }
}
