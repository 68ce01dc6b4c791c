//! Convolutions.

use super::context::{Context, Fail, Weights, unsupported};
use super::fold::Fold;
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{Activation, Conv2d, ConvTranspose2d, DepthwiseConv2d, Padding};
use depthwise_tensor::{Hw, Pad2d};

pub(super) const ROWS: &[Row] = &[
    row(3, "CONV_2D", conv_2d),
    row(4, "DEPTHWISE_CONV_2D", depthwise_conv_2d),
    row(67, "TRANSPOSE_CONV", transpose_conv),
];

/// The rule of field 0.
pub(super) fn padding(c: &Context<'_, '_>) -> Result<Padding, Fail> {
    match c.i8(0)? {
        0 => Ok(Padding::Same),
        1 => Ok(Padding::Valid),
        other => unsupported(format!("the padding rule number {other}")),
    }
}

/// Height and width from two fields, of which the width comes first.
pub(super) fn hw(c: &Context<'_, '_>, width: usize, default: i32, what: &str) -> Result<Hw, Fail> {
    let (w, h) = (c.positive(width, default, what)?, c.positive(width + 1, default, what)?);
    Ok(Hw { h, w })
}

/// Padding and dilation, those of a dilated convolution that was written as several operators
/// included.
fn window(c: &Context<'_, '_>, dilation: usize) -> Result<(Padding, Hw), Fail> {
    match c.fold {
        Some(Fold::Dilated { dilation, pad }) => Ok((Padding::Explicit(pad), dilation)),
        _ => Ok((padding(c)?, hw(c, dilation, 1, "dilation")?)),
    }
}

/// The constant weights, of rank 4.
fn weights(c: &mut Context<'_, '_>, i: usize) -> Result<Weights, Fail> {
    match c.weight(i)? {
        Some(weights) if weights.stored.shape().rank() == 4 => Ok(weights),
        Some(weights) => {
            unsupported(format!("weights of {} dimensions", weights.stored.shape().rank()))
        }
        None => unsupported("weights that are not constant"),
    }
}

fn conv_2d(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let weights = weights(c, 1)?;
    let shape = *weights.stored.shape();
    let depth = shape[3];
    let channels = c.ty(x).shape.last().copied().unwrap_or_default();
    if depth == 0 || !channels.is_multiple_of(depth) {
        return unsupported(format!(
            "weights {shape} take {depth} channels, but its input has {channels}"
        ));
    }
    let (padding, dilation) = window(c, 4)?;
    let conv = Conv2d {
        stride: hw(c, 1, 0, "stride")?,
        dilation,
        padding,
        groups: channels / depth,
        activation: c.activation(3)?,
    };
    let w = c.add_weights("weights", weights)?;
    let bias = c.bias(2)?;
    c.add_many("", conv, &[Some(x), Some(w), bias])
}

fn depthwise_conv_2d(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let mut weights = weights(c, 1)?;
    let shape = *weights.stored.shape();
    let [n, kh, kw, filters] = [0, 1, 2, 3].map(|axis| shape[axis]);
    if n != 1 {
        return unsupported(format!("weights {shape} whose first extent is not 1"));
    }
    let channels = c.ty(x).shape.last().copied().unwrap_or_default();
    let multiplier = c.i32(3, 0)?;
    let fits = i64::from(multiplier) * channels as i64 == filters as i64;
    // Files from before the option leave it 0.
    if multiplier != 0 && !fits {
        return unsupported(format!(
            "its depth multiplier is {multiplier} for {channels} channels, but \"{}\" has {filters} \
             filters",
            c.operand_name(1)
        ));
    }
    let (padding, dilation) = window(c, 5)?;
    let conv = DepthwiseConv2d {
        stride: hw(c, 1, 0, "stride")?,
        dilation,
        padding,
        activation: c.activation(4)?,
    };
    let reshaped = weights.stored.reshape(&[kh, kw, filters]);
    weights.stored = reshaped.map_err(|error| Fail::Unsupported(error.to_string()))?;
    let w = c.add_weights("weights", weights)?;
    let bias = c.bias(2)?;
    c.add_many("", conv, &[Some(x), Some(w), bias])
}

/// A transposed convolution in one of the format's forms: positions of the operands, extents.
pub(super) struct Transposed {
    pub(super) x: usize,
    pub(super) weights: usize,
    pub(super) bias: usize,
    /// Extents of the result; `None` where the padding rule decides.
    pub(super) output: Option<Hw>,
    /// Rule SAME, else VALID.
    pub(super) same: bool,
    pub(super) stride: Hw,
}

/// Rows cut off before and after, and rows added, along one axis. The padding is that of the
/// convolution from the output back to the input; the end is what the output's extent leaves.
fn cut(input: usize, kernel: usize, stride: usize, output: usize, same: bool) -> [usize; 3] {
    let back = output.div_ceil(stride).saturating_sub(1).saturating_mul(stride);
    let total = back.saturating_add(kernel).saturating_sub(output);
    let before = if same { total / 2 } else { 0 };
    let whole = input.saturating_sub(1).saturating_mul(stride).saturating_add(kernel);
    let kept = before.saturating_add(output);
    [before, whole.saturating_sub(kept), kept.saturating_sub(whole)]
}

pub(super) fn transposed(
    c: &mut Context<'_, '_>,
    op: &Transposed,
    activation: Activation,
) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(op.x)?;
    let weights = weights(c, op.weights)?;
    let shape = c.ty(x).shape;
    let Some(input) = shape.nhwc() else { return unsupported(format!("{shape} is no picture")) };
    let (kh, kw) = (weights.stored.shape()[1], weights.stored.shape()[2]);
    let size = |input: usize, kernel: usize, stride: usize| match op.same {
        true => input.saturating_mul(stride),
        false => input.saturating_sub(1).saturating_mul(stride).saturating_add(kernel),
    };
    let stride = op.stride;
    let own = Hw { h: size(input.h, kh, stride.h), w: size(input.w, kw, stride.w) };
    let output = op.output.unwrap_or(own);
    let [top, bottom, more_h] = cut(input.h, kh, stride.h, output.h, op.same);
    let [left, right, more_w] = cut(input.w, kw, stride.w, output.w, op.same);
    let layer = ConvTranspose2d {
        stride,
        padding: Pad2d { top, bottom, left, right },
        output_padding: Hw { h: more_h, w: more_w },
        activation,
        ..ConvTranspose2d::default()
    };
    let w = c.add_weights("weights", weights)?;
    let bias = c.bias(op.bias)?;
    c.add_many("", layer, &[Some(x), Some(w), bias])
}

fn transpose_conv(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let output = match c.ints(0, "result's extents")?[..] {
        [_, h, w, _] => (usize::try_from(h), usize::try_from(w)),
        ref extents => return unsupported(format!("a result of extents {extents:?}")),
    };
    let (Ok(h), Ok(w)) = output else { return unsupported("a result of negative extents") };
    let op = Transposed {
        x: 2,
        weights: 1,
        bias: 3,
        output: Some(Hw { h, w }),
        same: padding(c)? == Padding::Same,
        stride: hw(c, 1, 0, "stride")?,
    };
    let activation = c.activation(3)?;
    transposed(c, &op, activation)
}
