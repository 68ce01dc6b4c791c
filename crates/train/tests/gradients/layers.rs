//! Convolutions, dense layers, batch normalization, pools, interpolation.

use super::{ANY, check, check_op, ints};
use depthwise_layers::{
    Activate, Activation, BatchNormTrain, Conv2d, Conv2dInputGrad, Coordinates, Dense,
    DepthwiseConv2d, NearestRounding, Padding, Pool2d, PoolKind, Resize, ResizeMode,
};
use depthwise_tensor::{Hw, Pad2d};
use proptest::prelude::*;

fn hw(h: usize, w: usize) -> Hw {
    Hw { h, w }
}

/// Paddings that differ on every side, and both rules.
fn padding() -> impl Strategy<Value = Padding> {
    prop_oneof![
        Just(Padding::Same),
        Just(Padding::SameLower),
        Just(Padding::Explicit(Pad2d { top: 2, bottom: 0, left: 1, right: 3 })),
        Just(Padding::all(1)),
    ]
}

fn window() -> impl Strategy<Value = (usize, usize, Hw, Hw)> {
    let kernel = prop::sample::select(vec![1usize, 2, 3, 5]);
    (kernel.clone(), kernel, 1usize..3, 1usize..3, 1usize..3, 1usize..3)
        .prop_map(|(kh, kw, sh, sw, dh, dw)| (kh, kw, hw(sh, sw), hw(dh, dw)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn convolutions(
        (kh, kw, stride, dilation) in window(),
        padding in padding(),
        groups in 1usize..3,
        (ic, oc) in (1usize..4, 1usize..4),
        (h, w) in (9usize..12, 9usize..12),
    ) {
        let conv = Conv2d { stride, dilation, padding, groups, activation: Activation::Identity };
        let (x, w) = ([2, h, w, ic * groups], [oc * groups, kh, kw, ic]);
        check_op(&format!("{conv:?}"), conv, &[(&x, ANY), (&w, ANY)]);
    }

    #[test]
    fn depthwise_convolutions(
        (kh, kw, stride, dilation) in window(),
        padding in padding(),
        multiplier in 1usize..3,
        c in 1usize..5,
        (h, w) in (9usize..12, 9usize..12),
    ) {
        let conv = DepthwiseConv2d { stride, dilation, padding, activation: Activation::Identity };
        let (x, w) = ([2, h, w, c], [kh, kw, c * multiplier]);
        check_op(&format!("{conv:?}"), conv, &[(&x, ANY), (&w, ANY)]);
    }

    #[test]
    fn transposed_convolutions((kh, kw, stride, dilation) in window(), padding in padding()) {
        let conv = Conv2d { stride, dilation, padding, groups: 1, activation: Activation::Identity };
        let shapes = [[2, 9, 10, 2], [3, kh, kw, 2]].map(|d| depthwise_tensor::Shape::new(&d).unwrap());
        let y = conv.geometry(shapes[0], shapes[1]).unwrap().output;
        let layer = Conv2dInputGrad { conv, input: hw(9, 10) };
        let operands: [(&[usize], _); 2] = [(&[2, y.h, y.w, 3], ANY), (&[3, kh, kw, 2], ANY)];
        check_op("transposed", layer, &operands);
    }

    #[test]
    fn pools(
        (kh, kw, stride, dilation) in window(),
        ceil_mode: bool,
        padded in 0usize..2,
        kind in prop::sample::select(vec![
            PoolKind::Max,
            PoolKind::Average { include_pad: true },
            PoolKind::Average { include_pad: false },
        ]),
    ) {
        let padding = Padding::all(padded.min(kh - 1).min(kw - 1));
        let kernel = hw(kh, kw);
        let pool = Pool2d { kind, kernel, stride, dilation, padding, ceil_mode };
        check_op(&format!("{pool:?}"), pool, &[(&[2, 11, 10, 3], ANY)]);
    }
}

#[test]
fn dense_layers() {
    let dense = Dense { activation: Activation::Identity };
    check_op("dense", dense.clone(), &[(&[5, 7], ANY), (&[3, 7], ANY)]);
    check_op("dense of rank 3", dense.clone(), &[(&[2, 3, 4], ANY), (&[5, 4], ANY)]);
    check_op("dense of a vector", dense, &[(&[4], ANY), (&[5, 4], ANY)]);
}

#[test]
fn batch_normalization() {
    let norm = |axis| BatchNormTrain { epsilon: 1e-3, axis };
    let all: [(&[usize], _); 3] = [(&[3, 2, 4, 3], ANY), (&[3], (0.5, 2.0)), (&[3], ANY)];
    check("channels last", &all, |g, x| {
        let inputs: Vec<_> = x.iter().copied().map(Some).collect();
        g.add_node("n", norm(-1), &inputs, &["y", "mean", "var"])[0]
    });
    check("channels first", &[(&[3, 2, 4], ANY), (&[2], (0.5, 2.0)), (&[2], ANY)], |g, x| {
        let inputs: Vec<_> = x.iter().copied().map(Some).collect();
        g.add_node("n", norm(1), &inputs, &["y", "mean", "var"])[0]
    });
    check("without weights", &[(&[6, 2], ANY)], |g, x| {
        g.add_node("n", norm(-1), &[Some(x[0])], &["y", "mean", "var"])[0]
    });
}

#[test]
fn activations() {
    let all = [
        Activation::Identity,
        Activation::RELU,
        Activation::RELU6,
        Activation::Clip { min: -0.5, max: 0.75 },
        Activation::LeakyRelu { alpha: 0.2 },
        Activation::LeakyRelu { alpha: -0.2 },
        Activation::Elu { alpha: 0.7 },
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Activation::HardSwish,
        Activation::Silu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Softplus,
    ];
    for activation in all {
        check_op(&activation.to_string(), Activate { activation }, &[(&[3, 24], (-4.0, 8.0))]);
    }
}

#[test]
fn interpolations() {
    let modes = [
        ResizeMode::Linear,
        ResizeMode::Nearest(NearestRounding::RoundPreferFloor),
        ResizeMode::Cubic { a: -0.75, exclude_outside: true },
    ];
    let coordinates = [Coordinates::HalfPixel, Coordinates::AlignCorners, Coordinates::Asymmetric];
    for (mode, coordinates) in modes.into_iter().flat_map(|m| coordinates.map(|c| (m, c))) {
        for size in [[2, 7, 9, 2], [2, 3, 2, 2]] {
            check("resize", &[(&[2, 4, 5, 2], ANY)], |g, x| {
                let size = ints(g, &size);
                g.add("y", Resize { mode, coordinates }, &[x[0], size])
            });
        }
    }
}
