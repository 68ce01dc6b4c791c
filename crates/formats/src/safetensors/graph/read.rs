//! From weights with a text to a graph.

use super::attributes::Attribute;
use super::{DimText, GRAPH_KEY, GraphError, GraphText, InputText, NodeText, VERSION, ops};
use crate::Weights;
use depthwise_layers::ir::{Dim, Graph, InputType, ValueId};
use depthwise_layers::{Arg, LayerError, Op, Padding, SplitParts, TensorType};
use depthwise_tensor::{DType, Hw, MAX_RANK, Shape};
use serde::Deserialize;
use std::collections::HashSet;

/// Most results of a node.
const MAX_OUTPUTS: usize = 1 << 16;

/// The graph that the weights hold; `None` where they are only weights.
pub(in super::super) fn graph_of(weights: &Weights) -> Option<Result<Graph, GraphError>> {
    weights.metadata.get(GRAPH_KEY).map(|text| read(text, weights))
}

fn read(text: &str, weights: &Weights) -> Result<Graph, GraphError> {
    /// What every version has.
    #[derive(Deserialize)]
    struct Versioned {
        version: u64,
    }
    let Versioned { version } = serde_json::from_str(text)?;
    if version != u64::from(VERSION) {
        return Err(GraphError::Version(version));
    }
    let text: GraphText = serde_json::from_str(text)?;
    let mut graph = Graph::new(text.name);
    graph.metadata = weights.metadata.clone();
    graph.metadata.remove(GRAPH_KEY);
    let mut values: Vec<ValueId> = Vec::new();
    for input in text.inputs {
        values.push(add_input(&mut graph, input)?);
    }
    for constant in text.constants {
        let Some(tensor) = weights.get(&constant.tensor) else {
            let (constant, tensor) = (constant.name, constant.tensor);
            return Err(GraphError::Tensor { constant, tensor });
        };
        values.push(graph.add_const(constant.name, tensor.clone()));
    }
    for node in &text.nodes {
        add_node(&mut graph, &mut values, node)?;
    }
    for number in text.outputs {
        graph.add_output(*values.get(number).ok_or(GraphError::Output(number))?);
    }
    graph.verify()?;
    Ok(graph)
}

fn add_input(graph: &mut Graph, input: InputText) -> Result<ValueId, GraphError> {
    let InputText { name, dtype, dims } = input;
    let fail = |reason: String| GraphError::Input { input: name.clone(), reason };
    let known = DType::read(&dtype.as_str().into());
    let dtype = known.ok_or_else(|| fail(format!("its type \"{dtype}\" is not known")))?;
    if dims.len() > MAX_RANK {
        return Err(fail(format!("{} dimensions; at most {MAX_RANK}", dims.len())));
    }
    let dims = dims.into_iter().map(|dim| match dim {
        DimText::Fixed(n) => Dim::Fixed(n),
        DimText::Free(name) => Dim::Free(name),
    });
    let ty = InputType { dtype, dims: dims.collect() };
    Ok(graph.add_input(name, ty))
}

fn add_node(
    graph: &mut Graph,
    values: &mut Vec<ValueId>,
    node: &NodeText,
) -> Result<(), GraphError> {
    let fail = |reason: String| {
        let (node, op) = (node.name.clone(), node.op.clone());
        GraphError::Node { node, op, reason }
    };
    let op = ops::read(&node.op, &node.attributes).map_err(fail)?;
    check(&op).map_err(fail)?;
    let operand = |input: &Option<usize>| match input {
        None => Ok(None),
        Some(number) => values.get(*number).copied().map(Some).ok_or_else(|| {
            fail(format!("its operand is value number {number}, which is not defined before it"))
        }),
    };
    let inputs = node.inputs.iter().map(operand).collect::<Result<Vec<_>, _>>()?;
    check_operands(&op, &inputs).map_err(fail)?;
    if node.outputs.len() != outputs(&op) {
        return Err(fail(format!("{} results instead of {}", node.outputs.len(), outputs(&op))));
    }
    let names: Vec<&str> = node.outputs.iter().map(String::as_str).collect();
    values.extend(graph.add_node(&node.name, op, &inputs, &names));
    Ok(())
}

/// Number of results.
fn outputs(op: &Op) -> usize {
    match op {
        Op::Split(split) => match &split.parts {
            SplitParts::Sizes(sizes) => sizes.len(),
            SplitParts::Equal(n) => *n,
        },
        _ => 1,
    }
}

/// Refuses too many operands, and a missing one that has no default. Their types are looked at when
/// shapes are known.
fn check_operands(op: &Op, inputs: &[Option<ValueId>]) -> Result<(), String> {
    let any = Arg::of_type(TensorType { dtype: DType::F32, shape: Shape::SCALAR });
    let args: Vec<Option<Arg<'_>>> = inputs.iter().map(|input| input.map(|_| any)).collect();
    match op.layer().infer(&args) {
        Err(error @ (LayerError::Arity { .. } | LayerError::Missing { .. })) => {
            Err(error.to_string())
        }
        _ => Ok(()),
    }
}

/// What importers see to, and passes rely on: windows that move, groups, permutations.
fn check(op: &Op) -> Result<(), String> {
    let positive = |what: &str, size: Hw| match size.h > 0 && size.w > 0 {
        true => Ok(()),
        false => Err(format!("its {what} {size} is not positive")),
    };
    let window = |stride: Hw, dilation: Hw, padding: Padding| {
        positive("stride", stride)?;
        positive("dilation", dilation)?;
        match padding {
            Padding::Explicit(pad) => small([pad.top, pad.left, pad.bottom, pad.right]),
            _ => Ok(()),
        }
    };
    let groups = |groups: usize| match groups {
        0 => Err("0 groups".to_owned()),
        _ => Ok(()),
    };
    match op {
        Op::Conv2d(conv) => {
            groups(conv.groups)?;
            window(conv.stride, conv.dilation, conv.padding)
        }
        Op::DepthwiseConv2d(conv) => window(conv.stride, conv.dilation, conv.padding),
        Op::ConvTranspose2d(conv) => {
            groups(conv.groups)?;
            let more = conv.output_padding;
            small([more.h, more.w])?;
            window(conv.stride, conv.dilation, Padding::Explicit(conv.padding))
        }
        Op::Pool2d(pool) => {
            positive("kernel", pool.kernel)?;
            window(pool.stride, pool.dilation, pool.padding)
        }
        Op::DepthToSpace(op) => positive("block", op.block),
        Op::SpaceToDepth(op) => positive("block", op.block),
        Op::Split(_) if outputs(op) > MAX_OUTPUTS => {
            Err(format!("{} parts; at most {MAX_OUTPUTS}", outputs(op)))
        }
        Op::Transpose(op) => {
            let axes: HashSet<usize> = op.perm.iter().copied().collect();
            match axes.len() == op.perm.len() && (0..axes.len()).all(|axis| axes.contains(&axis)) {
                true if axes.len() <= MAX_RANK => Ok(()),
                _ => Err(format!("{:?} is no order of axes", op.perm)),
            }
        }
        _ => Ok(()),
    }
}

/// Refuses numbers of which sums could overflow.
fn small<const N: usize>(sizes: [usize; N]) -> Result<(), String> {
    match sizes.iter().find(|&&size| size > i32::MAX as usize) {
        None => Ok(()),
        Some(size) => Err(format!("a border of {size}")),
    }
}
