//! From a specialized graph to bound operators.

use super::fuse;
use super::packs::Packs;
use super::{FusedInfo, Plan, Port, Ports, StepInfo, split_states};
use crate::error::{EngineError, LowerError, UnsupportedNode};
use crate::options::Choices;
use crate::steps;
use bytes::Bytes;
use depthwise_kernels::fused::Stage;
use depthwise_kernels::layout::{CopyRows, View};
use depthwise_kernels::{Cpu, Operator, Program, Source};
use depthwise_layers::ir::{Def, Graph, Node, NodeId, Types, ValueId};
use depthwise_layers::{Op, TensorType};
use depthwise_tensor::{AlignedBuf, DType, Rows, Shape, Tensor};
use std::collections::HashMap;
use std::sync::Arc;

/// Channels from which on a picture is always padded to whole vectors.
const FEW_CHANNELS: usize = 8;

/// Number of a buffer in a builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BufId(pub(super) usize);

impl BufId {
    pub(super) fn index(self) -> usize {
        self.0
    }
}

/// What a step reads.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    Buf(BufId),
    Const(Bytes),
}

/// An operand with its layout.
#[derive(Clone, Debug)]
pub(crate) struct Arg {
    pub operand: Operand,
    pub view: View,
}

#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) bytes: usize,
    /// First and last step that touches it.
    pub(super) first: usize,
    pub(super) last: usize,
    /// Lives through the whole run: an input or an output of the network.
    pub(super) pinned: bool,
    /// The buffer that this one was merged into, to run in place.
    pub(super) merged: Option<BufId>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    buf: BufId,
    view: View,
}

/// A step that has no place in memory yet.
pub(super) struct Draft {
    pub(super) node: String,
    pub(super) kind: &'static str,
    pub(super) op: Arc<dyn Operator>,
    /// The operator again, where it can be part of a chain.
    pub(super) stage: Option<Stage>,
    pub(super) inputs: Vec<Operand>,
    pub(super) outputs: Vec<BufId>,
    pub(super) scratch: Option<BufId>,
    pub(super) shapes: (Vec<Shape>, Vec<Shape>),
    /// Names of nodes that the step computes beside its own.
    pub(super) absorbed: Vec<String>,
    /// The layers of a chain, and why they are one.
    pub(super) fused: Option<FusedInfo>,
}

pub(crate) struct Builder<'a> {
    pub(super) graph: Graph,
    types: Types,
    pub(super) cpu: Cpu,
    pub(super) choices: Choices,
    pub(super) packs: &'a mut Packs,
    /// Constants below this number are those of the prepared graph; their packs are shared.
    pub(super) stable: usize,
    /// The graph that the specialized one was cloned from; its packed constants are dropped.
    pub(super) prepared: &'a mut Graph,
    /// How many operands of nodes (and outputs of the graph) each value is.
    pub(super) uses: Vec<usize>,
    places: Vec<Option<Place>>,
    pub(super) buffers: Vec<Buffer>,
    pub(super) drafts: Vec<Draft>,
    padded_copies: HashMap<ValueId, Place>,
    /// The node being lowered.
    pub(super) node: Option<NodeId>,
}

