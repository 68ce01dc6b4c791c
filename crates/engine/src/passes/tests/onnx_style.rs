//! Graphs as an importer of NCHW files builds them.

use super::*;

impl Net {
    /// A convolution between Transposes, weights `oc,ic/groups,kh,kw` behind one too.
    pub(super) fn conv_nchw(&mut self, x: ValueId, conv: Conv2d, weights: [usize; 4]) -> ValueId {
        let seed = self.names as u64;
        let w = self.constant(noise(&weights, seed));
        self.conv_nchw_of(x, conv, w)
    }

    pub(super) fn conv_nchw_of(&mut self, x: ValueId, conv: Conv2d, w: ValueId) -> ValueId {
        let w = self.transpose(w, &TO_NHWC);
        let x = self.transpose(x, &TO_NHWC);
        let y = self.op(conv, &[x, w]);
        self.transpose(y, &TO_NCHW)
    }

    pub(super) fn pool_nchw(&mut self, x: ValueId, pool: Pool2d) -> ValueId {
        let x = self.transpose(x, &TO_NHWC);
        let y = self.op(pool, &[x]);
        self.transpose(y, &TO_NCHW)
    }

    pub(super) fn global_mean_nchw(&mut self, x: ValueId, keep_dims: bool) -> ValueId {
        self.op(Reduce { function: ReduceFn::Mean, axes: vec![2, 3], keep_dims }, &[x])
    }
}

fn pointwise() -> Conv2d {
    Conv2d::default()
}

fn spatial(stride: usize, groups: usize) -> Conv2d {
    Conv2d { stride: Hw::square(stride), padding: Padding::all(1), groups, ..Conv2d::default() }
}

/// An inverted residual with squeeze and excitation, as in MobileNetV3.
#[test]
fn block_with_squeeze_and_excitation_keeps_only_the_outer_transposes() {
    let mut net = Net::new();
    let x = net.free_input(4);
    let x0 = net.conv_nchw(x, spatial(2, 1), [4, 3, 3, 3]);
    let y = net.conv_nchw(x0, pointwise(), [8, 4, 1, 1]);
    let y = net.batch_norm(y, 8, 1);
    let y = net.activate(Activation::HardSwish, y);
    let y = net.conv_nchw(y, spatial(1, 8), [8, 1, 3, 3]);
    let y = net.batch_norm(y, 8, 1);
    let y = net.activate(Activation::HardSwish, y);
    let g = net.global_mean_nchw(y, true);
    let g = net.conv_nchw(g, pointwise(), [2, 8, 1, 1]);
    let g = net.activate(Activation::RELU, g);
    let g = net.conv_nchw(g, pointwise(), [8, 2, 1, 1]);
    let g = net.activate(Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }, g);
    let y = net.binary(BinaryFn::Mul, y, g);
    let y = net.conv_nchw(y, pointwise(), [4, 8, 1, 1]);
    let y = net.batch_norm(y, 4, 1);
    let y = net.binary(BinaryFn::Add, x0, y);
    let graph = net.output(y);
    let inputs = inputs(&graph, &[&[2, 3, 9, 8]]);
    let done = optimize_with(&graph, &inputs, &PassOptions::default());
    let want = [
        "Transpose",
        "Conv2d",
        "Conv2d",
        "DepthwiseConv2d",
        "Reduce",
        "Conv2d",
        "Conv2d",
        "Binary",
        "Conv2d",
        "Transpose",
    ];
    assert_eq!(kinds(&done.special), want, "{}", done.special);
    let kept = &kinds(&done.prepared);
    assert_eq!(kept.iter().filter(|k| **k == "Transpose").count(), 2, "already at load");
}

#[test]
fn classifier_head_reshapes_the_pooled_picture() {
    let heads: [fn(&mut Net, ValueId) -> ValueId; 5] = [
        |net, y| net.op(Flatten { axis: 1 }, &[y]),
        |net, y| net.reshape(y, &[-1, 6]),
        |net, y| net.reshape(y, &[0, -1]),
        |net, y| net.op(Squeeze { axes: vec![2, 3] }, &[y]),
        |net, y| {
            // Reshape to [Shape(y)[0], -1], as PyTorch exports `view`.
            let n = net.op(ShapeOf { start: 0, end: None }, &[y]);
            let zero = net.constant(Tensor::scalar(0i64));
            let n = net.op(Gather { axis: 0 }, &[n, zero]);
            let n = net.op(Unsqueeze { axes: vec![0] }, &[n]);
            let rest = net.constant(ints(&[-1]));
            let shape = net.op(Concat { axis: 0 }, &[n, rest]);
            net.op(Reshape { allow_zero: false }, &[y, shape])
        },
    ];
    for head in heads {
        let mut net = Net::new();
        let x = net.free_input(4);
        let y = net.conv_nchw(x, spatial(2, 1), [6, 3, 3, 3]);
        let y = net.global_mean_nchw(y, true);
        let y = head(&mut net, y);
        let w = net.constant(noise(&[10, 6], 4));
        let y = net.op(Dense { activation: Activation::Identity }, &[y, w]);
        let y = net.op(Softmax { axis: -1, log: false }, &[y]);
        let graph = net.output(y);
        let inputs = inputs(&graph, &[&[2, 3, 6, 6]]);
        let done = optimize_with(&graph, &inputs, &PassOptions::default());
        let want = ["Transpose", "Conv2d", "Reduce", "Reshape", "Dense", "Softmax"];
        let got: Vec<_> = kinds(&done.special)
            .iter()
            .map(|&kind| if kind == "Squeeze" || kind == "Flatten" { "Reshape" } else { kind })
            .collect();
        assert_eq!(got, want, "{}", done.special);
    }
}

