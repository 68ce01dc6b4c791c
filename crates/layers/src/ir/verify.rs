//! What must hold of every graph.

use super::{Def, Graph, NodeId, ValueId};
use crate::TensorType;
use std::collections::HashSet;

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A node reads a value that is defined later, or never.
    #[error("node \"{node}\" reads \"{value}\" before it is defined")]
    UseBeforeDefinition {
        /// Name of the node.
        node: String,
        /// Name of the value.
        value: String,
    },
    /// An output of the graph that nothing defines.
    #[error("output \"{0}\" is never defined")]
    UndefinedOutput(String),
    /// A value and its node do not name each other.
    #[error("value \"{0}\" does not belong to the node that it names")]
    Ownership(String),
    /// Two inputs or outputs of the graph share a name.
    #[error("the name \"{0}\" stands for two inputs or outputs")]
    DuplicateName(String),
    /// A state without its own input of a fixed type, or without its own output.
    #[error("state {0} does not have an input of its type and an output of its own")]
    State(usize),
}

impl Graph {
    /// Checks single assignment, order and names.
    ///
    /// # Errors
    /// The first broken rule.
    pub fn verify(&self) -> Result<(), VerifyError> {
        let name = |id: ValueId| self.value(id).name.clone();
        let mut defined: Vec<bool> =
            self.values().iter().map(|v| !matches!(v.def, Def::Node { .. })).collect();
        for (index, node) in self.nodes().iter().enumerate() {
            for &id in node.inputs.iter().flatten() {
                if !defined[id.index()] {
                    let (node, value) = (node.name.clone(), name(id));
                    return Err(VerifyError::UseBeforeDefinition { node, value });
                }
            }
            for (output, &id) in node.outputs.iter().enumerate() {
                let owner = Def::Node { node: NodeId(index as u32), output };
                if self.value(id).def != owner || defined[id.index()] {
                    return Err(VerifyError::Ownership(name(id)));
                }
                defined[id.index()] = true;
            }
        }
        for list in [self.inputs(), self.outputs()] {
            let mut seen = HashSet::new();
            for &id in list {
                if !defined[id.index()] {
                    return Err(VerifyError::UndefinedOutput(name(id)));
                }
                if !seen.insert(&self.value(id).name) {
                    return Err(VerifyError::DuplicateName(name(id)));
                }
            }
        }
        self.verify_states()
    }

    fn verify_states(&self) -> Result<(), VerifyError> {
        let (mut inputs, mut outputs) = (HashSet::new(), HashSet::new());
        for (index, state) in self.states().iter().enumerate() {
            let declared = self.inputs().get(state.input).and_then(|&id| self.input_type(id));
            let fits = declared.is_some_and(|ty| {
                let TensorType { dtype, shape } = TensorType::of(&state.initial);
                ty.dtype == dtype && ty.shape() == Some(shape)
            });
            let own = inputs.insert(state.input) && outputs.insert(state.output);
            if !fits || !own || state.output >= self.outputs().len() {
                return Err(VerifyError::State(index));
            }
        }
        Ok(())
    }
}
