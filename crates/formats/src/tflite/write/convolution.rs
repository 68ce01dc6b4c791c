//! Layers with weights.

use super::activation::{plain, with_tail};
use super::kinds::*;
use super::moving::{border, crop, f32s, padded, reshape};
use super::quantize::Scales;
use super::values::{Target, Writer, operand, optional};
use super::{Refused, refuse};
use crate::tflite::wire::{Field, Record};
use depthwise_layers::ir::{Node, ValueId};
use depthwise_layers::{BatchNorm, Conv2d, ConvTranspose2d, Dense, DepthwiseConv2d, Padding};
use depthwise_tensor::{DType, Hw, Pad2d, Tensor};

/// Rules of padding.
pub(super) const SAME: u8 = 0;
pub(super) const VALID: u8 = 1;

/// A window over a picture of known extents.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) input: Hw,
    pub(super) kernel: Hw,
    pub(super) stride: Hw,
    pub(super) dilation: Hw,
}

impl Window {
    /// The format's rule for this padding; `None` where it has none.
    pub(super) fn rule(&self, pad: Pad2d) -> Option<u8> {
        let same = Padding::Same.resolve(self.input, self.kernel, self.stride, self.dilation);
        match pad {
            Pad2d::ZERO if same != Pad2d::ZERO => Some(VALID),
            // Both rules mean the same.
            Pad2d::ZERO => Some(VALID),
            pad if pad == same => Some(SAME),
            _ => None,
        }
    }

    /// The rule of a layer, and its picture, with a border where the rules are not enough.
    fn apply(
        &self,
        w: &mut Writer<'_>,
        x: ValueId,
        padding: Padding,
    ) -> Result<(u8, i32), Refused> {
        let picture = w.value(x)?;
        let pad = padding.resolve(self.input, self.kernel, self.stride, self.dilation);
        match (padding, self.rule(pad)) {
            (Padding::Same, _) => Ok((SAME, picture)),
            (_, Some(rule)) => Ok((rule, picture)),
            (_, None) => {
                let pads = around(pad);
                let ty = padded(w.ty(x), &pads)?;
                Ok((VALID, border(w, picture, &pads, None, Target::Part("padded", ty))?))
            }
        }
    }
}

/// Borders of a picture by axis.
pub(super) fn around(pad: Pad2d) -> [(i64, i64); 4] {
    let pair = |before: usize, after: usize| (before as i64, after as i64);
    [(0, 0), pair(pad.top, pad.bottom), pair(pad.left, pad.right), (0, 0)]
}

/// Options: rule of padding and steps, columns first.
pub(super) fn steps(rule: u8, stride: Hw) -> Record {
    Record::new()
        .with(0, Field::U8(rule))
        .with(1, Field::I32(stride.w as i32))
        .with(2, Field::I32(stride.h as i32))
}

fn dilated(options: Record, field: u16, dilation: Hw) -> Record {
    options
        .with(field, Field::I32(dilation.w as i32))
        .with(field + 1, Field::I32(dilation.h as i32))
}

/// The bias of a layer, zeros where there is none: not every engine takes a layer without.
fn bias(w: &mut Writer<'_>, node: &Node, channels: usize) -> Result<i32, Refused> {
    match optional(node, 2) {
        Some(bias) => w.weight(bias),
        None if w.integer => no_bias(w, node, channels),
        None => Ok(w.constant("bias", &Tensor::from_vec(&[channels], vec![0f32; channels])?)),
    }
}

/// Zeros in steps of input and weights.
fn no_bias(w: &mut Writer<'_>, node: &Node, channels: usize) -> Result<i32, Refused> {
    let scales = |at: usize| {
        let stored = w.stored(operand(node, at)?);
        let missing = || Refused(format!("its operand number {at} has no scale"));
        stored.map(|stored| stored.scales.clone()).ok_or_else(missing)
    };
    let (x, weights) = (scales(0)?, scales(1)?);
    let scale: Vec<f32> = weights.scale.iter().map(|scale| scale * x.scale[0]).collect();
    let bias = w.constant("bias", &Tensor::from_vec(&[channels], vec![0i32; channels])?);
    w.set_scales(bias, Scales { zero: vec![0; scale.len()], scale, axis: 0 });
    Ok(bias)
}

fn extents(w: &Writer<'_>, x: ValueId) -> Result<Hw, Refused> {
    let shape = w.shape(x);
    match shape.nhwc() {
        Some(picture) => Ok(picture.hw()),
        None => refuse(format!("its operand {shape} is no picture")),
    }
}

pub(super) fn conv2d(w: &mut Writer<'_>, node: &Node, op: &Conv2d) -> Result<(), Refused> {
    let (x, filters, y) = (operand(node, 0)?, operand(node, 1)?, node.outputs[0]);
    let shape = w.shape(filters);
    let window = Window {
        input: extents(w, x)?,
        kernel: Hw { h: shape[1], w: shape[2] },
        stride: op.stride,
        dilation: op.dilation,
    };
    let (rule, picture) = window.apply(w, x, op.padding)?;
    let inputs = [picture, w.weight(filters)?, bias(w, node, shape[0])?];
    let options = dilated(steps(rule, op.stride), 4, op.dilation);
    let kind = if op.groups > 1 { CONV_2D.version(6) } else { CONV_2D };
    let Some(residual) = optional(node, 3) else {
        return with_tail(w, y, op.activation, kind, 3, options, &inputs);
    };
    let target = Target::Part("conv", w.ty(y));
    let conv = w.run(kind, options.with(3, Field::U8(0)), &inputs, target);
    let inputs = [conv, w.value(residual)?];
    with_tail(w, y, op.activation, ADD, 0, Record::new(), &inputs)
}