/// Box heads of detectors: the file transposes to NHWC itself before it flattens the picture.
#[test]
fn detector_head_that_transposes_itself_keeps_no_transpose() {
    let mut net = Net::new();
    let x = net.free_input(4);
    let features = net.conv_nchw(x, spatial(2, 1), [6, 3, 3, 3]);
    let features = net.activate(Activation::RELU, features);
    let mut heads = Vec::new();
    for outputs in [4, 6] {
        let y = net.conv_nchw(features, spatial(1, 1), [outputs, 6, 3, 3]);
        let y = net.transpose(y, &TO_NHWC);
        heads.push(net.reshape(y, &[1, -1, 2]));
    }
    let y = net.op(Concat { axis: 1 }, &heads);
    let y = net.op(Softmax { axis: 2, log: false }, &[y]);
    let graph = net.output(y);
    let inputs = inputs(&graph, &[&[1, 3, 6, 6]]);
    let done = optimize_with(&graph, &inputs, &PassOptions::default());
    assert_eq!(count(&done.special, "Transpose"), 1, "{}", done.special);
}

/// An upsampling whose size is computed from another feature map, and a concatenation.
#[test]
fn pyramid_of_features_runs_in_nhwc() {
    let mut net = Net::new();
    let x = net.free_input(4);
    let large = net.conv_nchw(x, spatial(1, 1), [4, 3, 3, 3]);
    let small = net.conv_nchw(large, spatial(2, 1), [4, 4, 3, 3]);
    let extents = net.op(ShapeOf { start: 0, end: None }, &[large]);
    let [two, four] = [2, 4].map(|v| net.constant(ints(&[v])));
    let spatial_extents = net.op(Slice, &[extents, two, four]);
    let own = net.op(ShapeOf { start: 0, end: Some(2) }, &[small]);
    let sizes = net.op(Concat { axis: 0 }, &[own, spatial_extents]);
    let resize = Resize { mode: ResizeMode::Linear, coordinates: Coordinates::HalfPixel };
    let up = net.op(resize, &[small, sizes]);
    let both = net.op(Concat { axis: 1 }, &[large, up]);
    let zero = net.constant(ints(&[1]));
    let end = net.constant(ints(&[7]));
    let axes = net.constant(ints(&[1]));
    let part = net.op(Slice, &[both, zero, end, axes]);
    let y = net.conv_nchw(part, spatial(1, 1), [2, 6, 3, 3]);
    let graph = net.output(y);
    let inputs = inputs(&graph, &[&[1, 3, 7, 6]]);
    let done = optimize_with(&graph, &inputs, &PassOptions::default());
    let want =
        ["Transpose", "Conv2d", "Conv2d", "Resize", "Concat", "Slice", "Conv2d", "Transpose"];
    assert_eq!(kinds(&done.special), want, "{}", done.special);
}

/// Excitation through dense layers and an Unsqueeze, which is no transposed picture.
#[test]
fn gate_from_dense_layers_is_reshaped_to_nhwc() {
    let mut net = Net::new();
    let x = net.free_input(4);
    let y = net.conv_nchw(x, spatial(1, 1), [4, 3, 3, 3]);
    let g = net.global_mean_nchw(y, false);
    let w = net.constant(noise(&[4, 4], 4));
    let g = net.op(Dense { activation: Activation::Sigmoid }, &[g, w]);
    let g = net.op(Unsqueeze { axes: vec![2, 3] }, &[g]);
    let y = net.binary(BinaryFn::Mul, y, g);
    let y = net.conv_nchw(y, pointwise(), [2, 4, 1, 1]);
    let graph = net.output(y);
    let inputs = inputs(&graph, &[&[2, 3, 5, 6]]);
    let done = optimize_with(&graph, &inputs, &PassOptions::default());
    assert_eq!(count(&done.special, "Transpose"), 2, "{}", done.special);
}
