//! Proptest strategies: geometries around vector widths.

use depthwise_layers::{Conv2d, DepthwiseConv2d, Padding, Pool2d, PoolKind};
use depthwise_tensor::{Activation, Hw, Pad2d};
use proptest::prelude::*;

/// Channel counts one below, at and above the vector widths of 8 and 16 elements, and a few odd
/// ones.
pub fn channels() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![1usize, 7, 8, 9, 15, 16, 17, 33])
}

/// Activations that kernels fuse.
pub fn activation() -> impl Strategy<Value = Activation> {
    prop::sample::select(vec![
        Activation::Identity,
        Activation::RELU,
        Activation::RELU6,
        Activation::Clip { min: -0.5, max: 0.25 },
        Activation::LeakyRelu { alpha: 0.1 },
        Activation::Sigmoid,
        Activation::HardSwish,
        Activation::Silu,
    ])
}

/// A window along one axis together with an input that it fits.
#[derive(Clone, Copy, Debug)]
struct Axis {
    input: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    before: usize,
    after: usize,
}

fn axis() -> impl Strategy<Value = Axis> {
    let sizes = (1usize..=7, 1usize..=3, 1usize..=3, 1usize..=9, 0usize..3);
    sizes.prop_flat_map(|(kernel, stride, dilation, outputs, spare)| {
        let reach = dilation * (kernel - 1) + 1;
        (0..=reach.min(4), 0..=reach.min(4)).prop_map(move |(before, after)| {
            let padded = (outputs - 1) * stride + reach + spare % stride;
            let input = padded.saturating_sub(before + after).max(1);
            Axis { input, kernel, stride, dilation, before, after }
        })
    })
}

/// Window and picture size; the padding rule is explicit half of the time, and where it is not the
/// picture may only have grown.
fn window() -> impl Strategy<Value = (Hw, Hw, Hw, Hw, Padding)> {
    (axis(), axis(), 0..6usize).prop_map(|(rows, cols, rule)| {
        let hw = |of: fn(&Axis) -> usize| Hw { h: of(&rows), w: of(&cols) };
        let explicit = Padding::Explicit(Pad2d {
            top: rows.before,
            left: cols.before,
            bottom: rows.after,
            right: cols.after,
        });
        let padding = match rule {
            0 => Padding::Same,
            1 => Padding::SameLower,
            2 => Padding::Valid,
            _ => explicit,
        };
        let input = if padding == Padding::Valid {
            hw(|a| a.input + a.before + a.after)
        } else {
            hw(|a| a.input)
        };
        (input, hw(|a| a.kernel), hw(|a| a.stride), hw(|a| a.dilation), padding)
    })
}

/// A convolution and the extents of its picture and weights.
#[derive(Clone, Debug)]
pub struct ConvCase {
    /// The layer.
    pub layer: Conv2d,
    /// `N,H,W,C`
    pub x: [usize; 4],
    /// `OC,KH,KW,C/groups`
    pub w: [usize; 4],
}

/// Convolutions with kernels of 1 to 7, strides and dilations of 1 to 3, every padding rule, 1 or
/// more groups and 1 or 2 pictures.
pub fn conv2d() -> impl Strategy<Value = ConvCase> {
    let groups = prop_oneof![3 => Just(1usize), 1 => 2..=4usize];
    let sizes = (1..=2usize, channels(), channels(), groups);
    (window(), sizes, activation()).prop_map(|(window, (n, ic, oc, groups), activation)| {
        let (input, kernel, stride, dilation, padding) = window;
        let layer = Conv2d { stride, dilation, padding, groups, activation };
        let x = [n, input.h, input.w, ic * groups];
        ConvCase { layer, x, w: [oc * groups, kernel.h, kernel.w, ic] }
    })
}

/// A depthwise convolution and the extents of its picture and weights.
#[derive(Clone, Debug)]
pub struct DepthwiseCase {
    /// The layer.
    pub layer: DepthwiseConv2d,
    /// `N,H,W,C`
    pub x: [usize; 4],
    /// `KH,KW,C*m`
    pub w: [usize; 3],
}

/// Depthwise convolutions with kernels of 1 to 7, strides and dilations of 1 to 3, every padding
/// rule and 1 or 2 pictures; one filter per channel three times of four, else up to 3.
pub fn depthwise_conv2d() -> impl Strategy<Value = DepthwiseCase> {
    let multiplier = prop_oneof![3 => Just(1usize), 1 => 2..=3usize];
    let sizes = (1..=2usize, channels(), multiplier);
    (window(), sizes, activation()).prop_map(|(window, (n, c, m), activation)| {
        let (input, kernel, stride, dilation, padding) = window;
        let layer = DepthwiseConv2d { stride, dilation, padding, activation };
        let x = [n, input.h, input.w, c];
        DepthwiseCase { layer, x, w: [kernel.h, kernel.w, c * m] }
    })
}

/// A pool and the extents of its picture.
#[derive(Clone, Debug)]
pub struct PoolCase {
    /// The layer.
    pub layer: Pool2d,
    /// `N,H,W,C`
    pub x: [usize; 4],
}

/// Pools of both kinds, with the same windows as convolutions, sizes rounded down or up.
pub fn pool2d() -> impl Strategy<Value = PoolCase> {
    let kind = prop::sample::select(vec![
        PoolKind::Max,
        PoolKind::Average { include_pad: false },
        PoolKind::Average { include_pad: true },
    ]);
    (window(), kind, any::<bool>(), 1..=2usize, channels()).prop_map(
        |(window, kind, ceil_mode, n, c)| {
            let (input, kernel, stride, dilation, padding) = window;
            let layer = Pool2d { kind, kernel, stride, dilation, padding, ceil_mode };
            PoolCase { layer, x: [n, input.h, input.w, c] }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use depthwise_tensor::Shape;

    fn shape(dims: &[usize]) -> Shape {
        Shape::new(dims).unwrap()
    }

    proptest! {
        #[test]
        fn every_convolution_is_one(case in conv2d()) {
            let g = case.layer.geometry(shape(&case.x), shape(&case.w)).unwrap();
            prop_assert!(g.output.h > 0 && g.output.w > 0);
        }

        #[test]
        fn every_depthwise_convolution_is_one(case in depthwise_conv2d()) {
            let g = case.layer.geometry(shape(&case.x), shape(&case.w)).unwrap();
            prop_assert_eq!(g.groups, case.x[3]);
        }

        #[test]
        fn every_pool_is_one(case in pool2d()) {
            let g = case.layer.geometry(shape(&case.x)).unwrap();
            prop_assert!(g.output.h > 0 && g.output.w > 0);
        }
    }
}
