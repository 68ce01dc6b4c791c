use super::*;
use crate::gemm_f32::tests::{assert_close, run_guarded, spread, values};
use crate::isa::Cpu;
use crate::operator::run_f32;
use crate::par::Par;
use depthwise_tensor::{Hw, Nhwc, Pad2d, padded_ld};
use proptest::prelude::*;

/// A convolution and what it is computed with.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub geometry: ConvGeometry,
    pub residual: bool,
    pub act: Activation,
    pub dense_input: bool,
}

/// A geometry from its parts; the output follows. `None` where a window does not fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub n: usize,
    pub hw: (usize, usize),
    pub channels: (usize, usize),
    pub kernel: (usize, usize),
    pub stride: (usize, usize),
    pub dilation: (usize, usize),
    /// Top, left, bottom, right.
    pub pads: [usize; 4],
    pub groups: usize,
}

impl Parts {
    pub(crate) fn square(
        size: usize,
        channels: (usize, usize),
        k: usize,
        stride: usize,
        pad: usize,
    ) -> Parts {
        Parts {
            n: 1,
            hw: (size, size),
            channels,
            kernel: (k, k),
            stride: (stride, stride),
            dilation: (1, 1),
            pads: [pad; 4],
            groups: 1,
        }
    }

    pub(crate) fn geometry(&self) -> Option<ConvGeometry> {
        let [top, left, bottom, right] = self.pads;
        let extent = |input: usize, pad: usize, k: usize, s: usize, d: usize| {
            Some((input + pad).checked_sub(d * (k - 1) + 1)? / s + 1)
        };
        let (kernel, stride, dilation) = (self.kernel, self.stride, self.dilation);
        let h = extent(self.hw.0, top + bottom, kernel.0, stride.0, dilation.0)?;
        let w = extent(self.hw.1, left + right, kernel.1, stride.1, dilation.1)?;
        let hw = |(h, w): (usize, usize)| Hw { h, w };
        Some(ConvGeometry {
            input: Nhwc { n: self.n, h: self.hw.0, w: self.hw.1, c: self.channels.0 },
            output: Nhwc { n: self.n, h, w, c: self.channels.1 },
            kernel: hw(kernel),
            stride: hw(stride),
            dilation: hw(dilation),
            pad: Pad2d { top, left, bottom, right },
            groups: self.groups,
        })
    }

    pub(crate) fn case(&self) -> Case {
        Case {
            geometry: self.geometry().unwrap(),
            residual: false,
            act: Activation::Clip { min: -2.0, max: 3.0 },
            dense_input: false,
        }
    }
}

/// `act(bias + convolution + residual)` in double precision, one output after the other.
pub(crate) fn reference(
    g: &ConvGeometry,
    x: &[f32],
    w: &[f32],
    bias: &[f32],
    residual: Option<&[f32]>,
    act: Activation,
) -> Vec<f64> {
    let (ic_group, oc_group) = (g.input.c / g.groups, g.output.c / g.groups);
    let mut y = Vec::new();
    for pixel in 0..g.output.pixels() {
        let (ow, oh) = (pixel % g.output.w, pixel / g.output.w % g.output.h);
        let n = pixel / g.output.w / g.output.h;
        for oc in 0..g.output.c {
            let mut sum = f64::from(bias[oc]);
            for kh in 0..g.kernel.h {
                for kw in 0..g.kernel.w {
                    let ih = (oh * g.stride.h + kh * g.dilation.h).checked_sub(g.pad.top);
                    let iw = (ow * g.stride.w + kw * g.dilation.w).checked_sub(g.pad.left);
                    let (Some(ih), Some(iw)) = (ih, iw) else { continue };
                    if ih >= g.input.h || iw >= g.input.w {
                        continue;
                    }
                    for ic in 0..ic_group {
                        let at = (n * g.input.h + ih) * g.input.w + iw;
                        let x = x[at * g.input.c + oc / oc_group * ic_group + ic];
                        let tap = (oc * g.kernel.h + kh) * g.kernel.w + kw;
                        sum += f64::from(x) * f64::from(w[tap * ic_group + ic]);
                    }
                }
            }
            if let Some(residual) = residual {
                sum += f64::from(residual[pixel * g.output.c + oc]);
            }
            y.push(act.eval(sum));
        }
    }
    y
}

