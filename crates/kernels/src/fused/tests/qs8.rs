//! Chains of layers of bytes, against the same layers one by one.

use super::{BANDS, Fused, Stage, picture};
use crate::conv2d_qs8::tests::geometry;
use crate::conv2d_qs8::{ConvQSpec, ConvQs8, PackedConvQs8};
use crate::dwconv_qs8::{DwConvQs8, DwQSpec, PackedDwQs8};
use crate::gemm_qs8::tests::{bytes, run_guarded, signed, spread};
use crate::gemm_qs8::{GemmQSpec, GemmQs8, PackedGemmQs8};
use crate::isa::Cpu;
use crate::operator::{Operator, run};
use crate::par::Par;
use crate::quant::{Out8, Output, QWeights, Quant8, Weights8};
use depthwise_tensor::{Hw, Nhwc, padded_ld};
use proptest::prelude::*;
use std::sync::Arc;

/// A chain under construction, with the picture that its last layer writes and the bytes of it.
pub(super) struct Chain {
    cpu: Cpu,
    pub(super) stages: Vec<Stage>,
    first: Nhwc,
    picture: Nhwc,
    quant: Quant8,
}

/// Weights of a layer.
struct Numbers {
    weights: Vec<u8>,
    bias: Vec<i32>,
    multipliers: Vec<f32>,
    input: Quant8,
    output: Out8,
}

impl Numbers {
    fn weights(&self) -> QWeights<'_> {
        let weights = Weights8::I8(signed(&self.weights));
        QWeights { weights, zero_points: &[], bias: Some(&self.bias) }
    }
}

impl Chain {
    pub(super) fn new(cpu: Cpu, picture: Nhwc) -> Chain {
        Chain { cpu, stages: Vec::new(), first: picture, picture, quant: Quant8::u8(131) }
    }

    /// Weights of `oc` channels, `depth` products each, so that results are spread over the type
    /// and some lie past its bounds. Every layer has zero points of its own.
    fn numbers(&mut self, oc: usize, depth: usize) -> Numbers {
        let seed = 10 * self.stages.len() as u32 + 3;
        let zero = bytes(seed, 1)[0];
        let output = if self.stages.len().is_multiple_of(2) {
            Out8::clamped(Quant8::u8(zero), 40, 250).unwrap()
        } else {
            Out8::full(Quant8::i8(zero.cast_signed()))
        };
        let scale = 0.01 / (depth as f32).sqrt();
        Numbers {
            weights: bytes(seed + 1, oc * depth),
            bias: bytes(seed + 2, oc).iter().map(|&b| (i32::from(b) - 128) * 100).collect(),
            multipliers: (0..oc).map(|c| scale / (1.0 + c as f32 / 50.0)).collect(),
            input: std::mem::replace(&mut self.quant, output.quant),
            output,
        }
    }

    fn push(mut self, stage: Stage, picture: Nhwc) -> Chain {
        self.stages.push(stage);
        self.picture = picture;
        self
    }

    fn pointwise(mut self, oc: usize) -> Chain {
        let ic = self.picture.c;
        let numbers = self.numbers(oc, ic);
        let weights = PackedGemmQs8::pack(&self.cpu, ic, oc, &numbers.weights()).unwrap();
        // Only what follows another layer has to be padded.
        let lda = if self.stages.is_empty() { ic } else { padded_ld(ic) };
        let output = Output::Bytes(numbers.output);
        let (m, ldc, input) = (self.picture.pixels(), padded_ld(oc), numbers.input);
        let spec = GemmQSpec { m, lda, ldc, input, output };
        let op = GemmQs8::new(Arc::new(weights), &numbers.multipliers, spec, 1).unwrap();
        let picture = Nhwc { c: oc, ..self.picture };
        self.push(Stage::PointwiseQs8(Arc::new(op)), picture)
    }

    pub(super) fn depthwise(mut self, kernel: usize, step: (usize, usize)) -> Chain {
        let Nhwc { n, h, w, c } = self.picture;
        let geometry =
            geometry((n, h, w, c), (c, c), Hw::square(kernel), step, kernel / 2 * step.1);
        let numbers = self.numbers(c, geometry.kernel.area());
        let weights =
            PackedDwQs8::pack(&self.cpu, geometry.kernel, c, 1, &numbers.weights()).unwrap();
        let ld = padded_ld(c);
        let Numbers { input, output, .. } = numbers;
        let spec = DwQSpec { geometry, ld_in: ld, ld_out: ld, input, output };
        let op = DwConvQs8::new(Arc::new(weights), &numbers.multipliers, spec, 1).unwrap();
        self.push(Stage::DepthwiseQs8(Arc::new(op)), geometry.output)
    }

