//! Nodes and values.

use crate::{Op, TensorType};
use depthwise_tensor::{DType, Shape, Tensor};
use std::collections::BTreeMap;
use std::fmt;

/// Names a value of one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(super) u32);

/// Names a node of one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(super) u32);

impl ValueId {
    /// Position of the value, for tables with an entry per value.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl NodeId {
    /// Position of the node in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One extent of a graph input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Known when the graph is built.
    Fixed(usize),
    /// Known when the graph is run. Equal names mean equal extents; an empty name stands alone.
    Free(String),
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(n) => write!(f, "{n}"),
            Dim::Free(name) if name.is_empty() => write!(f, "?"),
            Dim::Free(name) => write!(f, "{name}"),
        }
    }
}

/// The declared type of a graph input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputType {
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub dims: Vec<Dim>,
}

impl InputType {
    /// A type whose extents are all known.
    pub fn fixed(dtype: DType, dims: &[usize]) -> InputType {
        InputType { dtype, dims: dims.iter().map(|&d| Dim::Fixed(d)).collect() }
    }

    /// The shape, where all extents are fixed (and make one).
    pub fn shape(&self) -> Option<Shape> {
        let fixed = |d: &Dim| match d {
            Dim::Fixed(n) => Some(*n),
            Dim::Free(_) => None,
        };
        Shape::new(&self.dims.iter().map(fixed).collect::<Option<Vec<_>>>()?).ok()
    }
}

impl fmt::Display for InputType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.dims.iter().map(Dim::to_string).collect();
        f.pad(&format!("{}[{}]", self.dtype, dims.join("x")))
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Def {
    /// Given by the caller at every run.
    Input(InputType),
    /// Known when the graph is built.
    Const(Tensor),
    /// A constant whose elements have been packed for a kernel and dropped here.
    Released(TensorType),
    /// Output number `output` of a node.
    Node {
        /// The node.
        node: NodeId,
        /// Position among its outputs.
        output: usize,
    },
}

/// A tensor that flows through the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Name, for people, goldens and [`Graph::find`]. Unique among the inputs and outputs of the
    /// graph.
    pub name: String,
    /// Where it comes from.
    pub def: Def,
}

/// One operation applied to values.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Name, for people and errors.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Operands in the order of the layer's table; `None` where one is left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Results.
    pub outputs: Vec<ValueId>,
}

/// A tensor that lasts from run to run, as streaming networks keep their past: an input of the
/// graph that the caller does not give, since it is what an output was after the run before.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Position among the graph's inputs. The input has fixed extents.
    pub input: usize,
    /// Position among the graph's outputs, of the same type.
    pub output: usize,
    /// Its elements before the first run.
    pub initial: Tensor,
}

