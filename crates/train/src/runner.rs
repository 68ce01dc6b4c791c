//! What computes a training graph: the engine, or the references.

use crate::TrainError;
use depthwise_engine::passes::PassOptions;
use depthwise_engine::{Fusion, Model, Options, Par, Session};
use depthwise_layers::ir::{Graph, interpret};
use depthwise_tensor::{DType, Element, Shape, Tensor};

/// How a graph is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// By the engine; what two nodes compute alike is computed once.
    Once,
    /// By the engine, every node by itself: the second computation of an activation is on purpose.
    Twice,
    /// Through the references.
    Reference,
}

/// A graph of fixed shapes with room for its inputs and outputs.
#[derive(Debug)]
pub(crate) enum Runner {
    /// Planned, in an arena.
    Engine(Box<Session>),
    /// Through [`interpret`]: slow, the truth that the engine is tested against.
    Reference {
        /// The graph.
        graph: Box<Graph>,
        /// One per input.
        inputs: Vec<Tensor>,
        /// Of the last run, as `f32`.
        outputs: Vec<Vec<f32>>,
    },
}

impl Runner {
    /// Plans a graph whose inputs have fixed extents.
    pub(crate) fn new(graph: &Graph, par: &Par, how: How) -> Result<Runner, TrainError> {
        if how != How::Reference {
            let mut passes = PassOptions::default();
            if how == How::Twice {
                passes.apply("-share-subexpressions").expect("a pass of this name exists");
            }
            let (par, fusion) = (Some(par.clone()), Fusion::Off);
            let options = Options { par, fusion, passes, ..Options::default() };
            let session = Model::from_graph(graph.clone(), options)?.session()?;
            return Ok(Runner::Engine(Box::new(session)));
        }
        let blank = |id: &depthwise_layers::ir::ValueId| {
            let ty = graph.input_type(*id);
            let dtype = ty.map_or(DType::F32, |ty| ty.dtype);
            let shape = ty.and_then(|ty| ty.shape()).unwrap_or(Shape::SCALAR);
            Tensor::zeros(dtype, shape)
        };
        let inputs = graph.inputs().iter().map(blank).collect::<Result<Vec<_>, _>>()?;
        Ok(Runner::Reference { graph: Box::new(graph.clone()), inputs, outputs: Vec::new() })
    }

    /// Fills input `index`.
    pub(crate) fn set(&mut self, index: usize, tensor: &Tensor) -> Result<(), TrainError> {
        match self {
            Runner::Engine(session) => set_input(session, index, tensor),
            Runner::Reference { inputs, .. } => {
                inputs[index] = tensor.clone();
                Ok(())
            }
        }
    }

    /// Lets `fill` write the elements of an `f32` input.
    pub(crate) fn fill(
        &mut self,
        index: usize,
        fill: impl FnOnce(&mut [f32]),
    ) -> Result<(), TrainError> {
        match self {
            Runner::Engine(session) => fill(session.input_mut(index)?),
            Runner::Reference { inputs, .. } => {
                let shape = *inputs[index].shape();
                let mut data = vec![0.0; shape.elements()];
                fill(&mut data);
                inputs[index] = Tensor::from_vec(shape.dims(), data)?;
            }
        }
        Ok(())
    }

    /// Bytes that the engine works in; 0 for the references.
    pub(crate) fn arena_bytes(&self) -> usize {
        match self {
            Runner::Engine(session) => session.plan().arena_bytes(),
            Runner::Reference { .. } => 0,
        }
    }

    pub(crate) fn run(&mut self) -> Result<(), TrainError> {
        match self {
            Runner::Engine(session) => session.run(),
            Runner::Reference { graph, inputs, outputs } => {
                let results = interpret(graph, inputs)?;
                *outputs = results.iter().map(|t| t.to_f32().into_owned()).collect();
            }
        }
        Ok(())
    }

    /// The elements of output `index`.
    pub(crate) fn output(&self, index: usize) -> Result<&[f32], TrainError> {
        match self {
            Runner::Engine(session) => Ok(session.output(index)?),
            Runner::Reference { outputs, .. } => Ok(&outputs[index]),
        }
    }
}

/// Fills input `index` of a session; numbers of any float type where it takes `f32`.
pub(crate) fn set_input(
    session: &mut Session,
    index: usize,
    tensor: &Tensor,
) -> Result<(), TrainError> {
    fn copy<T: Element>(
        session: &mut Session,
        index: usize,
        tensor: &Tensor,
    ) -> Result<(), TrainError> {
        session.input_mut::<T>(index)?.copy_from_slice(tensor.data()?);
        Ok(())
    }
    match tensor.dtype() {
        DType::I64 => copy::<i64>(session, index, tensor),
        DType::I32 => copy::<i32>(session, index, tensor),
        DType::U8 => copy::<u8>(session, index, tensor),
        _ => {
            session.input_mut::<f32>(index)?.copy_from_slice(&tensor.to_f32());
            Ok(())
        }
    }
}
