//! A network that is loaded and ready to be planned.

use crate::error::EngineError;
use crate::options::{BytePictures, Choices, Options};
use crate::passes::{self, PassOptions, PassReport};
use crate::plan::{self, Packs, Plan};
use crate::quantization::{self, Quantization};
use crate::session::Session;
use depthwise_formats::{SaveOptions, Saved};
use depthwise_kernels::{Cpu, Par};
use depthwise_layers::ir::{Dim, Graph, InferError, InputType};
use depthwise_tensor::{DType, Shape};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A network: its graph after the passes that need no shapes, its packed weights, and the plans
/// made so far. Cheap to clone; clones share all of it. `Send + Sync`.
#[derive(Clone, Debug)]
pub struct Model {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cpu: Cpu,
    par: Par,
    passes: PassOptions,
    choices: Choices,
    plan_limit: usize,
    inputs: Vec<(String, InputType)>,
    /// Shapes of all inputs of the graph that are states; `None` for those of the caller.
    states: Vec<Option<Shape>>,
    outputs: Vec<String>,
    /// Of the caller's inputs and outputs.
    quantizations: [Vec<Option<Quantization>>; 2],
    name: String,
    metadata: std::collections::BTreeMap<String, String>,
    report: PassReport,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    graph: Graph,
    packs: Packs,
    /// Least recently used first.
    plans: Vec<(Vec<Shape>, Arc<Plan>)>,
}

impl Shared {
    /// The shapes of all inputs of the graph, from those of the caller.
    fn with_states(&self, shapes: &[Shape]) -> Result<Vec<Shape>, EngineError> {
        let (want, got) = (self.inputs.len(), shapes.len());
        if want != got {
            return Err(InferError::InputCount { want, got }.into());
        }
        let mut shapes = shapes.iter().copied();
        Ok(self.states.iter().filter_map(|state| state.or_else(|| shapes.next())).collect())
    }
}

impl Model {
    /// Loads a model file with the default options.
    ///
    /// # Errors
    /// [`EngineError::Format`] where the file is not a model that can be read, with every node
    /// that stands in the way.
    pub fn open(path: impl AsRef<Path>) -> Result<Model, EngineError> {
        Model::open_with(path, Options::default())
    }

    /// Loads a model file.
    ///
    /// # Errors
    /// As [`Model::open`]; and where threads cannot be started.
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Model, EngineError> {
        Model::from_graph(depthwise_formats::open(path.as_ref())?, options)
    }

    /// Takes over a graph.
    ///
    /// # Errors
    /// [`EngineError::Verify`] where the graph breaks its own rules, [`EngineError::UnknownRank`]
    /// where [`Options::ends`] asks to turn outputs that nothing is known of,
    /// [`EngineError::BytePictures`] where [`Options::byte_pictures`] fits no input; and where
    /// threads cannot be started.
    pub fn from_graph(mut graph: Graph, options: Options) -> Result<Model, EngineError> {
        graph.verify()?;
        let cpu = match options.isa {
            Some(isa) => Cpu::from_env()?.capped(isa),
            None => Cpu::from_env()?,
        };
        let par = match options.par {
            Some(par) => par,
            None => Par::new(options.threads)?,
        };
        let choices = Choices {
            threads: par.threads(),
            fusion: options.fusion,
            dense_weights: options.dense_weights,
            precision: options.precision,
        };
        // The passes put integer layers in the place of what tells these.
        let quantizations = quantization::of_ends(&graph);
        if let Some(order) = options.ends.order() {
            turn_ends(&mut graph, order)?;
        }
        if let Some(pictures) = &options.byte_pictures {
            take_bytes(&mut graph, pictures)?;
        }
        let report = passes::prepare(&mut graph, &options.passes);
        let state = |input: usize| {
            let state = graph.states().iter().find(|state| state.input == input);
            state.map(|state| *state.initial.shape())
        };
        let states: Vec<Option<Shape>> = (0..graph.inputs().len()).map(state).collect();
        let named = |(&id, state): (_, &Option<Shape>)| {
            let ty = graph.input_type(id).filter(|_| state.is_none())?.clone();
            Some((graph.value(id).name.clone(), ty))
        };
        let inputs = graph.inputs().iter().zip(&states).filter_map(named).collect();
        let kept = |output: usize| graph.states().iter().any(|state| state.output == output);
        let outputs = graph.outputs().iter().enumerate().filter(|(output, _)| !kept(*output));
        let outputs = outputs.map(|(_, &id)| graph.value(id).name.clone()).collect();
        let plan_limit = match options.cached_plans {
            0 => Options::DEFAULT_PLANS,
            n => n,
        };
        let shared = Shared {
            cpu,
            par,
            passes: options.passes,
            choices,
            plan_limit,
            inputs,
            states,
            outputs,
            quantizations,
            name: graph.name.clone(),
            metadata: graph.metadata.clone(),
            report,
            state: Mutex::new(State { graph, packs: Packs::default(), plans: Vec::new() }),
        };
        Ok(Model { shared: Arc::new(shared) })
    }

