//! Moves changes of layout down to where they meet their inverse.
//!
//! Files in NCHW reach the graph with a Transpose before and after every convolution and pool.
//! Each operation in between can be computed on the untransposed tensor just as well, with its
//! axes renamed; then the Transpose stands behind it, and in the end before the Transpose of the
//! next convolution, which undoes it.
//!
//! One run visits the nodes in order. At a node that reads `x = Transpose(s, perm)`:
//! - a Transpose takes the place of both ([`merge`]);
//! - an operation that knows how ([`absorb`]) reads `s` instead, and its result is transposed.
//!
//! Nodes that know no such way (convolutions, which mean NHWC; outputs of the graph) keep reading
//! `x`. No work is ever done twice: a node has either its old form or the new one.
//!
//! Why it stops: a rewrite either removes a Transpose, or moves one from the inputs of a node to
//! its outputs. The only Transposes that appear further up are those of operands in
//! [`operands`], and these are fewer than the ones that go. The pass as a whole is taken back
//! where it leaves both more Transposes and more transposed elements than it found
//! ([`Pass::cost`]).

mod absorb;
mod operands;
mod reshape;

use super::fold_constants::transposed;
use super::{Pass, Rewriter};
use depthwise_layers::ir::{Graph, NodeId, Types, ValueId};
use depthwise_layers::{Op, Reshape, TensorType, Transpose};
use depthwise_tensor::Tensor;

/// See the [module](self).
pub(super) struct PushTransposes;

impl Pass for PushTransposes {
    fn name(&self) -> &'static str {
        "push-transposes"
    }

    fn run(&self, rw: &mut Rewriter<'_>) {
        for id in rw.live_nodes() {
            if rw.is_live(id) && !merge(rw, id) {
                absorb::absorb(rw, id);
            }
        }
        for id in rw.live_nodes() {
            lower_to_reshape(rw, id);
        }
    }

    fn cost(&self, graph: &Graph, types: Option<&Types>) -> Option<(usize, usize)> {
        let mut cost = (0, 0);
        for node in graph.nodes() {
            let Op::Transpose(_) = node.op else { continue };
            let elements = types.and_then(|types| types.get(node.outputs[0]));
            cost.0 += 1;
            cost.1 += elements.map_or(1, |ty| ty.shape.elements());
        }
        Some(cost)
    }
}

/// A value that is another one with its axes in another order.
#[derive(Clone, Debug)]
struct Moved {
    source: ValueId,
    perm: Vec<usize>,
}

/// The transposition that computes a value. Those of constants are left to constant folding.
fn moved(rw: &Rewriter<'_>, id: ValueId) -> Option<Moved> {
    let (node, found) = rw.producer(id)?;
    let Op::Transpose(transpose) = &found.op else { return None };
    let source = rw.input(node, 0)?;
    let folds = rw.graph().constant(source).is_some();
    (!folds).then(|| Moved { source, perm: transpose.perm.clone() })
}

/// The permutation that undoes another.
fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; perm.len()];
    for (to, &from) in perm.iter().enumerate() {
        inverse[from] = to;
    }
    inverse
}

/// `perm` as one after another: `Transpose(Transpose(x, first), then)`.
fn composed(first: &[usize], then: &[usize]) -> Vec<usize> {
    then.iter().map(|&axis| first[axis]).collect()
}

/// The permutation of the axes that are left when only those in `kept` (of the source) stay.
fn restricted(perm: &[usize], kept: impl Fn(usize) -> bool) -> Vec<usize> {
    let position = |axis: usize| (0..axis).filter(|&a| kept(a)).count();
    perm.iter().filter(|&&axis| kept(axis)).map(|&axis| position(axis)).collect()
}

/// Whether a transposition leaves the order of elements in memory as it is.
fn moves_only_ones(dims: &[usize], perm: &[usize]) -> bool {
    dims.contains(&0) || perm.iter().copied().filter(|&axis| dims[axis] != 1).is_sorted()
}

/// Puts one Transpose, or none, in place of two in a row.
fn merge(rw: &mut Rewriter<'_>, id: NodeId) -> bool {
    let Op::Transpose(then) = &rw.node(id).op else { return false };
    let Some(first) = rw.input(id, 0).and_then(|x| moved(rw, x)) else { return false };
    if first.perm.len() != then.perm.len() {
        return false;
    }
    let perm = composed(&first.perm, &then.perm);
    let output = rw.node(id).outputs[0];
    if perm.is_sorted() && rw.can_redirect(output, first.source) {
        if rw.allow() {
            rw.redirect(output, first.source);
        }
    } else if rw.allow() {
        rw.replace_node(id, Transpose { perm }, vec![Some(first.source)]);
    }
    true
}

/// A Transpose that only moves extents of 1 is a Reshape, which costs nothing.
fn lower_to_reshape(rw: &mut Rewriter<'_>, id: NodeId) {
    let node = rw.node(id);
    let Op::Transpose(transpose) = &node.op else { return };
    let Some(&x) = node.inputs.first().and_then(Option::as_ref) else { return };
    let (Some(from), Some(to)) = (rw.dims(x), rw.dims(node.outputs[0])) else { return };
    if from.len() != transpose.perm.len() || !moves_only_ones(&from, &transpose.perm) {
        return;
    }
    let name = format!("{}.shape", node.name);
    if rw.allow() {
        let shape = add_extents(rw, &name, &to);
        rw.replace_node(id, Reshape { allow_zero: true }, vec![Some(x), Some(shape)]);
    }
}

fn add_extents(rw: &mut Rewriter<'_>, name: &str, dims: &[usize]) -> ValueId {
    let list: Vec<i64> = dims.iter().map(|&n| n as i64).collect();
    rw.add_integers(name, &list)
}

/// The type of a value before its axes were reordered by `perm`.
fn type_before(ty: Option<TensorType>, perm: &[usize]) -> Option<TensorType> {
    let ty = ty?;
    let dims: Vec<usize> = inverse(perm).iter().map(|&axis| ty.shape.dims()[axis]).collect();
    TensorType::new(ty.dtype, &dims).ok()
}

/// Puts a node in place of another that computes the same with its outputs' axes reordered: output
/// `i` of the old one is `Transpose(output i of the new one, perms[i])`.
fn put(
    rw: &mut Rewriter<'_>,
    id: NodeId,
    op: impl Into<Op>,
    inputs: &[Option<ValueId>],
    perms: &[Vec<usize>],
) {
    let node = rw.node(id);
    let (name, outputs) = (node.name.clone(), node.outputs.clone());
    let names: Vec<String> = outputs.iter().map(|&v| rw.graph().value(v).name.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let new = rw.add_with_outputs(&name, op, inputs, &names);
    for ((&old, &new), perm) in outputs.iter().zip(&new).zip(perms) {
        rw.set_type(new, type_before(rw.ty(old), perm));
        let transposed = if perm.is_sorted() {
            new
        } else {
            let name = format!("{name}.transpose");
            rw.add(&name, Transpose { perm: perm.clone() }, &[new])
        };
        rw.redirect(old, transposed);
    }
}

/// A constant with leading axes of extent 1 up to `rank`, its axes reordered by `perm`.
fn transposed_constant(tensor: &Tensor, perm: &[usize]) -> Option<Tensor> {
    let missing = perm.len().checked_sub(tensor.shape().rank())?;
    let mut dims = vec![1; missing];
    dims.extend_from_slice(tensor.shape().dims());
    transposed(&tensor.reshape(&dims).ok()?, perm)
}
