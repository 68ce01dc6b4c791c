//! Types of all values of a graph.

use super::{Def, Graph, ValueId};
use crate::{Arg, LayerError, TensorType};
use depthwise_tensor::{DType, Shape, Tensor};
use std::collections::HashMap;

/// Why the types of a graph could not be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InferError {
    /// A layer refused its inputs.
    #[error("node \"{node}\" ({kind}): {source}")]
    Layer {
        /// Name of the node.
        node: String,
        /// Kind of its layer.
        kind: &'static str,
        /// What it refused.
        source: LayerError,
    },
    /// The extents given for an input do not fit its declaration.
    #[error("input \"{input}\" is declared as {declared}, but was given {given}")]
    Input {
        /// Name of the input.
        input: String,
        /// Declared type.
        declared: String,
        /// Given shape.
        given: String,
    },
    /// Not one shape per input.
    #[error("the network has {want} inputs, but {got} shapes were given")]
    InputCount {
        /// Inputs of the graph.
        want: usize,
        /// Shapes given.
        got: usize,
    },
    /// Two extents of the same name were given different values.
    #[error("dimension \"{name}\" was given as {first} and as {second}")]
    Dimension {
        /// Name of the dimension.
        name: String,
        /// First extent met.
        first: usize,
        /// Another one.
        second: usize,
    },
}

/// What inference found: a type per value, and the values that turned out to be constant for
/// these input shapes (extents, and what is computed from them).
#[derive(Clone, Debug)]
pub struct Types {
    types: Vec<Option<TensorType>>,
    constants: HashMap<ValueId, Tensor>,
}

impl Types {
    /// The type of a value that is an input, a constant, or computed by a node of the graph.
    ///
    /// # Panics
    /// For a value that no node of the graph computes any more.
    pub fn of(&self, id: ValueId) -> TensorType {
        self.get(id).expect("value of a live node")
    }

    /// The type of a value, `None` where no node of the graph computes it any more.
    pub fn get(&self, id: ValueId) -> Option<TensorType> {
        self.types.get(id.index()).copied().flatten()
    }

    /// Elements of a value that is constant for these input shapes although a node computes it.
    pub fn derived_constant(&self, id: ValueId) -> Option<&Tensor> {
        self.constants.get(&id)
    }
}

/// Whether inference computes a constant of this type: shapes, index tables, scales, not weights.
fn may_be_derived(ty: &TensorType) -> bool {
    let most = match ty.dtype.is_float() {
        true => 64, // Scales of a resize.
        false => 4096,
    };
    ty.shape.elements() <= most
}

/// Finds the type of every value, for inputs of these shapes (one per graph input, in order).
///
/// # Errors
/// [`InferError`] where shapes do not fit the declared inputs or a layer refuses its operands.
pub fn infer_types(graph: &Graph, input_shapes: &[Shape]) -> Result<Types, InferError> {
    let mut found = Types { types: vec![None; graph.values().len()], constants: HashMap::new() };
    check_inputs(graph, input_shapes)?;
    for (&id, &shape) in graph.inputs().iter().zip(input_shapes) {
        if let Def::Input(ty) = &graph.value(id).def {
            found.types[id.index()] = Some(TensorType { dtype: ty.dtype, shape });
        }
    }
    for id in graph.value_ids() {
        match &graph.value(id).def {
            Def::Const(t) => found.types[id.index()] = Some(TensorType::of(t)),
            Def::Released(ty) => found.types[id.index()] = Some(*ty),
            _ => {}
        }
    }
    for node in graph.nodes() {
        let layer = node.op.layer();
        let fail =
            |source| InferError::Layer { node: node.name.clone(), kind: layer.kind(), source };
        let constant = |id: ValueId| graph.constant(id).or_else(|| found.constants.get(&id));
        let args: Vec<Option<Arg<'_>>> = node
            .inputs
            .iter()
            .map(|input| {
                input.and_then(|id| {
                    let ty = found.types[id.index()]?;
                    Some(Arg { ty, value: constant(id) })
                })
            })
            .collect();
        let types = layer.infer(&args).map_err(fail)?;
        let derived = derive(node, &args, &types).map_err(fail)?;
        for (&id, ty) in node.outputs.iter().zip(types) {
            found.types[id.index()] = Some(ty);
        }
        found.constants.extend(node.outputs.iter().copied().zip(derived));
    }
    Ok(found)
}

/// The outputs of a node whose operands are all constant, or that only asks for extents.
fn derive(
    node: &super::Node,
    args: &[Option<Arg<'_>>],
    types: &[TensorType],
) -> Result<Vec<Tensor>, LayerError> {
    if !types.iter().all(may_be_derived) {
        return Ok(Vec::new());
    }
    if let crate::Op::ShapeOf(shape_of) = &node.op {
        let Some(Some(arg)) = args.first() else { return Ok(Vec::new()) };
        return Ok(vec![shape_of.extents(&arg.ty.shape)]);
    }
    let operands: Option<Vec<Option<&Tensor>>> =
        args.iter().map(|a| a.map_or(Some(None), |a| a.value.map(Some))).collect();
    match operands {
        Some(operands) => node.op.layer().reference(&operands),
        None => Ok(Vec::new()),
    }
}

fn check_inputs(graph: &Graph, shapes: &[Shape]) -> Result<(), InferError> {
    use super::Dim;
    if graph.inputs().len() != shapes.len() {
        return Err(InferError::InputCount { want: graph.inputs().len(), got: shapes.len() });
    }
    let mut named: HashMap<&str, usize> = HashMap::new();
    for (&id, shape) in graph.inputs().iter().zip(shapes) {
        let Some(ty) = graph.input_type(id) else { continue };
        let fits = |(dim, &given): (&Dim, &usize)| match dim {
            Dim::Fixed(n) => *n == given,
            Dim::Free(_) => true,
        };
        if ty.dims.len() != shape.rank() || !ty.dims.iter().zip(shape.iter()).all(fits) {
            return Err(InferError::Input {
                input: graph.value(id).name.clone(),
                declared: ty.to_string(),
                given: format!("{}[{shape}]", DType::name(ty.dtype)),
            });
        }
        for (dim, &second) in ty.dims.iter().zip(shape.iter()) {
            let Dim::Free(name) = dim else { continue };
            let first = *named.entry(name).or_insert(second);
            if !name.is_empty() && first != second {
                return Err(InferError::Dimension { name: name.clone(), first, second });
            }
        }
    }
    Ok(())
}
