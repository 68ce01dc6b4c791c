mod qs8;

use super::*;
use crate::conv2d::{ConvSpec, PackedConvF32};
use crate::dwconv_f32::{DwConvF32, DwSpec, PackedDwF32};
use crate::gemm_f32::{GemmF32, GemmSpec, PackedGemmF32};
use crate::isa::Cpu;
use crate::stem::StemF32;
use crate::{Par, run_f32};
use depthwise_tensor::{Activation, ConvGeometry, Hw, Nhwc, Pad2d, padded_ld};
use proptest::prelude::*;
use std::sync::Arc;

/// Numbers in -1 .. 1 that repeat late.
fn noise(seed: usize, i: usize) -> f32 {
    let mixed = (i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed as u32 * 40_503);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x2c1b_3c6d);
    ((mixed >> 8) as f32) / (1 << 23) as f32 - 1.0
}

fn numbers(seed: usize, count: usize) -> Vec<f32> {
    (0..count).map(|i| noise(seed, i)).collect()
}

/// A chain under construction, with the picture that its last layer writes.
struct Chain {
    cpu: Cpu,
    stages: Vec<Stage>,
    picture: Nhwc,
}

impl Chain {
    fn new(cpu: Cpu, picture: Nhwc) -> Chain {
        Chain { cpu, stages: Vec::new(), picture }
    }

    fn pointwise(mut self, oc: usize, activation: Activation, residual: bool) -> Chain {
        let Nhwc { c: ic, .. } = self.picture;
        let seed = 10 * self.stages.len();
        let (w, bias) = (numbers(seed, ic * oc), numbers(seed + 1, oc));
        let weights = PackedGemmF32::pack(&self.cpu, ic, oc, &w, Some(&bias)).unwrap();
        let (lda, ldc) = (padded_ld(ic), padded_ld(oc));
        let (m, residual_ld) = (self.picture.pixels(), residual.then_some(ldc));
        let spec = GemmSpec { m, lda, ldc, residual_ld, activation };
        self.stages
            .push(Stage::Pointwise(Arc::new(GemmF32::new(Arc::new(weights), spec, 1).unwrap())));
        self.picture.c = oc;
        self
    }

    fn depthwise(mut self, kernel: usize, stride: usize, activation: Activation) -> Chain {
        let pad = kernel / 2;
        let geometry = self.geometry(Hw::square(kernel), stride, pad, self.picture.c);
        let geometry = ConvGeometry { groups: self.picture.c, ..geometry };
        let c = self.picture.c;
        let seed = 10 * self.stages.len();
        let (w, bias) = (numbers(seed, geometry.kernel.area() * c), numbers(seed + 1, c));
        let weights = PackedDwF32::pack(&self.cpu, geometry.kernel, c, 1, &w, Some(&bias)).unwrap();
        let ld = padded_ld(c);
        let spec = DwSpec { geometry, ld_in: ld, ld_out: ld, residual_ld: None, activation };
        let op = DwConvF32::new(Arc::new(weights), spec, 1).unwrap();
        self.stages.push(Stage::Depthwise(Arc::new(op)));
        self.picture = geometry.output;
        self
    }

    /// A stem of dense pixels, 3x3 with stride 2.
    fn stem(mut self, oc: usize) -> Chain {
        let geometry = self.geometry(Hw::square(3), 2, 1, oc);
        let ic = self.picture.c;
        let (w, bias) = (numbers(5, 9 * ic * oc), numbers(6, oc));
        let weights =
            PackedConvF32::pack(&self.cpu, geometry.kernel, ic, oc, 1, &w, Some(&bias)).unwrap();
        let spec = ConvSpec {
            geometry,
            ld_in: ic,
            ld_out: padded_ld(oc),
            residual_ld: None,
            activation: Activation::RELU6,
        };
        let op = StemF32::new(Arc::new(weights), spec, 1).unwrap();
        self.stages.push(Stage::Stem(Arc::new(op)));
        self.picture = geometry.output;
        self
    }

    fn geometry(&self, kernel: Hw, stride: usize, pad: usize, oc: usize) -> ConvGeometry {
        let Nhwc { n, h, w, .. } = self.picture;
        let out = |input: usize, kernel: usize| (input + 2 * pad - kernel) / stride + 1;
        ConvGeometry {
            input: self.picture,
            output: Nhwc { n, h: out(h, kernel.h), w: out(w, kernel.w), c: oc },
            kernel,
            stride: Hw::square(stride),
            dilation: Hw::ONE,
            pad: Pad2d { top: pad, left: pad, bottom: pad, right: pad },
            groups: 1,
        }
    }

    /// Layer by layer.
    fn unfused(&self, x: &[f32], residual: &[f32]) -> Vec<f32> {
        let par = Par::new(1).unwrap();
        let mut x = x.to_vec();
        for stage in &self.stages {
            let op = stage.operator();
            let mut y = vec![f32::NAN; op.output_bytes()[0] / 4];
            let inputs: &[&[f32]] =
                if op.input_bytes().len() == 2 { &[&x, residual] } else { &[&x] };
            run_f32(&*op, inputs, &mut [&mut y], &par).unwrap();
            x = y;
        }
        x
    }

