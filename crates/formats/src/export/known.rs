//! What a writer knows of the values of a graph.

use super::SaveError;
use depthwise_layers::TensorType;
use depthwise_layers::ir::{Dim, Graph, Types, ValueId, infer_types};
use depthwise_tensor::{Shape, Tensor};
use std::collections::HashMap;

/// Extents tried for free ones, first those of the batch.
const BATCHES: [usize; 2] = [1, 3];
const EXTENTS: [usize; 7] = [224, 320, 192, 256, 64, 32, 480];

/// Types of all values. Where extents of inputs are free, they were inferred for stand-ins, twice:
/// an extent that is the same both times counts as known.
pub(crate) struct Known {
    types: Types,
    /// Types for other stand-ins; `None` where all extents are fixed or no others would do.
    others: Option<Types>,
    /// All extents of all inputs are fixed.
    pub(crate) fixed: bool,
    /// Shapes of the inputs for which the types hold.
    pub(crate) inputs: Vec<Shape>,
}

impl Known {
    /// For inputs of these shapes, or of the declared ones where none are given.
    ///
    /// # Errors
    /// [`SaveError::Infer`] where the shapes do not fit, [`SaveError::FreeShape`] where extents
    /// are free and no stand-in fits.
    pub(crate) fn new(graph: &Graph, shapes: &[Shape]) -> Result<Known, SaveError> {
        if !shapes.is_empty() {
            let types = infer_types(graph, shapes)?;
            return Ok(Known { types, others: None, fixed: true, inputs: shapes.to_vec() });
        }
        let declared: Option<Vec<Shape>> =
            graph.inputs().iter().map(|&id| graph.input_type(id)?.shape()).collect();
        if let Some(inputs) = declared {
            let types = infer_types(graph, &inputs)?;
            return Ok(Known { types, others: None, fixed: true, inputs });
        }
        let tries = EXTENTS.iter().flat_map(|&extent| BATCHES.map(|batch| (batch, extent)));
        let mut fitting = tries.filter_map(|(batch, extent)| {
            let shapes = stand_ins(graph, batch, extent)?;
            Some((batch, extent, infer_types(graph, &shapes).ok()?, shapes))
        });
        let Some((batch, extent, types, inputs)) = fitting.next() else {
            return Err(free(graph));
        };
        // The others differ in every free extent.
        let others = fitting.find(|&(b, e, ..)| b != batch && e != extent).map(|found| found.2);
        Ok(Known { types, others, fixed: false, inputs })
    }

    /// As [`Known::new`], but a free batch is 1 and no other extent may be free.
    ///
    /// # Errors
    /// As [`Known::new`]; [`SaveError::FreeShape`] for any other free extent.
    pub(crate) fn fixed(graph: &Graph, shapes: &[Shape]) -> Result<Known, SaveError> {
        if !shapes.is_empty() {
            return Known::new(graph, shapes);
        }
        let one = |&id: &ValueId| {
            let dims = graph.input_type(id)?.dims.iter().enumerate();
            let dims: Option<Vec<usize>> = dims
                .map(|(axis, dim)| match dim {
                    Dim::Fixed(n) => Some(*n),
                    Dim::Free(_) => (axis == 0).then_some(1),
                })
                .collect();
            Shape::new(&dims?).ok()
        };
        let shapes: Option<Vec<Shape>> = graph.inputs().iter().map(one).collect();
        Known::new(graph, &shapes.ok_or_else(|| free(graph))?)
    }

    /// The type of a value; extents that depend on free ones are stand-ins.
    ///
    /// # Panics
    /// For a value that no node of the graph computes.
    pub(crate) fn ty(&self, id: ValueId) -> TensorType {
        self.types.of(id)
    }

    /// Number of dimensions of a value.
    pub(crate) fn rank(&self, id: ValueId) -> usize {
        self.ty(id).shape.rank()
    }

    /// An extent of a value, where it does not depend on free ones.
    pub(crate) fn extent(&self, id: ValueId, axis: usize) -> Option<usize> {
        let extent = *self.ty(id).shape.get(axis)?;
        let same = |types: &Types| types.of(id).shape.get(axis) == Some(&extent);
        (self.fixed || self.others.as_ref().is_some_and(same)).then_some(extent)
    }

    /// The elements of a value that is known before the network runs.
    pub(crate) fn constant<'a>(&'a self, graph: &'a Graph, id: ValueId) -> Option<&'a Tensor> {
        let derived = || self.types.derived_constant(id).filter(|_| self.fixed);
        graph.constant(id).or_else(derived)
    }
}

/// Shapes of the inputs with stand-ins for what is free; one name, one extent.
fn stand_ins(graph: &Graph, batch: usize, extent: usize) -> Option<Vec<Shape>> {
    let mut named: HashMap<&str, usize> = HashMap::new();
    let shape = |&id: &ValueId| {
        let dims = graph.input_type(id)?.dims.iter().enumerate();
        let dims: Vec<usize> = dims
            .map(|(axis, dim)| {
                let stand_in = if axis == 0 { batch } else { extent };
                match dim {
                    Dim::Fixed(n) => *n,
                    Dim::Free(name) if name.is_empty() => stand_in,
                    Dim::Free(name) => *named.entry(name).or_insert(stand_in),
                }
            })
            .collect();
        Shape::new(&dims).ok()
    };
    graph.inputs().iter().map(shape).collect()
}

/// The error that names the first input with a free extent.
fn free(graph: &Graph) -> SaveError {
    let inputs = graph.inputs().iter().filter_map(|&id| Some((id, graph.input_type(id)?)));
    let (input, declared) = inputs
        .filter(|(_, ty)| ty.shape().is_none())
        .map(|(id, ty)| (graph.value(id).name.clone(), ty.to_string()))
        .next()
        .unwrap_or_default();
    SaveError::FreeShape { input, declared }
}