/// Filters KH,KW,C*m become 1,KH,KW,C*m.
pub(super) fn depthwise(
    w: &mut Writer<'_>,
    node: &Node,
    op: &DepthwiseConv2d,
) -> Result<(), Refused> {
    let (x, filters, y) = (operand(node, 0)?, operand(node, 1)?, node.outputs[0]);
    let Some(tensor) = w.tensor(filters) else { return refuse("filters that are not constant") };
    let [kh, kw, channels] = [0, 1, 2].map(|axis| tensor.shape()[axis]);
    let window = Window {
        input: extents(w, x)?,
        kernel: Hw { h: kh, w: kw },
        stride: op.stride,
        dilation: op.dilation,
    };
    let (rule, picture) = window.apply(w, x, op.padding)?;
    let name = w.graph.value(filters).name.clone();
    let tensor = tensor.reshape(&[1, kh, kw, channels])?;
    let filters = match w.stored(filters).cloned() {
        None => w.widen(&name, &tensor)?,
        Some(stored) => {
            let index = w.add_constant(&name, &tensor);
            w.set_scales(index, Scales { axis: 3, ..stored.scales });
            index
        }
    };
    let multiplier = channels / w.shape(x)[3];
    let inputs = [picture, filters, bias(w, node, channels)?];
    let options = steps(rule, op.stride).with(3, Field::I32(multiplier as i32));
    let options = dilated(options, 5, op.dilation);
    let kind = match op.dilation {
        Hw::ONE => DEPTHWISE_CONV_2D,
        _ => DEPTHWISE_CONV_2D.version(2),
    };
    with_tail(w, y, op.activation, kind, 4, options, &inputs)
}

/// What TRANSPOSE_CONV cuts off before, cuts off behind and adds behind along an axis, for a result
/// of `output` rows under a rule: the padding of the convolution back, and what the result leaves.
fn cut(window: (usize, usize, usize), output: usize, same: bool) -> [usize; 3] {
    let (input, kernel, stride) = window;
    let reach = (output.div_ceil(stride).max(1) - 1) * stride + kernel;
    let before = if same { reach.saturating_sub(output) / 2 } else { 0 };
    let whole = (input.max(1) - 1) * stride + kernel;
    let kept = before + output;
    [before, whole.saturating_sub(kept), kept.saturating_sub(whole)]
}

pub(super) fn conv_transpose2d(
    w: &mut Writer<'_>,
    node: &Node,
    op: &ConvTranspose2d,
) -> Result<(), Refused> {
    let (x, filters, y) = (operand(node, 0)?, operand(node, 1)?, node.outputs[0]);
    if op.groups != 1 || op.dilation != Hw::ONE {
        return refuse("groups and dilation of transposed convolutions have no form in TFLite");
    }
    let (input, shape, output) = (extents(w, x)?, w.shape(filters), w.shape(y));
    let (rows, cols) = ((input.h, shape[1], op.stride.h), (input.w, shape[2], op.stride.w));
    let (pad, more) = (op.padding, op.output_padding);
    // Output padding beyond a crop undoes the crop.
    let want = |cut: usize, more: usize| [cut.saturating_sub(more), more.saturating_sub(cut)];
    let ([bottom, below], [right, beside]) = (want(pad.bottom, more.h), want(pad.right, more.w));
    let fits = |same| {
        cut(rows, output[1], same) == [pad.top, bottom, below]
            && cut(cols, output[2], same) == [pad.left, right, beside]
    };
    let rule = if fits(true) {
        Some(SAME)
    } else if fits(false) {
        Some(VALID)
    } else {
        None
    };
    if rule.is_none() && (below > 0 || beside > 0) {
        return refuse("rows that only the bias reaches have no form in TFLite");
    }
    // All that the windows reach, to be cut to size.
    let whole = |(input, kernel, stride): (usize, usize, usize)| (input - 1) * stride + kernel;
    let dims = match rule {
        Some(_) => output.to_vec(),
        None => vec![output[0], whole(rows), whole(cols), output[3]],
    };
    let list: Vec<i64> = dims.iter().map(|&n| n as i64).collect();
    let list = w.list("extents", &list)?;
    let inputs = [list, w.weight(filters)?, w.value(x)?, bias(w, node, shape[0])?];
    let options = steps(rule.unwrap_or(VALID), op.stride);
    // A bias came with version 3; activations are written apart.
    let kind = TRANSPOSE_CONV.version(3);
    let options = options.with(3, Field::U8(0));
    let activation = op.activation;
    let identity = activation == depthwise_layers::Activation::Identity;
    if rule.is_some() && identity {
        w.run(kind, options, &inputs, Target::Value(y));
        return Ok(());
    }
    let mut result = w.run(kind, options, &inputs, Target::Part("whole", f32s(&dims)?));
    if rule.is_none() {
        let target = if identity { Target::Value(y) } else { Target::Part("cut", w.ty(y)) };
        result = crop(w, result, (pad.top, pad.left), target, &output)?;
    }
    match identity {
        true => Ok(()),
        false => super::activation::activate(w, y, activation, result),
    }
}

