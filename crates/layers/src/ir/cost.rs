//! What a graph costs.

use super::{Def, Graph, NodeId, Types, ValueId};
use crate::Cost;
use std::collections::HashSet;

impl Graph {
    /// What one node costs. Values without a type count nothing.
    pub fn node_cost(&self, id: NodeId, types: &Types) -> Cost {
        let node = self.node(id);
        let inputs: Vec<_> = node.inputs.iter().map(|v| v.and_then(|v| types.get(v))).collect();
        let outputs: Vec<_> = node.outputs.iter().filter_map(|&v| types.get(v)).collect();
        let given = inputs.iter().flatten();
        Cost {
            macs: node.op.layer().macs(&inputs, &outputs),
            params: self.weights(id).map(|v| elements(types, v)).sum(),
            bytes: given.chain(&outputs).map(|ty| ty.bytes() as u64).sum(),
        }
    }

    /// What the whole graph costs. A weight that several nodes share counts once.
    pub fn cost(&self, types: &Types) -> Cost {
        let mut total = Cost::default();
        let mut seen = HashSet::new();
        for id in self.node_ids() {
            total += Cost { params: 0, ..self.node_cost(id, types) };
            let new = self.weights(id).filter(|v| seen.insert(*v));
            total.params += new.map(|v| elements(types, v)).sum::<u64>();
        }
        total
    }

    /// The trainable constants of a node.
    fn weights(&self, id: NodeId) -> impl Iterator<Item = ValueId> + '_ {
        let node = self.node(id);
        let held = node.op.layer().weights();
        let inputs = node.inputs.iter().take(held.end).skip(held.start).flatten().copied();
        inputs.filter(|v| matches!(self.value(*v).def, Def::Const(_) | Def::Released(_)))
    }
}

fn elements(types: &Types, id: ValueId) -> u64 {
    types.get(id).map_or(0, |ty| ty.shape.elements() as u64)
}
