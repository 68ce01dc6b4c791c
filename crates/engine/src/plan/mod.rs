//! What is decided before anything runs: kernels, order, memory.

mod absorbed;
mod builder;
mod fuse;
mod lifetimes;
mod memory;
mod operands;
mod packs;
mod streamed;

pub(crate) use absorbed::PixelChain;
pub(crate) use builder::{Arg, BufId, Builder, Operand, build, reshaped};
pub(crate) use packs::{Packed, Packs};

use crate::error::EngineError;
use depthwise_kernels::{Cpu, Program};
use depthwise_layers::TensorType;
use depthwise_layers::ir::State;
use depthwise_tensor::{Shape, Tensor};
use std::fmt::{self, Write as _};

/// An input or output of a plan: where it lies in the arena.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub name: String,
    pub ty: TensorType,
    pub offset: usize,
}

impl Port {
    /// Its bytes in the arena.
    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.ty.bytes()
    }
}

/// What a session keeps from run to run: the places of what a run reads and of what it leaves.
#[derive(Clone, Debug)]
pub(crate) struct StatePort {
    pub input: Port,
    pub output: Port,
    pub initial: Tensor,
}

/// What a plan reads and leaves.
pub(crate) struct Ports {
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    pub states: Vec<StatePort>,
}

/// Sets the ports of states apart from those of the caller.
fn split_states(
    states: &[State],
    inputs: Vec<Port>,
    outputs: Vec<Port>,
) -> Result<Ports, EngineError> {
    let mut ports = Vec::new();
    for State { input, output, initial } in states {
        let (input, output) = (inputs[*input].clone(), outputs[*output].clone());
        if input.ty != output.ty {
            let (name, want, got) = (input.name, Box::new(input.ty), Box::new(output.ty));
            return Err(EngineError::State { name, want, got });
        }
        ports.push(StatePort { input, output, initial: initial.clone() });
    }
    let others = |ports: Vec<Port>, position: fn(&State) -> usize| {
        let is_state = |at: usize| states.iter().any(|state| position(state) == at);
        let ports = ports.into_iter().enumerate();
        ports.filter(|(at, _)| !is_state(*at)).map(|(_, port)| port).collect()
    };
    Ok(Ports {
        inputs: others(inputs, |state| state.input),
        outputs: others(outputs, |state| state.output),
        states: ports,
    })
}

/// One step of a plan, as `explain`, profiles and logs show it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StepInfo {
    /// Name of the node that it computes; empty for a copy to an output.
    pub node: String,
    /// Kind of the layer.
    pub kind: &'static str,
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Shapes of the operands that it reads, weights left out.
    pub inputs: Vec<Shape>,
    /// Shapes of the results.
    pub outputs: Vec<Shape>,
    /// Multiply-accumulate steps.
    pub macs: u64,
    /// Bytes of packed weights.
    pub packed_bytes: usize,
    /// Where the first result lies in the arena, in bytes.
    pub arena_offset: usize,
    /// Parts that run at the same time.
    pub chunks: usize,
    /// Names of nodes beside it that the step computes as it reads or writes: a conversion of bytes, the
    /// product with a gate, a mean.
    pub absorbed: Vec<String>,
    /// The layers of a step that computes several, band by band.
    pub fused: Option<FusedInfo>,
}

/// The layers of a step that computes several, band by band.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FusedInfo {
    /// Name of the node and of the kernel of each layer.
    pub layers: Vec<(String, &'static str)>,
    /// Output rows at a time.
    pub band: usize,
    /// Bytes that one thread works in, beside input and output.
    pub bytes_per_thread: usize,
    /// Bytes between the layers that are never whole in memory.
    pub bytes_saved: usize,
}

/// A network made ready for inputs of given shapes on a given CPU: kernels chosen, weights packed,
/// memory laid out. Immutable; shared by sessions.
#[derive(Debug)]
pub struct Plan {
    pub(crate) program: Program,
    pub(crate) steps: Vec<StepInfo>,
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    pub(crate) states: Vec<StatePort>,
    cpu: Cpu,
    threads: usize,
}

impl Plan {
    /// The steps, in order.
    pub fn steps(&self) -> &[StepInfo] {
        &self.steps
    }

    /// Bytes that a session of this plan works in: activations, inputs and outputs.
    pub fn arena_bytes(&self) -> usize {
        self.program.arena_bytes()
    }

    /// Multiply-accumulate steps of one run.
    pub fn macs(&self) -> u64 {
        self.steps.iter().map(|s| s.macs).sum()
    }

    /// Name and type of what the session keeps from run to run.
    pub fn states(&self) -> impl ExactSizeIterator<Item = (&str, TensorType)> {
        self.states.iter().map(|state| (state.input.name.as_str(), state.input.ty))
    }

    /// Name and type of every input.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = (&str, TensorType)> {
        self.inputs.iter().map(|p| (p.name.as_str(), p.ty))
    }

    /// Name and type of every output.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = (&str, TensorType)> {
        self.outputs.iter().map(|p| (p.name.as_str(), p.ty))
    }

    /// A line per step: node, layer, shapes, kernel, packed bytes, arena offset, MACs.
    pub fn explain(&self) -> Explain<'_> {
        Explain(self)
    }
}

fn write_fused(f: &mut fmt::Formatter<'_>, fused: &FusedInfo) -> fmt::Result {
    writeln!(
        f,
        "        {} rows at a time in {} KiB per thread, for {} KiB between the layers",
        fused.band,
        fused.bytes_per_thread / 1024,
        fused.bytes_saved / 1024,
    )?;
    for (node, kernel) in &fused.layers {
        writeln!(f, "        {kernel}  {node}")?;
    }
    Ok(())
}

/// Prints a plan; see [`Plan::explain`].
#[derive(Debug)]
pub struct Explain<'a>(&'a Plan);

impl fmt::Display for Explain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.0;
        writeln!(
            f,
            "{} steps on {} with {} threads, arena {} KiB",
            plan.steps.len(),
            plan.cpu,
            plan.threads,
            plan.arena_bytes() / 1024,
        )?;
        let width = |of: fn(&StepInfo) -> &str, cap| {
            plan.steps.iter().map(|s| of(s).len()).max().unwrap_or(0).min(cap)
        };
        let node_width = width(|s| &s.node, 40);
        let kernel_width = width(|s| s.kernel, 40);
        for (i, step) in plan.steps.iter().enumerate() {
            let mut shapes = String::new();
            for (j, shape) in step.inputs.iter().chain(&step.outputs).enumerate() {
                let separator = match j {
                    0 => "",
                    j if j == step.inputs.len() => " -> ",
                    _ => ", ",
                };
                write!(shapes, "{separator}{shape}")?;
            }
            writeln!(
                f,
                "{i:4}  {:node_width$}  {:15}  {:kernel_width$}  {shapes:36}  {:8.3} MMAC  {:6} KiB packed  @{}",
                step.node,
                step.kind,
                step.kernel,
                step.macs as f64 / 1e6,
                step.packed_bytes / 1024,
                step.arena_offset,
            )?;
            for node in &step.absorbed {
                writeln!(f, "        with {node}")?;
            }
            if let Some(fused) = &step.fused {
                write_fused(f, fused)?;
            }
        }
        Ok(())
    }
}