pub(super) fn dense(w: &mut Writer<'_>, node: &Node, op: &Dense) -> Result<(), Refused> {
    let (x, weights, y) = (operand(node, 0)?, operand(node, 1)?, node.outputs[0]);
    let (rank, outputs) = (w.shape(x).rank(), w.shape(weights)[0]);
    let mut picture = w.value(x)?;
    let weights = w.weight(weights)?;
    let bias = bias(w, node, outputs)?;
    let options = Record::new().with(1, Field::U8(0));
    if rank >= 2 {
        let keep = rank > 2;
        let kind = if keep { FULLY_CONNECTED.version(5) } else { FULLY_CONNECTED };
        let options = options.with(2, Field::U8(keep.into()));
        return with_tail(w, y, op.activation, kind, 0, options, &[picture, weights, bias]);
    }
    let row = f32s(&[1, w.shape(x).elements()])?;
    picture = reshape(w, picture, Target::Part("row", row))?;
    let target = Target::Part("product", f32s(&[1, outputs])?);
    let inputs = [picture, weights, bias];
    let options = options.with(0, Field::U8(0));
    let product = w.run(FULLY_CONNECTED, options, &inputs, target);
    let flat = Target::Part("flat", w.ty(y));
    let flat = reshape(w, product, flat)?;
    super::activation::activate(w, y, op.activation, flat)
}

/// A vector on either side is a matrix of one row or column.
pub(super) fn matmul(w: &mut Writer<'_>, node: &Node) -> Result<(), Refused> {
    let (a, b, y) = (operand(node, 0)?, operand(node, 1)?, node.outputs[0]);
    let ty = w.ty(y);
    if ty.dtype != DType::F32 {
        return refuse(format!("matrix products of {} have no form in TFLite", ty.dtype));
    }
    let (left, right) = (w.shape(a), w.shape(b));
    let mut inputs = [w.value(a)?, w.value(b)?];
    if left.rank() == 1 {
        inputs[0] = reshape(w, inputs[0], Target::Part("row", f32s(&[1, left[0]])?))?;
    }
    if right.rank() == 1 {
        inputs[1] = reshape(w, inputs[1], Target::Part("column", f32s(&[right[0], 1])?))?;
    }
    let options = Record::new().with(0, Field::U8(0)).with(1, Field::U8(0));
    if left.rank() > 1 && right.rank() > 1 {
        w.run(BATCH_MATMUL, options, &inputs, Target::Value(y));
        return Ok(());
    }
    let mut dims = ty.shape.to_vec();
    if right.rank() == 1 {
        dims.push(1);
    }
    if left.rank() == 1 {
        dims.insert(dims.len() - 1, 1);
    }
    let product = w.run(BATCH_MATMUL, options, &inputs, Target::Part("product", f32s(&dims)?));
    reshape(w, product, Target::Value(y))?;
    Ok(())
}

/// `x * scale + shift` with constants.
pub(super) fn batch_norm(w: &mut Writer<'_>, node: &Node, op: &BatchNorm) -> Result<(), Refused> {
    let (x, y) = (operand(node, 0)?, node.outputs[0]);
    let ty = w.ty(x);
    let at = super::moving::axis(&ty.shape, op.axis)?;
    let channels = ty.shape[at];
    let list = |at: usize, none: f64| match optional(node, at) {
        None => Ok(vec![none; channels]),
        Some(id) => match w.tensor(id) {
            Some(tensor) => Ok(tensor.to_f64().into_owned()),
            None => refuse("statistics that are not constant"),
        },
    };
    let (gamma, beta, mean, var) = (list(1, 1.0)?, list(2, 0.0)?, list(3, 0.0)?, list(4, 1.0)?);
    let scale: Vec<f64> =
        (0..channels).map(|c| gamma[c] / (var[c] + f64::from(op.epsilon)).sqrt()).collect();
    let shift: Vec<f32> = (0..channels).map(|c| (beta[c] - mean[c] * scale[c]) as f32).collect();
    let scale = scale.iter().map(|&x| x as f32).collect();
    // The channels, then extents of 1 for the axes behind them.
    let dims: Vec<usize> =
        (at..ty.shape.rank()).map(|axis| if axis == at { channels } else { 1 }).collect();
    let scale = w.constant("scale", &Tensor::from_vec(&dims, scale)?);
    let shift = w.constant("shift", &Tensor::from_vec(&dims, shift)?);
    let x = w.value(x)?;
    let scaled = w.run(MUL, plain(), &[x, scale], Target::Part("scaled", ty));
    w.run(ADD, plain(), &[scaled, shift], Target::Value(y));
    Ok(())
}
