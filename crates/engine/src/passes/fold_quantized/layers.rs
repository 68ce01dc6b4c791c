//! Integer forms of what stands before a Quantize.

use super::operands::{Integers, Params, dequantized, integers, quantize};
use crate::passes::Rewriter;
use crate::passes::fold_constants::transposed;
use depthwise_layers::ir::{NodeId, ValueId};
use depthwise_layers::*;
use depthwise_tensor::{DType, Tensor};

/// An integer layer and its inputs.
type Folded = (Op, Vec<Option<ValueId>>);

/// Puts an integer layer in place of a Quantize and of what it quantizes.
pub(super) fn fold(rw: &mut Rewriter<'_>, id: NodeId) {
    let Some(output) = quantize(rw, id) else { return };
    let Some(x) = rw.input(id, 0) else { return };
    if let Some((stored, input)) = dequantized(rw, x) {
        requantize(rw, id, stored, input, output);
        return;
    }
    let Some((node, found)) = rw.producer(x) else { return };
    if !rw.is_read_once(x) {
        return;
    }
    let op = found.op.clone();
    let Some(plan) = plan(rw, node, &op, output) else { return };
    if !rw.allow() {
        return;
    }
    let (op, inputs) = plan(rw);
    rw.replace_node(id, op, inputs);
}

/// From one scale to another: nothing, or a table.
fn requantize(rw: &mut Rewriter<'_>, id: NodeId, stored: ValueId, input: Params, output: Params) {
    let old = rw.node(id).outputs[0];
    if input == output {
        if rw.can_redirect(old, stored) && rw.allow() {
            rw.redirect(old, stored);
            return;
        }
        if !rw.is_output(old) {
            return;
        }
    }
    if rw.allow() {
        let name = rw.node(id).name.clone();
        let inputs = lookup(rw, &name, stored, input, output, |x| x);
        rw.replace_node(id, QLookup, inputs);
    }
}

