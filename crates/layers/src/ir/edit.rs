//! Changes to a graph.

use super::{Def, Graph, Node, NodeId, ValueId};
use crate::Op;
use depthwise_tensor::Tensor;
use smallvec::SmallVec;

/// A batch of changes to a graph. Ids stay valid until [`GraphEdit::finish`], which drops dead
/// nodes, sorts the rest and renumbers nodes (value ids never change).
///
/// The graph as it was is read through [`GraphEdit::graph`]; changes show there at once, except
/// that new nodes stand at the end until `finish`, and that nodes which nothing depends on any
/// more stay until then, although they no longer count as [`GraphEdit::readers`].
#[derive(Debug)]
pub struct GraphEdit<'g> {
    graph: &'g mut Graph,
    changed: bool,
    /// Per value, the live nodes that read it, once per reading input.
    readers: Vec<SmallVec<[NodeId; 4]>>,
    /// Per node, whether an output of the graph depends on it.
    live: Vec<bool>,
}

impl<'g> GraphEdit<'g> {
    /// Starts a batch.
    pub fn new(graph: &'g mut Graph) -> GraphEdit<'g> {
        let live = live_nodes(graph);
        let mut readers = vec![SmallVec::new(); graph.values.len()];
        for id in graph.node_ids().filter(|id| live[id.index()]) {
            for input in graph.node(id).inputs.iter().flatten() {
                readers[input.index()].push(id);
            }
        }
        GraphEdit { graph, changed: false, readers, live }
    }

    /// The graph in its present state.
    pub fn graph(&self) -> &Graph {
        self.graph
    }

    /// The nodes that read a value, except those that nothing depends on. A node that reads it
    /// twice stands twice.
    pub fn readers(&self, id: ValueId) -> &[NodeId] {
        &self.readers[id.index()]
    }

    /// Whether a value is an output of the graph.
    pub fn is_output(&self, id: ValueId) -> bool {
        self.graph.outputs.contains(&id)
    }

    /// Whether an output of the graph depends on a node.
    pub fn is_live(&self, id: NodeId) -> bool {
        self.live[id.index()]
    }

    /// Adds a constant.
    pub fn add_const(&mut self, name: impl Into<String>, tensor: Tensor) -> ValueId {
        self.changed = true;
        self.readers.push(SmallVec::new());
        self.graph.add_const(name, tensor)
    }

    /// Adds a node with one output of the same name.
    pub fn add_node(
        &mut self,
        name: impl Into<String>,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
    ) -> ValueId {
        let name = name.into();
        self.add_node_with_outputs(name.clone(), op, inputs, &[&name])[0]
    }

    /// Adds a node with one output per name.
    pub fn add_node_with_outputs(
        &mut self,
        name: impl Into<String>,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
        outputs: &[&str],
    ) -> Vec<ValueId> {
        self.changed = true;
        let id = NodeId(self.graph.nodes.len() as u32);
        let outputs = self.graph.add_node(name, op, inputs, outputs);
        self.readers.resize(self.graph.values.len(), SmallVec::new());
        // Counted as live from the start: what a pass adds, it is about to use.
        self.live.push(true);
        for &input in inputs.iter().flatten() {
            self.add_reader(input, id);
        }
        outputs
    }

    /// Gives a node another operation and other inputs; its outputs stay.
    pub fn replace_node(&mut self, id: NodeId, op: impl Into<Op>, inputs: Vec<Option<ValueId>>) {
        self.changed = true;
        if self.live[id.index()] {
            for &input in inputs.iter().flatten() {
                self.add_reader(input, id);
            }
        }
        let node = &mut self.graph.nodes[id.index()];
        node.op = op.into();
        let before = std::mem::replace(&mut node.inputs, inputs);
        if self.live[id.index()] {
            self.drop_readers(id, &before);
        }
    }

    /// Lets every reader of `old`, and the graph's outputs, read `new` instead. Where `old` is an
    /// output of the graph, `new` takes over its name.
    pub fn replace_uses(&mut self, old: ValueId, new: ValueId) {
        if old == new {
            return;
        }
        self.changed = true;
        for reader in std::mem::take(&mut self.readers[old.index()]) {
            for input in self.graph.nodes[reader.index()].inputs.iter_mut().flatten() {
                if *input == old {
                    *input = new;
                }
            }
            self.add_reader(new, reader);
        }
        if self.graph.outputs.contains(&old) {
            let name = std::mem::take(&mut self.graph.values[old.index()].name);
            self.graph.values[old.index()].name = format!("{name}.replaced");
            self.graph.values[new.index()].name = name;
            for output in &mut self.graph.outputs {
                if *output == old {
                    *output = new;
                }
            }
            if let Some(producer) = self.graph.producer(new) {
                self.revive(producer);
            }
        }
        if let Some(producer) = self.graph.producer(old) {
            self.retire(producer);
        }
    }

    /// Turns an output of a node (or an input) into a constant.
    pub fn replace_with_const(&mut self, id: ValueId, tensor: Tensor) {
        let name = self.graph.value(id).name.clone();
        let constant = self.add_const(name, tensor);
        self.replace_uses(id, constant);
    }

    /// Drops nodes that nothing depends on, sorts, and says whether anything was changed.
    pub fn finish(self) -> bool {
        if self.changed {
            sort_live(self.graph);
        }
        self.changed
    }

    fn add_reader(&mut self, value: ValueId, reader: NodeId) {
        self.readers[value.index()].push(reader);
        if let Some(producer) = self.graph.producer(value) {
            self.revive(producer);
        }
    }

    /// Takes back one reading of each of these values by a node.
    fn drop_readers(&mut self, reader: NodeId, values: &[Option<ValueId>]) {
        for &value in values.iter().flatten() {
            let readers = &mut self.readers[value.index()];
            if let Some(position) = readers.iter().position(|&r| r == reader) {
                readers.remove(position);
            }
        }
        for &value in values.iter().flatten() {
            if let Some(producer) = self.graph.producer(value) {
                self.retire(producer);
            }
        }
    }

    /// Lets a dead node, and the dead nodes it depends on, count as readers again.
    fn revive(&mut self, id: NodeId) {
        let mut stack = vec![id];
        while let Some(id) = stack.pop() {
            if !std::mem::replace(&mut self.live[id.index()], true) {
                for &input in self.graph.nodes[id.index()].inputs.iter().flatten() {
                    self.readers[input.index()].push(id);
                    stack.extend(self.graph.producer(input));
                }
            }
        }
    }

    /// Where nothing reads a node, lets it and what only it depends on count as readers no more.
    fn retire(&mut self, id: NodeId) {
        let mut stack = vec![id];
        while let Some(id) = stack.pop() {
            let node = &self.graph.nodes[id.index()];
            let read =
                |v: &ValueId| !self.readers[v.index()].is_empty() || self.graph.outputs.contains(v);
            if !self.live[id.index()] || node.outputs.iter().any(read) {
                continue;
            }
            self.live[id.index()] = false;
            for &input in node.inputs.iter().flatten() {
                let readers = &mut self.readers[input.index()];
                if let Some(position) = readers.iter().position(|&r| r == id) {
                    readers.remove(position);
                }
                stack.extend(self.graph.producer(input));
            }
        }
    }
}

/// Keeps the nodes that outputs depend on, in an order with definitions before uses that keeps
/// the present order where it can. A node on a cycle is left out; `verify` then reports its value.
fn sort_live(graph: &mut Graph) {
    let mut order: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    let mut state = vec![Visit::New; graph.nodes.len()];
    let live = live_nodes(graph);
    for start in graph.node_ids().filter(|id| live[id.index()]) {
        let mut stack = vec![start];
        while let Some(&id) = stack.last() {
            match state[id.index()] {
                Visit::Done => {
                    stack.pop();
                }
                Visit::Open => {
                    state[id.index()] = Visit::Done;
                    order.push(id);
                    stack.pop();
                }
                Visit::New => {
                    state[id.index()] = Visit::Open;
                    let inputs = graph.node(id).inputs.iter().flatten();
                    let producers = inputs.filter_map(|&v| graph.producer(v));
                    stack.extend(producers.filter(|p| state[p.index()] == Visit::New));
                }
            }
        }
    }
    renumber(graph, &order);
}

#[derive(Clone, Copy, PartialEq)]
enum Visit {
    New,
    Open,
    Done,
}

fn live_nodes(graph: &Graph) -> Vec<bool> {
    let mut live = vec![false; graph.nodes.len()];
    let mut stack: Vec<NodeId> = graph.outputs.iter().filter_map(|&v| graph.producer(v)).collect();
    while let Some(id) = stack.pop() {
        if !std::mem::replace(&mut live[id.index()], true) {
            let inputs = graph.node(id).inputs.iter().flatten();
            stack.extend(inputs.filter_map(|&v| graph.producer(v)));
        }
    }
    live
}

fn renumber(graph: &mut Graph, order: &[NodeId]) {
    let mut old: Vec<Option<Node>> =
        std::mem::take(&mut graph.nodes).into_iter().map(Some).collect();
    graph.nodes = order.iter().filter_map(|id| old[id.index()].take()).collect();
    for (index, node) in graph.nodes.iter().enumerate() {
        for (output, value) in node.outputs.iter().enumerate() {
            let def = Def::Node { node: NodeId(index as u32), output };
            graph.values[value.index()].def = def;
        }
    }
    // Outputs of dropped nodes must not point at nodes that took their numbers.
    for index in 0..graph.values.len() {
        if let Def::Node { node, output } = graph.values[index].def {
            let owns = graph.nodes.get(node.index()).and_then(|n| n.outputs.get(output));
            if owns != Some(&ValueId(index as u32)) {
                graph.values[index].def = Def::Node { node: NodeId(u32::MAX), output };
            }
        }
    }
}

impl Graph {
    /// Drops nodes that no output depends on and puts the rest in order. For importers, whose
    /// files may list nodes in any order.
    pub fn sort(&mut self) {
        sort_live(self);
    }

    /// Lets the network end at these values instead of its outputs, and drops what they do not
    /// need: the way to cut a classifier off a backbone.
    pub fn set_outputs(&mut self, outputs: &[ValueId]) {
        self.outputs = outputs.to_vec();
        sort_live(self);
    }
}