/// Builds the plan of a specialized clone of `prepared`, and drops the constants of `prepared` that
/// it packed.
pub(crate) fn build(
    graph: Graph,
    types: Types,
    cpu: Cpu,
    choices: Choices,
    packs: &mut Packs,
    prepared: &mut Graph,
) -> Result<Plan, EngineError> {
    let mut uses = vec![0; graph.values().len()];
    for node in graph.nodes() {
        for id in node.inputs.iter().flatten() {
            uses[id.index()] += 1;
        }
    }
    for id in graph.outputs() {
        uses[id.index()] += 1;
    }
    packs.expect(&graph);
    let count = graph.values().len();
    let stable = prepared.values().len();
    let mut builder = Builder {
        graph,
        types,
        cpu,
        choices,
        packs,
        stable,
        prepared,
        uses,
        places: vec![None; count],
        buffers: Vec::new(),
        drafts: Vec::new(),
        padded_copies: HashMap::new(),
        node: None,
    };
    let inputs = builder.place_inputs();
    builder.lower_nodes()?;
    let outputs = builder.place_outputs().map_err(|(node, error)| builder.fail(node, error))?;
    let kept: Vec<BufId> = outputs.iter().map(|place| place.buf).collect();
    let drafts = std::mem::take(&mut builder.drafts);
    builder.drafts = fuse::chains(drafts, &builder.buffers, &kept, choices.fusion, choices.threads);
    builder.set_lifetimes(&kept);
    builder.merge_in_place();
    builder.finish(&inputs, &outputs)
}