    /// A first layer of dense pixels, with stride 2.
    fn stem(mut self, kernel: usize, oc: usize) -> Chain {
        let Nhwc { n, h, w, c } = self.picture;
        let geometry = geometry((n, h, w, c), (oc, 1), Hw::square(kernel), (2, 1), kernel / 2);
        let numbers = self.numbers(oc, geometry.kernel.area() * c);
        let weights = &numbers.weights();
        let weights = PackedConvQs8::pack(&self.cpu, geometry.kernel, (c, oc, 1), weights).unwrap();
        let output = Output::Bytes(numbers.output);
        let (ld_out, input) = (padded_ld(oc), numbers.input);
        let spec = ConvQSpec { geometry, ld_in: c, ld_out, input, output };
        let op = ConvQs8::new(Arc::new(weights), &numbers.multipliers, spec, 1).unwrap();
        self.push(Stage::StemQs8(Arc::new(op)), geometry.output)
    }

    /// Layer by layer: the bytes of all channels.
    fn unfused(&self, x: &[u8]) -> Vec<u8> {
        let mut x = x.to_vec();
        for stage in &self.stages {
            let op = stage.operator();
            let mut y = vec![0; op.output_bytes()[0]];
            run(&*op, &[&x], &mut [&mut y], &Par::single()).unwrap();
            x = y;
        }
        let pixels = x.chunks_exact(padded_ld(self.picture.c));
        pixels.flat_map(|pixel| pixel[..self.picture.c].to_vec()).collect()
    }

    /// Every band height and number of threads, between guard bytes, against layer by layer.
    fn check(&self, bands: &[usize]) {
        let Nhwc { c, .. } = self.first;
        let dense = !matches!(self.stages[0], Stage::DepthwiseQs8(_));
        let ld = if dense { c } else { padded_ld(c) };
        let x = spread(&bytes(1, self.first.pixels() * c), c, ld);
        let want = self.unfused(&x);
        let (low, high) = (want.iter().min().unwrap(), want.iter().max().unwrap());
        assert!(want.len() < 100 || high - low > 20, "results from {low} to {high}");
        for &band in bands {
            let build = |threads| {
                let op = Fused::new(self.stages.clone(), band, threads)?;
                Ok(Box::new(op) as Box<dyn Operator>)
            };
            let got = run_guarded(&build, &[&x], (self.picture.c, padded_ld(self.picture.c)));
            assert!(got == want, "bands of {band}, {:?}", self.stages);
        }
    }
}

#[test]
fn an_inverted_residual_of_bytes_equals_its_layers() {
    for cpu in Cpu::detect().levels() {
        for (kernel, stride, dilation) in [(3, 1, 1), (3, 2, 1), (5, 1, 1), (5, 2, 1), (3, 1, 2)] {
            let chain = Chain::new(cpu, picture(2, 13, 11, 12)).pointwise(40);
            chain.depthwise(kernel, (stride, dilation)).pointwise(20).check(BANDS);
        }
    }
}

#[test]
fn other_chains_of_bytes_equal_their_layers() {
    for cpu in Cpu::detect().levels() {
        let start = || Chain::new(cpu, picture(2, 10, 9, 24));
        start().depthwise(3, (1, 1)).pointwise(33).check(BANDS);
        start().depthwise(3, (2, 1)).pointwise(16).pointwise(48).check(BANDS);
        start().pointwise(72).depthwise(5, (2, 1)).check(BANDS);
        let start = || Chain::new(cpu, picture(2, 31, 18, 3));
        start().stem(3, 16).depthwise(3, (1, 1)).pointwise(8).check(BANDS);
        start().stem(5, 24).depthwise(3, (2, 1)).check(BANDS);
    }
}

#[test]
fn chains_of_bytes_are_named_by_their_layers() {
    let start = || Chain::new(Cpu::detect(), picture(1, 8, 8, 16));
    let name = |chain: Chain| Fused::new(chain.stages, 4, 1).unwrap().kernel();
    let block = start().pointwise(32).depthwise(3, (1, 1)).pointwise(16);
    assert_eq!(name(block), "fused_qs8_pw_dw_pw");
    assert_eq!(name(start().depthwise(3, (1, 1)).pointwise(16)), "fused_qs8_dw_pw");
    assert_eq!(name(start().stem(3, 16).depthwise(3, (1, 1))), "fused_qs8_stem_dw");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "aarch64") { 8 } else { 48 }))]
    #[test]
    fn any_block_of_bytes_equals_its_layers(
        (n, h, w) in (1usize..3, 1usize..20, 1usize..20),
        (c, expanded, oc) in (1usize..40, 1usize..80, 1usize..40),
        kernel in prop::sample::select(vec![1usize, 2, 3, 5, 7]),
        step in (1usize..4, 1usize..4),
        band in 1usize..9,
    ) {
        let chain = Chain::new(Cpu::detect(), picture(n, h, w, c)).pointwise(expanded);
        chain.depthwise(kernel, step).pointwise(oc).check(&[band]);
    }
}