type Pack<'a> = &'a dyn Fn(&[f32], &[f32]) -> PackedConvF32;

impl Case {
    pub(crate) fn depth(&self) -> usize {
        self.geometry.kernel.area() * (self.geometry.input.c / self.geometry.groups)
    }

    /// Compares an operator on packed weights with the reference.
    pub(crate) fn check(
        &self,
        pack: Pack<'_>,
        build: &dyn Fn(
            Arc<PackedConvF32>,
            ConvSpec,
            usize,
        ) -> Result<Arc<dyn Operator>, KernelError>,
    ) {
        let g = self.geometry;
        let x = values(1, g.input.pixels() * g.input.c);
        let w = values(2, g.output.c * self.depth());
        let bias = values(3, g.output.c);
        let residual = values(4, g.output.pixels() * g.output.c);
        let weights = Arc::new(pack(&w, &bias));
        let ld_in = if self.dense_input { g.input.c } else { padded_ld(g.input.c) };
        // Forced kernels may be wider than a padded row.
        let ld_out =
            padded_ld(g.output.c).max((weights.width() * weights.groups()).next_multiple_of(16));
        let spec = ConvSpec {
            geometry: g,
            ld_in,
            ld_out,
            residual_ld: self.residual.then_some(ld_out),
            activation: self.act,
        };
        let mut inputs = vec![spread(&x, g.input.c, ld_in)];
        if self.residual {
            inputs.push(spread(&residual, g.output.c, ld_out));
        }
        let inputs: Vec<&[f32]> = inputs.iter().map(|v| &v[..]).collect();
        let build = |threads| build(Arc::clone(&weights), spec, threads);
        let got = run_guarded(build, &inputs, g.output.pixels(), g.output.c, ld_out);
        let residual = self.residual.then_some(&residual[..]);
        let want = reference(&g, &x, &w, &bias, residual, self.act);
        assert_close(&got, &want, self.depth(), &(self, weights.kernel_name()));
    }

    /// [`ConvF32`] with every kernel that runs here, and [`operator`] as packing would choose on
    /// every level.
    fn check_all(&self) {
        let g = &self.geometry;
        let (ic, oc) = (g.input.c, g.output.c);
        for kernel in KERNELS.iter().filter(|k| k.info().is_supported(&Cpu::detect())) {
            let pack = |w: &[f32], b: &[f32]| {
                PackedConvF32::with_kernel(kernel, g.kernel, ic, oc, g.groups, w, Some(b)).unwrap()
            };
            self.check(&pack, &|w, spec, threads| Ok(Arc::new(ConvF32::new(w, spec, threads)?)));
        }
        for cpu in Cpu::detect().levels() {
            let pack = |w: &[f32], b: &[f32]| {
                PackedConvF32::pack(&cpu, g.kernel, ic, oc, g.groups, w, Some(b)).unwrap()
            };
            self.check(&pack, &operator);
        }
    }
}

#[test]
fn kernels_strides_and_channels_match_the_reference() {
    for (k, stride, pad) in [(1, 2, 0), (3, 1, 1), (3, 2, 1), (5, 2, 2), (2, 3, 0)] {
        for channels in [(1, 1), (3, 17), (16, 50), (5, 24)] {
            Parts::square(9, channels, k, stride, pad).case().check_all();
        }
    }
}

#[test]
fn groups_of_any_width_match_the_reference() {
    for (groups, channels) in [(2, (4, 6)), (3, (6, 51)), (4, (8, 64)), (2, (6, 48)), (5, (5, 5))] {
        for residual in [false, true] {
            let parts = Parts { groups, ..Parts::square(7, channels, 3, 1, 1) };
            Case { residual, ..parts.case() }.check_all();
        }
    }
}

#[test]
fn blocks_and_pictures_follow_each_other() {
    let parts = Parts { n: 2, hw: (11, 13), ..Parts::square(0, (7, 20), 3, 1, 1) };
    for act in [Activation::Identity, Activation::HardSwish, Activation::Silu] {
        Case { act, residual: true, ..parts.case() }.check_all();
        Case { act, dense_input: true, ..parts.case() }.check_all();
    }
}