/// A network: nodes in execution order, the values between them, its inputs and outputs.
///
/// Built by the `add_` methods, changed through [`GraphEdit`](super::GraphEdit). Cloning shares
/// the constants.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Name of the network.
    pub name: String,
    /// Free text from the file: labels, normalisation, author.
    pub metadata: BTreeMap<String, String>,
    pub(super) nodes: Vec<Node>,
    pub(super) values: Vec<Value>,
    pub(super) inputs: Vec<ValueId>,
    pub(super) outputs: Vec<ValueId>,
    pub(super) states: Vec<State>,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Graph {
        Graph { name: name.into(), ..Graph::default() }
    }

    /// Nodes, every one after those it depends on.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node of this id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// Ids of all nodes, in order.
    pub fn node_ids(&self) -> impl ExactSizeIterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// All values. Passes may leave some without use.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The value of this id.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// Ids of all values.
    pub fn value_ids(&self) -> impl ExactSizeIterator<Item = ValueId> + use<> {
        (0..self.values.len() as u32).map(ValueId)
    }

    /// What the caller gives, in order, and what [`Graph::states`] give.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// What the caller gets, in order, and what [`Graph::states`] keep.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// What lasts from run to run: pairs of an input and an output. Passes and plans see ordinary
    /// inputs and outputs.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// The first value of this name.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.value_ids().find(|&id| self.value(id).name == name)
    }

    /// The elements of a constant.
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        match &self.value(id).def {
            Def::Const(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The node that computes a value, unless it is an input or a constant.
    pub fn producer(&self, id: ValueId) -> Option<NodeId> {
        match self.value(id).def {
            Def::Node { node, .. } => Some(node),
            _ => None,
        }
    }

    /// The declared type of a graph input.
    pub fn input_type(&self, id: ValueId) -> Option<&InputType> {
        match &self.value(id).def {
            Def::Input(ty) => Some(ty),
            _ => None,
        }
    }

    /// Declares other extents for an input; does nothing for another value.
    pub fn set_input_dims(&mut self, id: ValueId, dims: Vec<Dim>) {
        if let Def::Input(ty) = &mut self.values[id.index()].def {
            ty.dims = dims;
        }
    }

    /// Adds an input.
    pub fn add_input(&mut self, name: impl Into<String>, ty: InputType) -> ValueId {
        let id = self.add_value(name, Def::Input(ty));
        self.inputs.push(id);
        id
    }

    /// Adds a constant.
    pub fn add_const(&mut self, name: impl Into<String>, tensor: Tensor) -> ValueId {
        self.add_value(name, Def::Const(tensor))
    }

    /// Adds a node at the end, with one output per name.
    pub fn add_node(
        &mut self,
        name: impl Into<String>,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
        outputs: &[&str],
    ) -> Vec<ValueId> {
        let node = NodeId(self.nodes.len() as u32);
        let outputs: Vec<ValueId> = outputs
            .iter()
            .enumerate()
            .map(|(output, &name)| self.add_value(name, Def::Node { node, output }))
            .collect();
        self.nodes.push(Node {
            name: name.into(),
            op: op.into(),
            inputs: inputs.to_vec(),
            outputs: outputs.clone(),
        });
        outputs
    }

    /// Adds a node whose inputs are all present and whose one output bears its name.
    pub fn add(&mut self, name: &str, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        self.add_node(name, op, &inputs, &[name])[0]
    }

    /// Declares a value as an output of the graph.
    pub fn add_output(&mut self, id: ValueId) {
        self.outputs.push(id);
    }

    /// Lets an output be an input of the next run.
    pub fn add_state(&mut self, state: State) {
        self.states.push(state);
    }

    /// Renames a value.
    pub fn rename_value(&mut self, id: ValueId, name: impl Into<String>) {
        self.values[id.index()].name = name.into();
    }

    /// Drops the elements of a constant, keeping its type. For planners that have packed it.
    pub fn release_constant(&mut self, id: ValueId) {
        let value = &mut self.values[id.index()];
        if let Def::Const(tensor) = &value.def {
            value.def = Def::Released(TensorType::of(tensor));
        }
    }

    /// Drops the elements of every constant that no node reads and that is no output, keeping its
    /// type. For when passes have put others in their place.
    pub fn release_unused_constants(&mut self) {
        let consumers = self.consumers();
        for id in self.value_ids() {
            if consumers[id.index()].is_empty() && !self.outputs.contains(&id) {
                self.release_constant(id);
            }
        }
    }

    /// For every value, the nodes that read it, in order (a node that reads it twice stands
    /// twice).
    pub fn consumers(&self) -> Vec<Vec<NodeId>> {
        let mut consumers = vec![Vec::new(); self.values.len()];
        for id in self.node_ids() {
            for input in self.node(id).inputs.iter().flatten() {
                consumers[input.index()].push(id);
            }
        }
        consumers
    }

    fn add_value(&mut self, name: impl Into<String>, def: Def) -> ValueId {
        let id = ValueId(self.values.len() as u32);
        self.values.push(Value { name: name.into(), def });
        id
    }
}

impl fmt::Display for Graph {
    /// One line per input, node and output.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |id: &ValueId| format!("%{} \"{}\"", id.0, self.value(*id).name);
        writeln!(f, "graph \"{}\" {{", self.name)?;
        for id in &self.inputs {
            if let Some(ty) = self.input_type(*id) {
                writeln!(f, "  input {}: {ty}", name(id))?;
            }
        }
        for node in &self.nodes {
            let outputs: Vec<String> = node.outputs.iter().map(name).collect();
            let inputs: Vec<String> = node
                .inputs
                .iter()
                .map(|i| match i {
                    None => "-".into(),
                    Some(id) => match &self.value(*id).def {
                        Def::Const(t) => format!("%{} {}", id.0, TensorType::of(t)),
                        Def::Released(ty) => format!("%{} {ty}", id.0),
                        _ => format!("%{}", id.0),
                    },
                })
                .collect();
            writeln!(f, "  {} = {:?}({})", outputs.join(", "), node.op, inputs.join(", "))?;
        }
        for id in &self.outputs {
            writeln!(f, "  output {}", name(id))?;
        }
        for State { input, output, initial } in &self.states {
            let ty = TensorType::of(initial);
            writeln!(f, "  state {ty} from output {output} to input {input} of the next run")?;
        }
        write!(f, "}}")
    }
}
