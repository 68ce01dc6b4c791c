//! Layers with weights.

use super::activation::with_tail;
use super::values::{Form, Writer, operand, optional, transposed};
use super::{Attr, Refused, refuse};
use depthwise_layers::ir::{Node, ValueId};
use depthwise_layers::{BatchNorm, Conv2d, ConvTranspose2d, Dense, DepthwiseConv2d, Padding};
use depthwise_tensor::{DType, Hw, Pad2d, Tensor};

type Attributes = Vec<(&'static str, Attr)>;

pub(super) fn pair(name: &'static str, hw: Hw) -> (&'static str, Attr) {
    (name, Attr::Ints(vec![hw.h as i64, hw.w as i64]))
}

pub(super) fn pads(pad: Pad2d) -> (&'static str, Attr) {
    let list = [pad.top, pad.left, pad.bottom, pad.right];
    ("pads", Attr::Ints(list.map(|n| n as i64).to_vec()))
}

/// A window that moves over a picture.
pub(super) struct Window {
    pub(super) kernel: Hw,
    pub(super) stride: Hw,
    pub(super) dilation: Hw,
    pub(super) padding: Padding,
}

impl Window {
    /// The attributes, with explicit padding wherever the rule and the extents that are known
    /// decide it.
    pub(super) fn attributes(&self, w: &Writer<'_>, x: ValueId) -> Result<Attributes, Refused> {
        let mut attributes = vec![
            pair("kernel_shape", self.kernel),
            pair("strides", self.stride),
            pair("dilations", self.dilation),
        ];
        attributes.push(match self.resolve(w, x)? {
            Some(pad) => pads(pad),
            None if self.padding == Padding::SameLower => ("auto_pad", Attr::Text("SAME_LOWER")),
            None => ("auto_pad", Attr::Text("SAME_UPPER")),
        });
        Ok(attributes)
    }

    /// Rows and columns of padding; `None` where they depend on extents that are free.
    fn resolve(&self, w: &Writer<'_>, x: ValueId) -> Result<Option<Pad2d>, Refused> {
        let Window { kernel, stride, dilation, padding } = *self;
        let of = |input: Hw| padding.resolve(input, kernel, stride, dilation);
        let extent = |axis| w.known.extent(x, axis);
        match (padding, extent(1).zip(extent(2))) {
            (Padding::Explicit(pad), _) => Ok(Some(pad)),
            (Padding::Valid, _) => Ok(Some(Pad2d::ZERO)),
            (_, Some((h, w))) => Ok(Some(of(Hw { h, w }))),
            // Any picture of this size and more is padded alike.
            _ if stride == Hw::ONE => Ok(Some(of(Hw::square(1 << 16)))),
            _ if dilation == Hw::ONE => Ok(None),
            _ => refuse("steps with dilation and SAME padding over a picture of free extents"),
        }
    }
}

/// The filters of a convolution, OIHW, and the other operands that it shares with its kin.
fn tail_operands(
    w: &mut Writer<'_>,
    node: &Node,
    dtype: DType,
    filters: String,
) -> Result<Vec<String>, Refused> {
    let x = w.get(operand(node, 0)?, Form::Nchw)?;
    let mut inputs = vec![x, filters];
    if let Some(bias) = optional(node, 2) {
        let (name, from) = (w.plain(bias)?, w.dtype(bias));
        inputs.push(w.as_dtype(name, from, dtype));
    }
    Ok(inputs)
}

pub(super) fn conv2d(w: &mut Writer<'_>, node: &Node, op: &Conv2d) -> Result<(), Refused> {
    let (x, filters, y) = (operand(node, 0)?, operand(node, 1)?, node.outputs[0]);
    let dtype = w.dtype(x);
    let shape = w.known.ty(filters).shape;
    let window = Window {
        kernel: Hw { h: shape[1], w: shape[2] },
        stride: op.stride,
        dilation: op.dilation,
        padding: op.padding,
    };
    let mut attributes = window.attributes(w, x)?;
    attributes.push(("group", Attr::Int(op.groups as i64)));
    let name = w.get(filters, Form::Nchw)?;
    let name = w.as_dtype(name, w.dtype(filters), dtype);
    let inputs = tail_operands(w, node, dtype, name)?;
    let Some(residual) = optional(node, 3) else {
        return with_tail(w, y, Form::Nchw, op.activation, "Conv", inputs, attributes);
    };
    let conv = w.part("conv", "Conv", inputs, attributes);
    let residual = w.get(residual, Form::Nchw)?;
    with_tail(w, y, Form::Nchw, op.activation, "Add", vec![conv, residual], vec![])
}

/// A convolution with as many groups as channels; filters KH,KW,C*m become C*m,1,KH,KW.
pub(super) fn depthwise(
    w: &mut Writer<'_>,
    node: &Node,
    op: &DepthwiseConv2d,
) -> Result<(), Refused> {
    let (x, filters, y) = (operand(node, 0)?, operand(node, 1)?, node.outputs[0]);
    let dtype = w.dtype(x);
    let shape = w.known.ty(filters).shape;
    let window = Window {
        kernel: Hw { h: shape[0], w: shape[1] },
        stride: op.stride,
        dilation: op.dilation,
        padding: op.padding,
    };
    let mut attributes = window.attributes(w, x)?;
    let Some(channels) = w.known.extent(x, 3) else {
        return refuse("the number of channels of its picture is not known");
    };
    attributes.push(("group", Attr::Int(channels as i64)));
    let name = match w.stored(filters) {
        Some(tensor) => {
            let turned = transposed(tensor, &[2, 0, 1])?;
            let oihw = turned.reshape(&[shape[2], 1, shape[0], shape[1]])?;
            // Channels come first; rows and columns have no scales of their own.
            w.rearranged(filters, oihw, |axis| (axis == 2).then_some(0))?
        }
        None => {
            let (plain, axes) = (w.plain(filters)?, w.list("axes", &[1]));
            let turned = w.fresh("filters.turned");
            w.transpose(plain, &[2, 0, 1], turned.clone());
            w.part("filters", "Unsqueeze", vec![turned, axes], vec![])
        }
    };
    let name = w.as_dtype(name, w.dtype(filters), dtype);
    let inputs = tail_operands(w, node, dtype, name)?;
    with_tail(w, y, Form::Nchw, op.activation, "Conv", inputs, attributes)
}

/// Filters OC,KH,KW,C/g become C,OC/g,KH,KW.
pub(super) fn conv_transpose2d(
    w: &mut Writer<'_>,
    node: &Node,
    op: &ConvTranspose2d,
) -> Result<(), Refused> {
    let (x, filters, y) = (operand(node, 0)?, operand(node, 1)?, node.outputs[0]);
    let dtype = w.dtype(x);
    let Some(tensor) = w.tensor(filters) else {
        return refuse("filters that are not constant");
    };
    let [oc, kh, kw, depth] = [0, 1, 2, 3].map(|axis| tensor.shape()[axis]);
    let groups = op.groups;
    let fault = |error: depthwise_tensor::TensorError| Refused(error.to_string());
    let grouped = tensor.reshape(&[groups, oc / groups, kh, kw, depth]).map_err(fault)?;
    let turned = transposed(&grouped, &[0, 4, 1, 2, 3])?;
    let turned = turned.reshape(&[groups * depth, oc / groups, kh, kw]).map_err(fault)?;
    let name = w.fresh(&w.graph.value(filters).name);
    w.initializers.push((name.clone(), turned));
    let name = w.as_dtype(name, tensor.dtype(), dtype);
    let attributes = vec![
        pair("kernel_shape", Hw { h: kh, w: kw }),
        pair("strides", op.stride),
        pair("dilations", op.dilation),
        pads(op.padding),
        pair("output_padding", op.output_padding),
        ("group", Attr::Int(groups as i64)),
    ];
    let inputs = tail_operands(w, node, dtype, name)?;
    with_tail(w, y, Form::Nchw, op.activation, "ConvTranspose", inputs, attributes)
}

/// Of a matrix a Gemm, of more dimensions a product with the transposed weights.
pub(super) fn dense(w: &mut Writer<'_>, node: &Node, op: &Dense) -> Result<(), Refused> {
    let (x, weights, bias, y) =
        (operand(node, 0)?, operand(node, 1)?, optional(node, 2), node.outputs[0]);
    let dtype = w.dtype(x);
    let rank = w.rank(x);
    let x = w.plain(x)?;
    let mut widened = |id: ValueId| {
        let (name, from) = (w.plain(id)?, w.dtype(id));
        Ok::<_, Refused>(w.as_dtype(name, from, dtype))
    };
    let bias = bias.map(&mut widened).transpose()?;
    if rank == 2 {
        let inputs = [Some(x), Some(widened(weights)?), bias];
        let attributes = vec![("transB", Attr::Int(1))];
        let inputs = inputs.into_iter().flatten().collect();
        return with_tail(w, y, Form::Plain, op.activation, "Gemm", inputs, attributes);
    }
    let name = match w.stored(weights) {
        Some(tensor) => {
            let turned = transposed(tensor, &[1, 0])?;
            w.rearranged(weights, turned, |axis| Some(1 - axis))?
        }
        None => {
            let (plain, turned) = (w.plain(weights)?, w.fresh("weights.turned"));
            w.transpose(plain, &[1, 0], turned.clone());
            turned
        }
    };
    let name = w.as_dtype(name, w.dtype(weights), dtype);
    let Some(bias) = bias else {
        return with_tail(w, y, Form::Plain, op.activation, "MatMul", vec![x, name], vec![]);
    };
    let product = w.part("product", "MatMul", vec![x, name], vec![]);
    with_tail(w, y, Form::Plain, op.activation, "Add", vec![product, bias], vec![])
}

/// The channels have to be axis 1: those of a picture are in its NCHW form, others are brought
/// there.
pub(super) fn batch_norm(w: &mut Writer<'_>, node: &Node, op: &BatchNorm) -> Result<(), Refused> {
    let (x, y) = (operand(node, 0)?, node.outputs[0]);
    let (dtype, rank) = (w.dtype(x), w.rank(x));
    let Some(axis) = w.known.ty(x).shape.axis(op.axis) else {
        return refuse(format!("axis {} of {rank} dimensions", op.axis));
    };
    let channels = w.known.ty(operand(node, 3)?).shape.elements();
    let mut operands = Vec::new();
    for (at, none) in [(1, 1f32), (2, 0.0), (3, 0.0), (4, 1.0)] {
        operands.push(match optional(node, at) {
            Some(id) => {
                let (name, from) = (w.plain(id)?, w.dtype(id));
                w.as_dtype(name, from, dtype)
            }
            None => {
                let tensor = Tensor::from_vec(&[channels], vec![none; channels]);
                let tensor = tensor.map_err(|error| Refused(error.to_string()))?;
                let name = w.constant(if at == 1 { "gamma" } else { "beta" }, tensor);
                w.as_dtype(name, DType::F32, dtype)
            }
        });
    }
    let attributes = vec![("epsilon", Attr::Float(op.epsilon))];
    let inputs = |x: String| [vec![x], operands.clone()].concat();
    let form = match (rank, axis) {
        (_, 1) => Form::Plain,
        (4, 3) => Form::Nchw,
        _ => {
            let mut perm: Vec<usize> = (0..rank).collect();
            if rank < 2 {
                return refuse(format!("channels along axis {axis} of {rank} dimensions"));
            }
            perm.swap(1, axis);
            let (plain, turned) = (w.plain(x)?, w.fresh("channels.second"));
            w.transpose(plain, &perm, turned.clone());
            let z = w.part("turned", "BatchNormalization", inputs(turned), attributes);
            let own = w.name_of_result(y, Form::Plain);
            w.transpose(z, &perm, own.clone());
            w.alias(y, Form::Plain, own);
            return Ok(());
        }
    };
    let x = w.get(x, form)?;
    w.result(y, form, "BatchNormalization", inputs(x), attributes);
    Ok(())
}