#[test]
fn windows_wholly_in_the_padding_give_the_bias() {
    let parts = Parts { pads: [4, 4, 3, 5], ..Parts::square(3, (2, 5), 2, 1, 0) };
    parts.case().check_all();
}

/// Numbers from `../shared/design/CASES.md`, one input channel unless said, no bias.
fn check_exact(parts: Parts, x: &[f32], w: &[f32], want: &[f32]) {
    let g = parts.geometry().unwrap();
    for cpu in Cpu::detect().levels() {
        for threads in [1, 2] {
            let packed =
                PackedConvF32::pack(&cpu, g.kernel, g.input.c, g.output.c, g.groups, w, None);
            let ld_out = padded_ld(g.output.c);
            let spec = ConvSpec {
                geometry: g,
                ld_in: g.input.c,
                ld_out,
                residual_ld: None,
                activation: Activation::Identity,
            };
            let op = operator(Arc::new(packed.unwrap()), spec, threads).unwrap();
            let mut y = vec![f32::NAN; g.output.pixels() * ld_out];
            run_f32(&*op, &[x], &mut [&mut y], &Par::new(threads).unwrap()).unwrap();
            let got: Vec<f32> =
                y.chunks(ld_out).flat_map(|row| row[..g.output.c].to_vec()).collect();
            assert_eq!(got, want, "{cpu} {}", op.kernel());
        }
    }
}

#[test]
fn case_c01_asymmetric_same_padding_at_stride_2() {
    let x: Vec<f32> = (0..16).map(|i| i as f32).collect();
    let lower = Parts { pads: [1, 1, 0, 0], ..Parts::square(4, (1, 1), 3, 2, 0) };
    check_exact(lower, &x, &[1.0; 9], &[10.0, 24.0, 51.0, 90.0]);
    let upper = Parts { pads: [0, 0, 1, 1], ..lower };
    check_exact(upper, &x, &[1.0; 9], &[45.0, 39.0, 66.0, 50.0]);
}

#[test]
fn case_c03_asymmetric_pads_in_three_groups() {
    let x: Vec<f32> = (0..75).map(|i| ((i % 3 + 1) * (i / 3)) as f32).collect();
    let w = [
        [1, 0, -1, 2, 0, -2, 1, 0, -1],
        [1, 2, 1, 0, 0, 0, -1, -2, -1],
        [0, 1, 0, 1, -4, 1, 0, 1, 0],
    ];
    let w: Vec<f32> = w.as_flattened().iter().map(|&w| w as f32).collect();
    let parts = Parts { pads: [0, 0, 1, 1], groups: 3, ..Parts::square(5, (3, 3), 3, 2, 0) };
    check_exact(parts, &x, &w, &[-8.0, -80.0, 0.0].repeat(4));
}

#[test]
fn case_c06_dilation_2_with_same_padding() {
    let x: Vec<f32> = (1..=25).map(|i| i as f32).collect();
    let w = [1.0, 2.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0];
    let want = [
        [-12, -12, -1, 16, 18],
        [-12, -12, 4, 26, 28],
        [-7, -4, 21, 46, 51],
        [36, 40, 50, 44, 48],
        [56, 60, 75, 64, 68],
    ];
    let want: Vec<f32> = want.as_flattened().iter().map(|&y| y as f32).collect();
    let parts = Parts { dilation: (2, 2), ..Parts::square(5, (1, 1), 3, 1, 2) };
    check_exact(parts, &x, &w, &want);
}

#[test]
fn case_c08_two_groups_of_three_outputs() {
    let w = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 2.0, -1.0];
    let parts = Parts { groups: 2, ..Parts::square(1, (4, 6), 1, 1, 0) };
    check_exact(parts, &[1.0, 2.0, 3.0, 4.0], &w, &[1.0, 2.0, 3.0, 3.0, 4.0, 2.0]);
}