impl Builder<'_> {
    // ------------------------------------------------------------ what steps ask

    pub(crate) fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    pub(crate) fn threads(&self) -> usize {
        self.choices.threads
    }

    pub(crate) fn choices(&self) -> &Choices {
        &self.choices
    }

    pub(crate) fn ty(&self, id: ValueId) -> TensorType {
        self.types.of(id)
    }

    pub(crate) fn shape(&self, id: ValueId) -> Shape {
        self.types.of(id).shape
    }

    /// The elements of a value that is constant for these input shapes.
    pub(crate) fn constant(&self, id: ValueId) -> Option<&Tensor> {
        self.graph.constant(id).or_else(|| self.types.derived_constant(id))
    }

    /// The elements of a value that has to be constant.
    pub(crate) fn need_constant(&self, id: ValueId) -> Result<&Tensor, LowerError> {
        self.constant(id).ok_or_else(|| {
            let name = self.graph.value(id).name.clone();
            match self.graph.value(id).def {
                Def::Released(_) => LowerError::Released(name),
                _ => LowerError::Unsupported(format!("\"{name}\" is not constant")),
            }
        })
    }

    /// A value as an operand of any layout.
    pub(crate) fn arg(&mut self, id: ValueId) -> Result<Arg, LowerError> {
        if let Some(place) = self.places[id.index()] {
            return Ok(Arg { operand: Operand::Buf(place.buf), view: place.view });
        }
        let tensor = self.need_constant(id)?.clone();
        let view = View::dense(*tensor.shape());
        Ok(Arg { operand: Operand::Const(aligned(tensor.bytes())?), view })
    }

    /// An `f32` value as an operand whose rows start on whole vectors; copied where it is not.
    pub(crate) fn padded_arg(&mut self, id: ValueId) -> Result<Arg, LowerError> {
        self.need_f32(id)?;
        match self.places[id.index()] {
            Some(place) => self.padded_place(id, place, 4),
            None => self.padded_constant(id),
        }
    }

    /// As [`Builder::padded_arg`], of a value of one byte per element that is not constant.
    pub(crate) fn padded_bytes(&mut self, id: ValueId) -> Result<Arg, LowerError> {
        let ty = self.ty(id);
        let place = self.places[id.index()].filter(|_| ty.dtype.size_bytes() == 1);
        let place = place.ok_or_else(|| {
            let name = &self.graph.value(id).name;
            LowerError::Unsupported(format!("\"{name}\" is a constant or {}, not bytes", ty.dtype))
        })?;
        self.padded_place(id, place, 1)
    }

    /// A place, or a copy whose rows start on whole vectors.
    fn padded_place(&mut self, id: ValueId, place: Place, size: usize) -> Result<Arg, LowerError> {
        if place.view.rows().is_vector_padded() {
            return Ok(Arg { operand: Operand::Buf(place.buf), view: place.view });
        }
        let copy = match self.padded_copies.get(&id) {
            Some(copy) => *copy,
            None => {
                let view = View::padded(place.view.shape);
                let op = CopyRows::new(size, place.view.rows(), view.rows(), self.choices.threads)?;
                let buf = self.new_buffer(view.rows().len() * size);
                let input = Arg { operand: Operand::Buf(place.buf), view: place.view };
                self.push_draft("Copy", Arc::new(op), None, &[&input], &[(buf, view)]);
                let copy = Place { buf, view };
                self.padded_copies.insert(id, copy);
                copy
            }
        };
        Ok(Arg { operand: Operand::Buf(copy.buf), view: copy.view })
    }

    /// A fresh buffer for a result, `f32`, `i8` and `u8` padded and anything else dense.
    pub(crate) fn output(&mut self, id: ValueId) -> (BufId, View) {
        let ty = self.ty(id);
        let view = match ty.dtype {
            DType::F32 | DType::I8 | DType::U8 => View::padded(ty.shape),
            _ => View::dense(ty.shape),
        };
        self.output_in(id, view)
    }

    /// As [`Builder::output`], but dense also for a picture of few channels that only convolutions
    /// read: they take pixels at any distance, and 3 channels padded to 16 are five times the bytes.
    pub(crate) fn output_for_readers(&mut self, id: ValueId) -> (BufId, View) {
        let few = self.shape(id).dims().last().is_some_and(|&c| c < FEW_CHANNELS);
        let reads = |node: &&Node| node.inputs.contains(&Some(id));
        let as_picture = |node: &Node| {
            let place = node.inputs.iter().rposition(|&input| input == Some(id));
            matches!(node.op, Op::Conv2d(_) | Op::QConv2d(_)) && place == Some(0)
        };
        if !few
            || self.graph.outputs().contains(&id)
            || !self.graph.nodes().iter().filter(reads).all(as_picture)
        {
            return self.output(id);
        }
        self.output_in(id, View::dense(self.shape(id)))
    }

    pub(super) fn output_in(&mut self, id: ValueId, view: View) -> (BufId, View) {
        let buf = self.new_buffer(view.rows().len() * self.ty(id).dtype.size_bytes());
        self.places[id.index()] = Some(Place { buf, view });
        (buf, view)
    }

    /// A buffer for `f32` elements that only the steps of one node see.
    pub(crate) fn temporary(&mut self, shape: Shape) -> (BufId, View) {
        let view = View::padded(shape);
        (self.new_buffer(view.rows().len() * 4), view)
    }

    /// A buffer for bytes that only the steps of one node see.
    pub(crate) fn temporary_bytes(&mut self, shape: Shape) -> (BufId, View) {
        let view = View::padded(shape);
        (self.new_buffer(view.rows().len()), view)
    }

    /// A buffer for `i64` elements that only the steps of one node see.
    pub(crate) fn temporary_words(&mut self, shape: Shape) -> (BufId, View) {
        let view = View::dense(shape);
        (self.new_buffer(view.rows().len() * size_of::<i64>()), view)
    }

    /// Whether a value has its memory.
    pub(super) fn is_placed(&self, id: ValueId) -> bool {
        self.places[id.index()].is_some()
    }

    /// Lets `id` be the same memory as `arg`, under its own shape.
    pub(crate) fn alias(&mut self, id: ValueId, buf: BufId, view: View) {
        self.places[id.index()] = Some(Place { buf, view });
    }

    /// Adds a step to the program.
    pub(crate) fn push(
        &mut self,
        op: impl Operator + 'static,
        inputs: &[&Arg],
        outputs: &[(BufId, View)],
    ) {
        self.push_dyn(Arc::new(op), inputs, outputs);
    }

    /// As [`Builder::push`], for an operator whose type is chosen at run time.
    pub(crate) fn push_dyn(
        &mut self,
        op: Arc<dyn Operator>,
        inputs: &[&Arg],
        outputs: &[(BufId, View)],
    ) {
        self.push_draft(self.kind(), op, None, inputs, outputs);
    }

    /// As [`Builder::push`], for a convolution that can be part of a chain.
    pub(crate) fn push_stage(&mut self, stage: Stage, inputs: &[&Arg], outputs: &[(BufId, View)]) {
        self.push_draft(self.kind(), stage.operator(), Some(stage), inputs, outputs);
    }

    fn kind(&self) -> &'static str {
        self.node.map_or("", |id| self.graph.node(id).op.layer().kind())
    }

    pub(super) fn push_draft(
        &mut self,
        kind: &'static str,
        op: Arc<dyn Operator>,
        stage: Option<Stage>,
        inputs: &[&Arg],
        outputs: &[(BufId, View)],
    ) {
        let node = self.node.map_or_else(String::new, |id| self.graph.node(id).name.clone());
        self.drafts.push(Draft {
            node,
            kind,
            op,
            stage,
            inputs: inputs.iter().map(|a| a.operand.clone()).collect(),
            outputs: outputs.iter().map(|(buf, _)| *buf).collect(),
            scratch: None,
            shapes: (
                inputs.iter().map(|a| a.view.shape).collect(),
                outputs.iter().map(|(_, view)| view.shape).collect(),
            ),
            absorbed: Vec::new(),
            fused: None,
        });
    }

    // ------------------------------------------------------------ the walk

    fn place_inputs(&mut self) -> Vec<ValueId> {
        let inputs = self.graph.inputs().to_vec();
        for &id in &inputs {
            let ty = self.ty(id);
            let dense = View::dense(ty.shape);
            // A single row has room for whole vectors behind it and stays contiguous.
            let view = match ty.dtype {
                DType::F32 if dense.rows().rows == 1 => View::padded(ty.shape),
                _ => dense,
            };
            let buf = self.new_buffer(view.rows().len() * ty.dtype.size_bytes());
            self.buffers[buf.0].pinned = true;
            self.places[id.index()] = Some(Place { buf, view });
        }
        inputs
    }

    fn lower_nodes(&mut self) -> Result<(), EngineError> {
        let mut unsupported = Vec::new();
        for id in self.graph.node_ids() {
            self.node = Some(id);
            let node = self.graph.node(id).clone();
            if node.outputs.iter().all(|&o| self.types.derived_constant(o).is_some()) {
                continue;
            }
            match steps::lower(self, &node) {
                Ok(()) => {}
                Err(LowerError::Released(value)) => {
                    return Err(EngineError::Released { node: node.name, value });
                }
                Err(LowerError::Alloc(error)) => return Err(error.into()),
                Err(error) => {
                    // Later nodes read these; they are lowered to find all that is unsupported.
                    for &output in &node.outputs {
                        self.output(output);
                    }
                    unsupported.push(UnsupportedNode {
                        node: node.name.clone(),
                        kind: node.op.layer().kind(),
                        reason: error.to_string(),
                    });
                }
            }
        }
        if unsupported.is_empty() { Ok(()) } else { Err(EngineError::Unsupported(unsupported)) }
    }

    /// A place for every output that can be read as one contiguous slice: its own where that is
    /// so, else a copy.
    fn place_outputs(&mut self) -> Result<Vec<Place>, (String, LowerError)> {
        let outputs = self.graph.outputs().to_vec();
        let inputs = self.graph.inputs().to_vec();
        self.node = None;
        outputs
            .iter()
            .map(|&id| {
                let own = self.places[id.index()].filter(|_| !inputs.contains(&id));
                let place = match own {
                    Some(place) if is_contiguous(&place.view) => place,
                    _ => self
                        .copy_out(id)
                        .map_err(|error| (self.graph.value(id).name.clone(), error))?,
                };
                Ok(place)
            })
            .collect()
    }

    fn copy_out(&mut self, id: ValueId) -> Result<Place, LowerError> {
        let arg = self.arg(id)?;
        let size = self.ty(id).dtype.size_bytes();
        let view = View::dense(arg.view.shape);
        let op = CopyRows::new(size, arg.view.rows(), view.rows(), self.choices.threads)?;
        let buf = self.new_buffer(view.rows().len() * size);
        self.push_draft("Copy", Arc::new(op), None, &[&arg], &[(buf, view)]);
        Ok(Place { buf, view })
    }

    pub(super) fn new_buffer(&mut self, bytes: usize) -> BufId {
        self.buffers.push(Buffer { bytes, first: 0, last: 0, pinned: false, merged: None });
        BufId(self.buffers.len() - 1)
    }

    fn finish(mut self, inputs: &[ValueId], outputs: &[Place]) -> Result<Plan, EngineError> {
        let layout = self.lay_out();
        let mut program = Program::new(layout.arena_bytes);
        let mut steps = Vec::with_capacity(self.drafts.len());
        let drafts = std::mem::take(&mut self.drafts);
        let offset = |buf: BufId| layout.offsets[self.root(buf).0];
        for draft in drafts {
            let sources = draft
                .inputs
                .iter()
                .map(|operand| match operand {
                    Operand::Buf(buf) => Source::Arena(offset(*buf)),
                    Operand::Const(bytes) => Source::Const(bytes.clone()),
                })
                .collect();
            let places: Vec<usize> = draft.outputs.iter().map(|&b| offset(b)).collect();
            let scratch = draft.scratch.map_or(0, offset);
            steps.push(StepInfo {
                node: draft.node.clone(),
                kind: draft.kind,
                kernel: draft.op.kernel(),
                inputs: draft.shapes.0,
                outputs: draft.shapes.1,
                macs: draft.op.macs(),
                packed_bytes: draft.op.packed_bytes(),
                arena_offset: places.first().copied().unwrap_or(0),
                chunks: draft.op.chunks(),
                absorbed: draft.absorbed,
                fused: draft.fused,
            });
            program
                .push(draft.op, sources, places, scratch)
                .map_err(|source| EngineError::Bind { node: draft.node, source })?;
        }
        let port = |id: ValueId, place: Place| Port {
            name: self.graph.value(id).name.clone(),
            ty: self.ty(id),
            offset: offset(place.buf),
        };
        let inputs = inputs.iter().filter_map(|&id| Some(port(id, self.places[id.index()]?)));
        let inputs = inputs.collect();
        let outputs =
            self.graph.outputs().iter().zip(outputs).map(|(&id, &place)| port(id, place)).collect();
        let Ports { inputs, outputs, states } = split_states(self.graph.states(), inputs, outputs)?;
        let threads = self.choices.threads;
        Ok(Plan { program, steps, inputs, outputs, states, cpu: self.cpu, threads })
    }

    fn fail(&self, node: String, error: LowerError) -> EngineError {
        match error {
            LowerError::Released(value) => EngineError::Released { node, value },
            LowerError::Alloc(error) => error.into(),
            error => EngineError::Unsupported(vec![UnsupportedNode {
                node,
                kind: "output",
                reason: error.to_string(),
            }]),
        }
    }
}

/// Whether the meaningful elements follow each other without a gap.
fn is_contiguous(view: &View) -> bool {
    let rows = view.rows();
    rows.is_dense() || rows.rows <= 1
}

/// The same memory under another shape; `None` where rows would have to move.
pub(crate) fn reshaped(view: &View, shape: &Shape) -> Option<View> {
    let (from, to) = (view.rows(), Rows::dense(shape));
    if from.c == to.c {
        return Some(View { shape: *shape, ld: view.ld });
    }
    from.is_dense().then(|| View::dense(*shape))
}

/// The bytes at an address that suits every element type.
fn aligned(bytes: &Bytes) -> Result<Bytes, LowerError> {
    if (bytes.as_ptr() as usize).is_multiple_of(8) || bytes.is_empty() {
        return Ok(bytes.clone());
    }
    Ok(AlignedBuf::copy_of(bytes)?.into_bytes())
}