/// Adds the constants of an integer layer, once it is certain.
type Plan = Box<dyn FnOnce(&mut Rewriter<'_>) -> Folded>;

/// The integer form of a node whose result is quantized, if it has one.
fn plan(rw: &Rewriter<'_>, node: NodeId, op: &Op, output: Params) -> Option<Plan> {
    match op {
        Op::Conv2d(conv) => convolution(rw, node, conv, output),
        Op::DepthwiseConv2d(conv) => depthwise(rw, node, conv, output),
        Op::Dense(dense) => linear(rw, node, dense.activation, false, output),
        Op::MatMul(_) => linear(rw, node, Activation::Identity, true, output),
        Op::Activate(layer) => {
            let activation = layer.activation;
            function(rw, node, output, move |x| activation.eval(x))
        }
        Op::Unary(layer) => {
            let unary = layer.function;
            function(rw, node, output, move |x| unary.eval(x))
        }
        Op::Binary(layer) => binary(rw, node, layer, output),
        Op::Pool2d(pool) => average(rw, node, pool, output),
        Op::Reduce(reduce) => mean(rw, node, reduce, output),
        Op::Softmax(softmax) => self::softmax(rw, node, softmax, output),
        Op::Resize(resize) => interpolation(rw, node, resize, output),
        Op::Concat(concat) => self::concat(rw, node, concat, output),
        _ => None,
    }
}

/// Table and inputs of a function of one number.
fn lookup(
    rw: &mut Rewriter<'_>,
    name: &str,
    x: ValueId,
    input: Params,
    output: Params,
    f: impl Fn(f64) -> f64,
) -> Vec<Option<ValueId>> {
    let entry = |q: i64| output.nearest(f(input.real(q)));
    let table = QLookup::table(input.dtype, output.dtype, entry).expect("256 elements");
    let table = rw.add_const(format!("{name}.table"), table);
    vec![Some(x), Some(table)]
}

fn function(
    rw: &Rewriter<'_>,
    node: NodeId,
    output: Params,
    f: impl Fn(f64) -> f64 + 'static,
) -> Option<Plan> {
    let (x, input) = dequantized(rw, rw.input(node, 0)?)?;
    table(rw, node, x, input, output, f)
}

fn table(
    rw: &Rewriter<'_>,
    node: NodeId,
    x: ValueId,
    input: Params,
    output: Params,
    f: impl Fn(f64) -> f64 + 'static,
) -> Option<Plan> {
    let name = rw.node(node).name.clone();
    Some(Box::new(move |rw| (QLookup.into(), lookup(rw, &name, x, input, output, f))))
}

fn rule(output: Params, activation: Activation) -> Option<Requantize> {
    Requantize::new(output.dtype, output.zero).clamped(activation, output.scale)
}

fn binary(rw: &Rewriter<'_>, node: NodeId, layer: &Binary, output: Params) -> Option<Plan> {
    let (a, b) = (rw.input(node, 0)?, rw.input(node, 1)?);
    let (function, activation) = (layer.function, layer.activation);
    // With a number beside it, it is a function of the other operand.
    let number = |id, beside| {
        let plain = rw.scalar_beside(id, beside);
        plain.or_else(|| {
            let one = integers(rw, id).filter(|stored| stored.tensor.elements() == 1)?;
            (rw.rank(id)? <= rw.rank(beside)?).then(|| one.real(0))
        })
    };
    if let (Some((x, input)), Some(n)) = (dequantized(rw, a), number(b, a)) {
        let f = move |x| activation.eval(function.eval(x, n));
        return table(rw, node, x, input, output, f);
    }
    if let (Some(n), Some((x, input))) = (number(a, b), dequantized(rw, b)) {
        let f = move |x| activation.eval(function.eval(n, x));
        return table(rw, node, x, input, output, f);
    }
    let ((x, a), (y, b)) = (dequantized(rw, a)?, dequantized(rw, b)?);
    let scale = |params: Params| f64::from(params.scale) / f64::from(output.scale);
    let function = match function {
        BinaryFn::Add => QBinaryFn::Sum { a_factor: scale(a) as f32, b_factor: scale(b) as f32 },
        BinaryFn::Sub => QBinaryFn::Sum { a_factor: scale(a) as f32, b_factor: -scale(b) as f32 },
        BinaryFn::Mul => {
            QBinaryFn::Product { factor: Requantize::multiplier(a.scale, b.scale, output.scale) }
        }
        _ => return None,
    };
    let rule = rule(output, activation)?;
    let op = QBinary { function, a_zero: a.zero, b_zero: b.zero, output: rule };
    Some(Box::new(move |_| (op.into(), vec![Some(x), Some(y)])))
}

fn average(rw: &Rewriter<'_>, node: NodeId, pool: &Pool2d, output: Params) -> Option<Plan> {
    let (x, input) = dequantized(rw, rw.input(node, 0)?)?;
    let ratio = f64::from(input.scale) / f64::from(output.scale);
    let output = rule(output, Activation::Identity)?;
    let op = QPool2d { pool: pool.clone(), input_zero: input.zero, ratio, output };
    Some(Box::new(move |_| (op.into(), vec![Some(x)])))
}

fn mean(rw: &Rewriter<'_>, node: NodeId, reduce: &Reduce, output: Params) -> Option<Plan> {
    let (x, input) = dequantized(rw, rw.input(node, 0)?)?;
    if reduce.function != ReduceFn::Mean {
        return None;
    }
    let ratio = f64::from(input.scale) / f64::from(output.scale);
    let output = rule(output, Activation::Identity)?;
    let Reduce { axes, keep_dims, .. } = reduce.clone();
    let op = QMean { axes, keep_dims, input_zero: input.zero, ratio, output };
    Some(Box::new(move |_| (op.into(), vec![Some(x)])))
}

fn softmax(rw: &Rewriter<'_>, node: NodeId, softmax: &Softmax, output: Params) -> Option<Plan> {
    let (x, input) = dequantized(rw, rw.input(node, 0)?)?;
    if softmax.log {
        return None;
    }
    let (input_scale, output_scale) = (input.scale, output.scale);
    let output = rule(output, Activation::Identity)?;
    let op = QSoftmax { axis: softmax.axis, input_scale, output_scale, output };
    Some(Box::new(move |_| (op.into(), vec![Some(x)])))
}

/// Interpolation of rows and columns of a picture; of other axes it stays real.
fn interpolation(rw: &Rewriter<'_>, node: NodeId, resize: &Resize, output: Params) -> Option<Plan> {
    let mut inputs = rw.node(node).inputs.clone();
    let (x, input) = dequantized(rw, rw.input(node, 0)?)?;
    let ratio = f64::from(input.scale) / f64::from(output.scale);
    let output = rule(output, Activation::Identity)?;
    let op = QResize { resize: resize.clone(), input_zero: input.zero, ratio, output };
    let (from, to) = (rw.dims(x)?, rw.dims(rw.node(node).outputs[0])?);
    if from.len() != 4 || from[0] != to[0] || from[3] != to[3] {
        return None;
    }
    inputs[0] = Some(x);
    Some(Box::new(move |_| (op.into(), inputs)))
}

/// Parts of unlike scales, each brought to that of the result.
fn concat(rw: &Rewriter<'_>, node: NodeId, concat: &Concat, output: Params) -> Option<Plan> {
    let inputs = rw.node(node).inputs.clone();
    let parts: Option<Vec<(ValueId, Params)>> =
        inputs.iter().map(|&x| dequantized(rw, x?)).collect();
    let (parts, concat) = (parts?, concat.clone());
    let name = rw.node(node).name.clone();
    Some(Box::new(move |rw| {
        let part = |(i, &(x, input)): (usize, &(ValueId, Params))| {
            if input == output {
                return Some(x);
            }
            let name = format!("{name}.part{i}");
            let inputs = lookup(rw, &name, x, input, output, |x| x);
            let part = rw.add_with_outputs(&name, QLookup, &inputs, &[&name])[0];
            let ty = rw.ty(x).map(|ty| TensorType { dtype: output.dtype, shape: ty.shape });
            rw.set_type(part, ty);
            Some(part)
        };
        let inputs = parts.iter().enumerate().map(part).collect();
        (concat.into(), inputs)
    }))
}

/// What a sum of products needs besides its window.
struct Linear {
    x: ValueId,
    input: Params,
    weights: Integers,
    bias: Option<Tensor>,
    multipliers: Vec<f32>,
    channels: usize,
}

impl Linear {
    /// Weights with the axis of their output channels.
    fn new(rw: &Rewriter<'_>, node: NodeId, axis: usize, output: Params) -> Option<Linear> {
        let (x, input) = dequantized(rw, rw.input(node, 0)?)?;
        let weights = integers(rw, rw.input(node, 1)?)?;
        let eight_bits = matches!(weights.tensor.dtype(), DType::I8 | DType::U8);
        if !eight_bits || !weights.goes_along(axis) {
            return None;
        }
        let channels = *weights.tensor.shape().get(axis)?;
        let bias = match rw.input(node, 2) {
            None => None,
            Some(id) => Some(bias(rw, id, &weights, input.scale, channels)?),
        };
        let multiplier =
            |oc: usize| Requantize::multiplier(input.scale, weights.scale(oc), output.scale);
        let multipliers: Vec<f32> = (0..channels).map(multiplier).collect();
        let finite = multipliers.iter().all(|m| m.is_finite());
        finite.then_some(Linear { x, input, weights, bias, multipliers, channels })
    }

    /// Adds the constants; `weights` in another order than the file's where given.
    fn inputs(
        self,
        rw: &mut Rewriter<'_>,
        name: &str,
        weights: Option<Tensor>,
    ) -> Vec<Option<ValueId>> {
        let w = match weights {
            Some(tensor) => rw.add_const(format!("{name}.weights"), tensor),
            None => self.weights.id,
        };
        let list = |tensor: Result<Tensor, _>| tensor.expect("one extent fits its list");
        let m = list(Tensor::from_slice(&[self.channels], &self.multipliers));
        let zeros: Vec<i32> = (0..self.channels).map(|oc| self.weights.zero(oc)).collect();
        let zeros = zeros.iter().any(|&zero| zero != 0).then_some(zeros);
        let bias = self.bias.map(|bias| rw.add_const(format!("{name}.bias"), bias));
        let m = rw.add_const(format!("{name}.multipliers"), m);
        let mut inputs = vec![Some(self.x), Some(w), bias, Some(m)];
        if let Some(zeros) = zeros {
            let zeros = list(Tensor::from_slice(&[self.channels], &zeros));
            inputs.push(Some(rw.add_const(format!("{name}.weight_zeros"), zeros)));
        }
        inputs
    }
}

/// A bias as integers of scale `x_scale * w_scale`: those of the file where that is their scale, else
/// the nearest.
fn bias(
    rw: &Rewriter<'_>,
    id: ValueId,
    weights: &Integers,
    x_scale: f32,
    channels: usize,
) -> Option<Tensor> {
    let step = |oc: usize| f64::from(x_scale) * f64::from(weights.scale(oc));
    let nearest = |(oc, real): (usize, f64)| {
        let steps = (real / step(oc)).round_ties_even();
        (steps.abs() < f64::from(1 << 30)).then_some(steps as i32)
    };
    let list = |bias: Vec<i32>| Tensor::from_vec(&[channels], bias).ok();
    if let Some(reals) = rw.graph().constant(id) {
        let fits = reals.dtype().is_float() && reals.elements() == channels;
        let reals = fits.then(|| reals.to_f64())?;
        return list(reals.iter().copied().enumerate().map(nearest).collect::<Option<_>>()?);
    }
    let stored = integers(rw, id)?;
    if stored.tensor.elements() != channels || !stored.goes_along(0) {
        return None;
    }
    let q = stored.tensor.to_i64();
    let exact = |oc: usize| {
        let own = f64::from(stored.scale(oc));
        stored.zero(oc) == 0 && (own - step(oc)).abs() <= 1e-4 * step(oc)
    };
    if (0..channels).all(exact) {
        return list(q.iter().map(|&q| i32::try_from(q).ok()).collect::<Option<_>>()?);
    }
    list((0..channels).map(|oc| nearest((oc, stored.real(oc)))).collect::<Option<_>>()?)
}

fn convolution(rw: &Rewriter<'_>, node: NodeId, conv: &Conv2d, output: Params) -> Option<Plan> {
    let linear = Linear::new(rw, node, 0, output)?;
    if rw.input(node, 3).is_some() {
        return None;
    }
    let output = rule(output, conv.activation)?;
    let name = rw.node(node).name.clone();
    let input_zero = linear.input.zero;
    let &[oc, kh, kw, depth] = linear.weights.tensor.shape().dims() else { return None };
    if depth == 1 && conv.groups > 1 {
        let Conv2d { stride, dilation, padding, .. } = *conv;
        let activation = Activation::Identity;
        let conv = DepthwiseConv2d { stride, dilation, padding, activation };
        let flat = linear.weights.tensor.reshape(&[oc, kh, kw]).ok()?;
        let weights = transposed(&flat, &[1, 2, 0])?;
        let op = QDepthwiseConv2d { conv, input_zero, output };
        return Some(Box::new(move |rw| (op.into(), linear.inputs(rw, &name, Some(weights)))));
    }
    let conv = Conv2d { activation: Activation::Identity, ..conv.clone() };
    let op = QConv2d { conv, input_zero, output };
    Some(Box::new(move |rw| (op.into(), linear.inputs(rw, &name, None))))
}

fn depthwise(
    rw: &Rewriter<'_>,
    node: NodeId,
    conv: &DepthwiseConv2d,
    output: Params,
) -> Option<Plan> {
    let linear = Linear::new(rw, node, 2, output)?;
    let output = rule(output, conv.activation)?;
    let name = rw.node(node).name.clone();
    let conv = DepthwiseConv2d { activation: Activation::Identity, ..conv.clone() };
    let op = QDepthwiseConv2d { conv, input_zero: linear.input.zero, output };
    Some(Box::new(move |rw| (op.into(), linear.inputs(rw, &name, None))))
}

/// A dense layer, or a product with a constant matrix, whose output channels are its columns.
fn linear(
    rw: &Rewriter<'_>,
    node: NodeId,
    activation: Activation,
    columns: bool,
    output: Params,
) -> Option<Plan> {
    let linear = Linear::new(rw, node, usize::from(columns), output)?;
    if linear.weights.tensor.shape().rank() != 2 || (columns && rw.node(node).inputs.len() > 2) {
        return None;
    }
    let weights = match columns {
        true => Some(transposed(&linear.weights.tensor, &[1, 0])?),
        false => None,
    };
    let output = rule(output, activation)?;
    let name = rw.node(node).name.clone();
    let op = QDense { input_zero: linear.input.zero, output };
    Some(Box::new(move |rw| (op.into(), linear.inputs(rw, &name, weights))))
}
