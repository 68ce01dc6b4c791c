//! Convolutions and dense layers.
//!
//! Filters are `KH,KW,IC,OC` in the file. Signals (`N,L,C`) are pictures of height 1.

use super::activation::Function;
use super::context::{Context, Fail, reshaped, transposed, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{
    Activation, Conv2d, ConvTranspose2d, Dense, DepthwiseConv2d, Padding, Squeeze, Unsqueeze,
};
use depthwise_tensor::{Hw, Pad2d, Tensor};

pub(super) const ROWS: &[Row] = &[
    row("Conv1D", |c| conv(c, 1)),
    row("Conv2D", |c| conv(c, 2)),
    row("Conv2DTranspose", conv_transpose),
    row("Dense", dense),
    row("DepthwiseConv1D", |c| depthwise(c, 1)),
    row("DepthwiseConv2D", |c| depthwise(c, 2)),
    row("SeparableConv1D", |c| separable(c, 1)),
    row("SeparableConv2D", |c| separable(c, 2)),
];

/// The settings that convolutions share.
struct Window {
    axes: usize,
    stride: Hw,
    dilation: Hw,
    padding: Padding,
    function: Function,
    bias: bool,
}

/// Of a convolution along 1 or 2 axes.
fn window(c: &mut Context<'_, '_>, axes: usize) -> Result<Window, Fail> {
    c.channels_last()?;
    let stride = c.extent("strides", axes, 1)?;
    let dilation = c.extent("dilation_rate", axes, 1)?;
    let kernel = c.extent("kernel_size", axes, 1)?;
    let padding = match c.text("padding", "valid")? {
        "same" => Padding::Same,
        "valid" => Padding::Valid,
        "causal" if axes == 1 => {
            let left = dilation.w.saturating_mul(kernel.w - 1);
            Padding::Explicit(Pad2d { left, ..Pad2d::ZERO })
        }
        other => return unsupported(format!("padding = {other} is not supported")),
    };
    let function = Function::read(c, "activation")?;
    let bias = c.flag("use_bias", true)?;
    // What the shapes of the weights say as well.
    c.ignore(&["filters", "depth_multiplier"]);
    Ok(Window { axes, stride, dilation, padding, function, bias })
}

/// The picture that the layer works on.
fn enter(c: &mut Context<'_, '_>, axes: usize) -> Result<ValueId, Fail> {
    let x = c.input()?;
    if axes == 1 { c.add("row", Unsqueeze { axes: vec![1] }, &[x]) } else { Ok(x) }
}

/// The result, and what follows in the same layer.
fn leave(c: &mut Context<'_, '_>, window: &Window, y: ValueId) -> Result<Vec<ValueId>, Fail> {
    let y = match window.axes {
        1 => c.add("signal", Squeeze { axes: vec![1] }, &[y])?,
        _ => y,
    };
    Ok(vec![window.function.after_fused(c, y)?])
}

/// The extents of filters, with a height of 1 where signals have none.
fn filters(weight: &Tensor, axes: usize) -> Result<[usize; 4], Fail> {
    match (axes, weight.shape().dims()) {
        (1, &[k, i, o]) => Ok([1, k, i, o]),
        (2, &[kh, kw, i, o]) => Ok([kh, kw, i, o]),
        (_, dims) => unsupported(format!("filters of shape {dims:?}")),
    }
}

/// `KH,KW,IC,OC` to `OC,KH,KW,IC`.
fn ohwi(weight: &Tensor, axes: usize) -> Result<Tensor, Fail> {
    let [kh, kw, i, o] = filters(weight, axes)?;
    transposed(weight, (kh * kw * i, o), &[o, kh, kw, i])
}

/// `KH,KW,C,M` to `KH,KW,C*M`.
fn per_channel(weight: &Tensor, axes: usize) -> Result<Tensor, Fail> {
    let [kh, kw, channels, multiplier] = filters(weight, axes)?;
    reshaped(weight, &[kh, kw, channels * multiplier])
}

fn bias(c: &mut Context<'_, '_>, there: bool, index: usize) -> Result<Option<ValueId>, Fail> {
    if there { c.plain_weight(&["bias"], index).map(Some) } else { Ok(None) }
}

fn conv(c: &mut Context<'_, '_>, axes: usize) -> Result<Vec<ValueId>, Fail> {
    let window = window(c, axes)?;
    let groups = match c.int("groups")?.unwrap_or(1) {
        groups @ 1.. => groups as usize,
        groups => return unsupported(format!("groups = {groups}")),
    };
    let x = enter(c, axes)?;
    let w = c.weight_const("kernel", |c| ohwi(&c.weight(&["kernel"], 0)?, axes))?;
    let b = bias(c, window.bias, 1)?;
    let Window { stride, dilation, padding, .. } = window;
    let activation = window.function.fused();
    let op = Conv2d { stride, dilation, padding, groups, activation };
    let y = c.add_with("", op, &[Some(x), Some(w), b])?;
    leave(c, &window, y)
}

fn depthwise(c: &mut Context<'_, '_>, axes: usize) -> Result<Vec<ValueId>, Fail> {
    let window = window(c, axes)?;
    if let Some(groups) = c.int("groups")?.filter(|&groups| groups != 1) {
        return unsupported(format!("groups = {groups}"));
    }
    let x = enter(c, axes)?;
    let w = c.weight_const("kernel", |c| {
        per_channel(&c.weight(&["depthwise_kernel", "kernel"], 0)?, axes)
    })?;
    let b = bias(c, window.bias, 1)?;
    let Window { stride, dilation, padding, .. } = window;
    let activation = window.function.fused();
    let op = DepthwiseConv2d { stride, dilation, padding, activation };
    let y = c.add_with("", op, &[Some(x), Some(w), b])?;
    leave(c, &window, y)
}

/// One convolution per channel, then one of a single tap that mixes the channels.
fn separable(c: &mut Context<'_, '_>, axes: usize) -> Result<Vec<ValueId>, Fail> {
    let window = window(c, axes)?;
    if let Some(groups) = c.int("groups")?.filter(|&groups| groups != 1) {
        return unsupported(format!("groups = {groups}"));
    }
    let x = enter(c, axes)?;
    let w = c.weight_const("depthwise_kernel", |c| {
        per_channel(&c.weight(&["depthwise_kernel"], 0)?, axes)
    })?;
    let Window { stride, dilation, padding, .. } = window;
    let op = DepthwiseConv2d { stride, dilation, padding, activation: Activation::Identity };
    let x = c.add("depthwise", op, &[x, w])?;
    let w =
        c.weight_const("pointwise_kernel", |c| ohwi(&c.weight(&["pointwise_kernel"], 1)?, axes))?;
    let b = bias(c, window.bias, 2)?;
    let op = Conv2d { activation: window.function.fused(), ..Conv2d::default() };
    let y = c.add_with("", op, &[Some(x), Some(w), b])?;
    leave(c, &window, y)
}

/// `KH,KW,OC,IC` to `OC,KH,KW,IC`.
fn transposed_filters(weight: &Tensor) -> Result<Tensor, Fail> {
    let [kh, kw, o, i] = filters(weight, 2)?;
    let x = weight.to_f32();
    let mut y = Vec::with_capacity(x.len());
    for oc in 0..o {
        for tap in 0..kh * kw {
            let first = (tap * o + oc) * i;
            y.extend_from_slice(&x[first..first + i]);
        }
    }
    Tensor::from_vec(&[o, kh, kw, i], y).map_err(|error| Fail::Unsupported(error.to_string()))
}

/// The gradient of a convolution, with the padding that TensorFlow gives it: the result has
/// `stride` times the extent where the padding is SAME, and at least that where it is VALID.
fn conv_transpose(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let window = window(c, 2)?;
    let kernel = c.extent("kernel_size", 2, 1)?;
    if let Some(padding) = c.ints("output_padding")? {
        return unsupported(format!("output_padding = {padding:?} is not supported"));
    }
    if let Some(groups) = c.int("groups")?.filter(|&groups| groups != 1) {
        return unsupported(format!("groups = {groups}"));
    }
    let Window { stride, dilation, padding, .. } = window;
    let cut = |kernel: usize, stride: usize, dilation: usize| {
        let reach = dilation.saturating_mul(kernel - 1).saturating_add(1);
        let cut = if padding == Padding::Same { reach.saturating_sub(stride) } else { 0 };
        (cut / 2, cut - cut / 2, stride.saturating_sub(reach))
    };
    let (top, bottom, more_rows) = cut(kernel.h, stride.h, dilation.h);
    let (left, right, more_columns) = cut(kernel.w, stride.w, dilation.w);
    let x = c.input()?;
    let w = c.weight_const("kernel", |c| transposed_filters(&c.weight(&["kernel"], 0)?))?;
    let b = bias(c, window.bias, 1)?;
    let op = ConvTranspose2d {
        stride,
        dilation,
        padding: Pad2d { top, left, bottom, right },
        output_padding: Hw { h: more_rows, w: more_columns },
        groups: 1,
        activation: window.function.fused(),
    };
    let y = c.add_with("", op, &[Some(x), Some(w), b])?;
    leave(c, &window, y)
}

/// Along the last axis.
fn dense(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let function = Function::read(c, "activation")?;
    let has_bias = c.flag("use_bias", true)?;
    c.ignore(&["units"]);
    let x = c.input()?;
    let w = c.weight_const("kernel", |c| {
        let weight = c.weight(&["kernel"], 0)?;
        let &[inputs, outputs] = weight.shape().dims() else {
            return unsupported(format!("weights of shape {}", weight.shape()));
        };
        transposed(&weight, (inputs, outputs), &[outputs, inputs])
    })?;
    let b = bias(c, has_bias, 1)?;
    let y = c.add_with("", Dense { activation: function.fused() }, &[Some(x), Some(w), b])?;
    Ok(vec![function.after_fused(c, y)?])
}
