//! Small networks that several tests run.
#![allow(dead_code, reason = "each test file uses a part")]

use depthwise_engine::layers::ir::{Dim, InputType, ValueId};
use depthwise_engine::layers::{
    Binary, BinaryFn, Conv2d, Dense, DepthwiseConv2d, Flatten, Padding, Reduce, ReduceFn, Softmax,
};
use depthwise_engine::tensor::Hw;
use depthwise_engine::{Activation, DType, Graph, Tensor};

/// Numbers between -0.5 and 0.5 that differ from each other, the same on every machine.
pub(crate) fn numbers(dims: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let data = (0..dims.iter().product()).map(|_| next()).collect();
    Tensor::from_vec(dims, data).unwrap()
}

pub(crate) struct Builder {
    pub(crate) graph: Graph,
    seed: u64,
}

impl Builder {
    pub(crate) fn new(name: &str) -> Builder {
        Builder { graph: Graph::new(name), seed: 1 }
    }

    fn weight(&mut self, dims: &[usize]) -> ValueId {
        self.seed += 1;
        let tensor = numbers(dims, self.seed);
        self.graph.add_const(format!("w{}", self.seed), tensor)
    }

    pub(crate) fn conv(
        &mut self,
        x: ValueId,
        ic: usize,
        oc: usize,
        kernel: usize,
        stride: usize,
    ) -> ValueId {
        let w = self.weight(&[oc, kernel, kernel, ic]);
        let b = self.weight(&[oc]);
        let layer = Conv2d {
            stride: Hw::square(stride),
            padding: Padding::Same,
            activation: Activation::HardSwish,
            ..Conv2d::default()
        };
        let name = format!("conv{}", self.seed);
        self.graph.add(&name, layer, &[x, w, b])
    }

    pub(crate) fn depthwise(
        &mut self,
        x: ValueId,
        c: usize,
        kernel: usize,
        stride: usize,
    ) -> ValueId {
        let w = self.weight(&[kernel, kernel, c]);
        let b = self.weight(&[c]);
        let layer = DepthwiseConv2d {
            stride: Hw::square(stride),
            padding: Padding::Same,
            activation: Activation::RELU6,
            ..DepthwiseConv2d::default()
        };
        let name = format!("dw{}", self.seed);
        self.graph.add(&name, layer, &[x, w, b])
    }

    /// Squeeze and excite: a gate per channel from the mean over the picture.
    pub(crate) fn gate(&mut self, x: ValueId, c: usize) -> ValueId {
        let mean = Reduce { function: ReduceFn::Mean, axes: vec![1, 2], keep_dims: true };
        let name = format!("gate{}", self.seed);
        let mean = self.graph.add(&format!("{name}.mean"), mean, &[x]);
        let w = self.weight(&[c, 1, 1, c]);
        let layer = Conv2d { activation: Activation::Sigmoid, ..Conv2d::default() };
        let gate = self.graph.add(&format!("{name}.gate"), layer, &[mean, w]);
        let mul = Binary { function: BinaryFn::Mul, activation: Activation::Identity };
        self.graph.add(&format!("{name}.mul"), mul, &[x, gate])
    }

    pub(crate) fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        let layer = Binary { function: BinaryFn::Add, activation: Activation::RELU };
        self.seed += 1;
        self.graph.add(&format!("add{}", self.seed), layer, &[a, b])
    }

    pub(crate) fn classifier(&mut self, x: ValueId, c: usize, classes: usize) -> ValueId {
        let mean = Reduce { function: ReduceFn::Mean, axes: vec![1, 2], keep_dims: true };
        let mean = self.graph.add("pool", mean, &[x]);
        let flat = self.graph.add("flat", Flatten { axis: 1 }, &[mean]);
        let (w, b) = (self.weight(&[classes, c]), self.weight(&[classes]));
        let layer = Dense { activation: Activation::Identity };
        let logits = self.graph.add("logits", layer, &[flat, w, b]);
        self.graph.add("scores", Softmax { axis: -1, log: false }, &[logits])
    }
}

/// A mobile network in miniature: stem, depthwise, gate, residual, stride, classifier. Channels are
/// no multiples of a vector.
pub(crate) fn mobile(dims: Vec<Dim>) -> Graph {
    let mut b = Builder::new("mobile");
    let x = b.graph.add_input("x", InputType { dtype: DType::F32, dims });
    let stem = b.conv(x, 3, 12, 3, 2);
    let expand = b.conv(stem, 12, 40, 1, 1);
    let dw = b.depthwise(expand, 40, 3, 1);
    let gate = b.gate(dw, 40);
    let project = b.conv(gate, 40, 12, 1, 1);
    let add = b.add(project, stem);
    let expand = b.conv(add, 12, 72, 1, 1);
    let dw = b.depthwise(expand, 72, 5, 2);
    let project = b.conv(dw, 72, 24, 1, 1);
    let scores = b.classifier(project, 24, 10);
    b.graph.add_output(scores);
    b.graph.add_output(project);
    b.graph
}

pub(crate) fn fixed(dims: &[usize]) -> Vec<Dim> {
    dims.iter().map(|&d| Dim::Fixed(d)).collect()
}

/// Largest difference, relative to the largest magnitude of `want`.
pub(crate) fn relative_error(got: &Tensor, want: &Tensor) -> f32 {
    assert_eq!(got.shape(), want.shape());
    let (got, want) = (got.to_f32(), want.to_f32());
    let scale = want.iter().fold(f32::MIN_POSITIVE, |m, x| m.max(x.abs()));
    got.iter().zip(&*want).fold(0.0, |m: f32, (g, w)| {
        assert!(g.is_finite(), "{g} instead of {w}");
        m.max((g - w).abs() / scale)
    })
}