    /// The meaningful lanes of every band height and number of threads, against layer by layer.
    fn check(&self, bands: &[usize]) {
        let first = self.stages[0].operator();
        let x = numbers(1, first.input_bytes()[0] / 4);
        let out = self.picture;
        let ld = padded_ld(out.c);
        let residual = numbers(2, out.pixels() * ld);
        let want = meaningful(&self.unfused(&x, &residual), out);
        for &band in bands {
            for threads in [1, 2, 3] {
                let op = Fused::new(self.stages.clone(), band, threads).unwrap();
                let mut y = vec![f32::NAN; out.pixels() * ld];
                let inputs: &[&[f32]] =
                    if op.input_bytes().len() == 2 { &[&x, &residual] } else { &[&x] };
                run_f32(&op, inputs, &mut [&mut y], &Par::new(threads).unwrap()).unwrap();
                assert!(
                    meaningful(&y, out) == want,
                    "{} bands of {band}, {threads} threads, to {out:?}",
                    op.kernel()
                );
            }
        }
    }
}

/// The bits of all lanes but the padding.
fn meaningful(y: &[f32], picture: Nhwc) -> Vec<u32> {
    let pixels = y.chunks_exact(padded_ld(picture.c));
    pixels.flat_map(|pixel| pixel[..picture.c].iter().map(|x| x.to_bits())).collect()
}

fn picture(n: usize, h: usize, w: usize, c: usize) -> Nhwc {
    Nhwc { n, h, w, c }
}

const BANDS: &[usize] = &[1, 2, 3, 4, 7, 100];

#[test]
fn an_inverted_residual_equals_its_layers_bit_for_bit() {
    for cpu in Cpu::detect().levels() {
        for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
            for residual in [false, true] {
                Chain::new(cpu, picture(2, 13, 11, 8))
                    .pointwise(40, Activation::RELU6, false)
                    .depthwise(kernel, stride, Activation::RELU6)
                    .pointwise(8, Activation::Identity, residual)
                    .check(BANDS);
            }
        }
    }
}

#[test]
fn other_chains_equal_their_layers_bit_for_bit() {
    for cpu in Cpu::detect().levels() {
        let start = || Chain::new(cpu, picture(1, 10, 9, 24));
        start()
            .depthwise(3, 1, Activation::HardSwish)
            .pointwise(32, Activation::HardSwish, false)
            .check(BANDS);
        start()
            .pointwise(72, Activation::Silu, false)
            .depthwise(5, 2, Activation::Silu)
            .check(BANDS);
        start()
            .depthwise(3, 2, Activation::RELU)
            .pointwise(16, Activation::Identity, false)
            .pointwise(48, Activation::RELU, false)
            .check(BANDS);
        Chain::new(cpu, picture(1, 32, 40, 3))
            .stem(16)
            .depthwise(3, 1, Activation::RELU6)
            .pointwise(8, Activation::Identity, false)
            .check(BANDS);
    }
}

#[test]
fn chains_that_do_not_fit_together_are_refused() {
    let cpu = Cpu::detect();
    let start = || Chain::new(cpu, picture(1, 8, 8, 16));
    let build = |stages: Vec<Stage>| Fused::new(stages, 4, 1).unwrap_err().to_string();
    let pointwise = start().pointwise(16, Activation::Identity, false).stages;
    let depthwise = start().depthwise(3, 1, Activation::Identity).stages;
    let wide = Chain::new(cpu, picture(1, 8, 8, 48)).depthwise(3, 1, Activation::Identity).stages;
    let large = Chain::new(cpu, picture(1, 9, 8, 16)).depthwise(3, 1, Activation::Identity).stages;
    let added = start().pointwise(16, Activation::Identity, true).stages;
    let chain = |parts: &[&Vec<Stage>]| parts.iter().flat_map(|p| p.iter().cloned()).collect();
    assert!(build(vec![]).contains("0 layers"));
    assert!(build(chain(&[&depthwise])).contains("1 layers"));
    assert!(build(chain(&[&pointwise, &pointwise])).contains("without a depthwise"));
    assert!(build(chain(&[&depthwise, &depthwise])).contains("before another"));
    assert!(build(chain(&[&pointwise, &wide])).contains("16 channels"));
    let bytes = qs8::Chain::new(cpu, picture(1, 8, 8, 16)).depthwise(3, (1, 1)).stages;
    assert!(build(chain(&[&pointwise, &bytes])).contains("of f32"));
    assert!(build(chain(&[&pointwise, &large])).contains("reads others"));
    assert!(build(chain(&[&added, &depthwise])).contains("a residual of layer 0"));
    assert!(
        build(chain(&[&depthwise, &pointwise, &depthwise, &pointwise, &pointwise]))
            .contains("5 layers")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "aarch64") { 8 } else { 48 }))]
    #[test]
    fn any_block_equals_its_layers_bit_for_bit(
        n in 1usize..3,
        h in 5usize..20,
        w in 5usize..20,
        c in 1usize..40,
        expanded in 1usize..80,
        oc in 1usize..40,
        kernel in prop::sample::select(vec![1usize, 3, 5, 7]),
        stride in 1usize..4,
        band in 1usize..9,
        residual in any::<bool>(),
    ) {
        prop_assume!(kernel <= h + 2 * (kernel / 2) && kernel <= w + 2 * (kernel / 2));
        Chain::new(Cpu::detect(), picture(n, h, w, c))
            .pointwise(expanded, Activation::RELU6, false)
            .depthwise(kernel, stride, Activation::RELU)
            .pointwise(oc, Activation::Identity, residual)
            .check(&[band]);
    }
}