    /// Name of the network.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Free text from the file: labels, normalisation, author.
    pub fn metadata(&self) -> &std::collections::BTreeMap<String, String> {
        &self.shared.metadata
    }

    /// Name and declared type of every input that the caller gives.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = (&str, &InputType)> {
        self.shared.inputs.iter().map(|(name, ty)| (name.as_str(), ty))
    }

    /// Name of every output.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = &str> {
        self.shared.outputs.iter().map(String::as_str)
    }

    /// What the 8-bit integers of an input stand for; `None` where it has no one scale, or there is
    /// no such input.
    pub fn input_quantization(&self, input: usize) -> Option<Quantization> {
        self.shared.quantizations[0].get(input).copied().flatten()
    }

    /// As [`Model::input_quantization`], of an output.
    pub fn output_quantization(&self, output: usize) -> Option<Quantization> {
        self.shared.quantizations[1].get(output).copied().flatten()
    }

    /// The CPU that kernels are chosen for.
    pub fn cpu(&self) -> Cpu {
        self.shared.cpu
    }

    /// The threads of a run.
    pub fn par(&self) -> &Par {
        &self.shared.par
    }

    /// What the passes did that need no shapes.
    pub fn pass_report(&self) -> &PassReport {
        &self.shared.report
    }

    /// A session for the declared input shapes.
    ///
    /// # Errors
    /// [`EngineError::FreeShape`] where an extent of an input is free; see
    /// [`Model::session_for`].
    pub fn session(&self) -> Result<Session, EngineError> {
        let shapes = self.shared.inputs.iter().map(|(name, ty)| {
            ty.shape().ok_or_else(|| EngineError::FreeShape {
                name: name.clone(),
                declared: ty.to_string(),
            })
        });
        self.session_for(&shapes.collect::<Result<Vec<_>, _>>()?)
    }

    /// A session for inputs of these shapes, one per input in order.
    ///
    /// # Errors
    /// As [`Model::plan`].
    pub fn session_for(&self, shapes: &[Shape]) -> Result<Session, EngineError> {
        Session::new(self.clone(), self.plan(shapes)?)
    }

    /// The plan for inputs of these shapes: one made before, or a new one.
    ///
    /// # Errors
    /// [`EngineError::Infer`] where the shapes do not fit, [`EngineError::Unsupported`] with all
    /// nodes that no kernel computes.
    pub fn plan(&self, shapes: &[Shape]) -> Result<Arc<Plan>, EngineError> {
        let shared = &*self.shared;
        let mut state = self.lock();
        let state = &mut *state;
        if let Some(at) = state.plans.iter().position(|(s, _)| s == shapes) {
            let entry = state.plans.remove(at);
            let plan = Arc::clone(&entry.1);
            state.plans.push(entry);
            return Ok(plan);
        }
        let mut graph = state.graph.clone();
        let types = passes::specialize(&mut graph, &shared.with_states(shapes)?, &shared.passes)?;
        let (packs, prepared) = (&mut state.packs, &mut state.graph);
        let (cpu, choices) = (shared.cpu, shared.choices);
        let plan = Arc::new(plan::build(graph, types, cpu, choices, packs, prepared)?);
        if state.plans.len() >= shared.plan_limit {
            state.plans.remove(0);
        }
        state.plans.push((shapes.to_vec(), Arc::clone(&plan)));
        Ok(plan)
    }

    /// Drops all plans kept for input shapes used before. Packed weights stay; sessions keep the
    /// plan that they use.
    pub fn release_plans(&self) {
        self.lock().plans.clear();
    }

    /// Number of plans kept.
    pub fn cached_plans(&self) -> usize {
        self.lock().plans.len()
    }

    /// Bytes of packed weights that the plans share.
    pub fn packed_bytes(&self) -> usize {
        self.lock().packs.bytes()
    }

    /// Writes the network, as the passes left it, to a file whose name tells the format: `.onnx`,
    /// `.tflite`, or `.safetensors` for the project's own form, which [`Model::open`] reads back
    /// exactly. Do it before the first plan: packing a weight drops its elements.
    ///
    /// # Errors
    /// [`EngineError::Save`], with every layer that the format has no form for, or where a plan has
    /// dropped elements; [`EngineError::Infer`] where the shapes do not fit.
    pub fn export(
        &self,
        path: impl AsRef<Path>,
        options: &SaveOptions,
    ) -> Result<Saved, EngineError> {
        let mut graph = self.lock().graph.clone();
        if !options.input_shapes.is_empty() {
            let shapes = self.shared.with_states(&options.input_shapes)?;
            passes::specialize(&mut graph, &shapes, &self.shared.passes)?;
        }
        Ok(depthwise_formats::save(&graph, path, options)?)
    }

    /// The graph after the passes that need no shapes, as text. Weights that are packed show
    /// their type alone.
    pub fn dump(&self) -> String {
        self.lock().graph.to_string()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the caller give pictures as bytes.
fn take_bytes(graph: &mut Graph, pictures: &BytePictures) -> Result<(), EngineError> {
    let refuse = |reason| Err(EngineError::BytePictures { reason });
    let channels = pictures.scale.len();
    if channels == 0 || pictures.shift.len() != channels {
        return refuse(format!("{channels} factors and {} offsets", pictures.shift.len()));
    }
    if let Some(value) = pictures.scale.iter().chain(&pictures.shift).find(|v| !v.is_finite()) {
        return refuse(format!("a factor or offset of {value}"));
    }
    let mut fits = false;
    for (position, id) in graph.inputs().to_vec().into_iter().enumerate() {
        if graph.states().iter().any(|state| state.input == position) {
            continue;
        }
        let ty = graph.input_type(id).filter(|ty| ty.dtype == DType::F32 && ty.dims.len() == 4);
        let axis = ty.and_then(|ty| ty.dims.iter().rposition(|d| *d == Dim::Fixed(channels)));
        // The channels of a single picture of one are not its number.
        let Some(axis @ 1..) = axis else { continue };
        graph.read_bytes(id, axis, &pictures.scale, &pictures.shift);
        fits = true;
    }
    if fits {
        return Ok(());
    }
    let declared = graph.inputs().iter().filter_map(|&id| graph.input_type(id));
    let declared: Vec<String> = declared.map(ToString::to_string).collect();
    refuse(format!("no f32 input of {channels} channels among {}", declared.join(", ")))
}

/// Puts the axes of all pictures that the caller gives or gets in another order.
fn turn_ends(graph: &mut Graph, order: [usize; 4]) -> Result<(), EngineError> {
    let ranks = passes::output_ranks(graph);
    for (position, rank) in ranks.into_iter().enumerate() {
        let is_state = graph.states().iter().any(|state| state.output == position);
        match rank {
            _ if is_state => {}
            Some(4) => graph.permute_output(position, &order),
            Some(_) => {}
            None => {
                let name = graph.value(graph.outputs()[position]).name.clone();
                return Err(EngineError::UnknownRank { name });
            }
        }
    }
    for (position, id) in graph.inputs().to_vec().into_iter().enumerate() {
        if graph.states().iter().all(|state| state.input != position) {
            graph.permute_input(id, &order);
        }
    }
    Ok(())
}