#[test]
fn nan_reaches_the_windows_of_its_group_alone() {
    let g = Parts { groups: 2, ..Parts::square(6, (4, 6), 3, 1, 1) }.geometry().unwrap();
    let w = values(1, 6 * 9 * 2);
    for cpu in Cpu::detect().levels() {
        let packed = PackedConvF32::pack(&cpu, g.kernel, 4, 6, 2, &w, None).unwrap();
        let spec = ConvSpec {
            geometry: g,
            ld_in: 4,
            ld_out: 16,
            residual_ld: None,
            activation: Activation::RELU6,
        };
        let op = ConvF32::new(Arc::new(packed), spec, 1).unwrap();
        let mut x = values(2, 36 * 4);
        x[(2 * 6 + 3) * 4 + 1] = f32::NAN;
        let mut y = vec![0.0; 36 * 16];
        run_f32(&op, &[&x], &mut [&mut y], &Par::single()).unwrap();
        for (i, pixel) in y.chunks(16).enumerate() {
            let near = (1..=3).contains(&(i / 6)) && (2..=4).contains(&(i % 6));
            for (oc, value) in pixel[..6].iter().enumerate() {
                assert_eq!(value.is_nan(), near && oc < 3, "{cpu} pixel {i} channel {oc}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let cpu = Cpu::detect();
    let pack = |hw, ic, oc, groups, len| {
        PackedConvF32::pack(&cpu, hw, ic, oc, groups, &vec![0.0; len], None)
    };
    let square = Hw::square(3);
    assert!(pack(square, 4, 6, 0, 216).is_err());
    assert!(pack(square, 4, 6, 4, 54).is_err());
    assert!(pack(square, 4, 6, 1, 215).is_err());
    assert!(pack(Hw { h: usize::MAX, w: 2 }, 4, 6, 1, 216).is_err());
    assert!(pack(square, 4, 0, 1, 0).is_err());
    let weights = Arc::new(pack(square, 4, 6, 1, 216).unwrap());
    let geometry = Parts::square(5, (4, 6), 3, 1, 1).geometry().unwrap();
    let good = ConvSpec {
        geometry,
        ld_in: 4,
        ld_out: 16,
        residual_ld: None,
        activation: Activation::Identity,
    };
    let build = |spec| ConvF32::new(Arc::clone(&weights), spec, 1).map(|op| op.block);
    assert_eq!(build(good), Ok(64));
    let with = |change: &dyn Fn(&mut ConvGeometry)| {
        let mut geometry = geometry;
        change(&mut geometry);
        ConvSpec { geometry, ..good }
    };
    for spec in [
        ConvSpec { ld_in: 3, ..good },
        ConvSpec { residual_ld: Some(0), ..good },
        with(&|g| g.groups = 2),
        with(&|g| g.kernel = Hw::square(1)),
        with(&|g| g.stride.w = usize::MAX),
        with(&|g| g.pad.top = usize::MAX),
        with(&|g| g.input.h = usize::MAX / 2),
        with(&|g| g.output.n = 2),
    ] {
        assert!(matches!(build(spec), Err(KernelError::Invalid { .. })), "{spec:?}");
    }
    let dense = ConvSpec { ld_out: 6, ..good };
    assert!(matches!(build(dense), Err(KernelError::Unsupported { .. })));
}

fn parts() -> impl Strategy<Value = Parts> {
    let pair = |range: std::ops::Range<usize>| (range.clone(), range);
    let shape = (1usize..3, pair(1..12), (1usize..5, 1usize..12), 1usize..4);
    let window = (pair(1..5), pair(1..4), pair(1..3), prop::array::uniform4(0usize..4));
    (shape, window).prop_map(|((n, hw, (ic, oc), groups), (kernel, stride, dilation, pads))| {
        Parts {
            n,
            hw,
            channels: (ic * groups, oc * groups),
            kernel,
            stride,
            dilation,
            pads,
            groups,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "aarch64") { 6 } else { 60 }))]
    #[test]
    fn any_geometry_matches_the_reference(
        parts in parts().prop_filter("a window fits", |parts| parts.geometry().is_some()),
        residual: bool,
        dense_input: bool,
    ) {
        Case { residual, dense_input, ..parts.case() }.check_all();
    }
}
