//! The graph that layers form.
//!
//! A [`Graph`] is in static single assignment form: every [`Value`] is defined once, as an input,
//! a constant, or an output of a node, and nodes stand in an order in which every value is
//! defined before it is used.

mod cost;
mod edit;
mod ends;
mod graph;
mod infer;
mod interp;
mod ports;
mod verify;

pub use edit::GraphEdit;
pub use graph::{Def, Dim, Graph, InputType, Node, NodeId, State, Value, ValueId};
pub use infer::{InferError, Types, infer_types};
pub use interp::{InterpError, interpret, interpret_stateful};
pub use verify::VerifyError;
