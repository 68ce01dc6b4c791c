//! What a trainer holds: parameters with what the optimizer keeps, and running statistics.

use crate::optimizer::Update;
use crate::{BatchNormMode, Optimizer, TrainOptions};
use depthwise_layers::Op;
use depthwise_layers::ir::{Graph, ValueId};
use depthwise_tensor::{Shape, Tensor};

/// A parameter with what its optimizer keeps.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    /// The constant of the network.
    pub(crate) source: ValueId,
    pub(crate) shape: Shape,
    pub(crate) values: Vec<f32>,
    /// A vector per slot of the optimizer.
    pub(crate) state: Vec<Vec<f32>>,
    pub(crate) average: Option<Average>,
    rate: f32,
    optimizer: Optimizer,
}

/// Running statistics of a batch normalization.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) source: ValueId,
    pub(crate) name: String,
    pub(crate) values: Vec<f32>,
    pub(crate) average: Option<Average>,
}

/// A moving average of values.
#[derive(Clone, Debug)]
pub(crate) struct Average {
    pub(crate) values: Vec<f32>,
    decay: f32,
}

impl Average {
    fn new(values: &[f32], decay: Option<f32>) -> Option<Average> {
        decay.map(|decay| Average { values: values.to_vec(), decay })
    }

    /// The average of values, where there is one and it is asked for; else the values.
    pub(crate) fn choose<'a>(
        values: &'a [f32],
        average: Option<&'a Average>,
        averaged: bool,
    ) -> &'a [f32] {
        average.filter(|_| averaged).map_or(values, |average| &average.values)
    }

    /// Takes in the values after step `count`, counted from 1. The decay rises with the steps
    /// (Abadi et al. 2016, TensorFlow's `num_updates`), or the first values would weigh for long.
    pub(crate) fn update(&mut self, values: &[f32], count: u64) {
        let decay = self.decay.min((1.0 + count as f32) / (10.0 + count as f32));
        for (a, &v) in self.values.iter_mut().zip(values) {
            *a = decay * *a + (1.0 - decay) * v;
        }
    }
}

impl Slot {
    pub(crate) fn new(
        name: &str,
        source: ValueId,
        tensor: &Tensor,
        options: &TrainOptions,
    ) -> Slot {
        let values = tensor.to_f32().into_owned();
        let rate = options.rates.iter().find(|(pattern, _)| pattern.matches(name));
        let plain = options.no_decay.iter().any(|pattern| pattern.matches(name));
        let mut optimizer = options.optimizer;
        if plain {
            (optimizer.weight_decay, optimizer.l1) = (0.0, 0.0);
        }
        Slot {
            name: name.into(),
            source,
            shape: *tensor.shape(),
            state: vec![vec![0.0; values.len()]; optimizer.slots().len()],
            average: Average::new(&values, options.average),
            values,
            rate: rate.map_or(1.0, |(_, rate)| *rate),
            optimizer,
        }
    }

    pub(crate) fn update(&mut self, update: Update, gradient: &[f32]) {
        let count = update.count;
        let update = Update { lr: update.lr * self.rate, ..update };
        self.optimizer.update(update, &mut self.values, gradient, &mut self.state);
        if let Some(average) = &mut self.average {
            average.update(&self.values, count);
        }
    }
}

/// In `f64`, in an order that depends on nothing but the length.
pub(crate) fn square_sum(x: &[f32]) -> f64 {
    let mut lanes = [0f64; 8];
    let chunks = x.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(x) * f64::from(x);
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// Of the layers that take the statistics of the batch: those whose scale or offset is trained.
pub(crate) fn running_statistics(
    network: &Graph,
    trained: &[Slot],
    options: &TrainOptions,
) -> Vec<Running> {
    let mut running: Vec<Running> = Vec::new();
    if options.batch_norm == BatchNormMode::Frozen {
        return running;
    }
    for node in network.nodes() {
        let input = |i: usize| node.inputs.get(i).copied().flatten();
        let is_trained = |id: ValueId| trained.iter().any(|slot| slot.source == id);
        let weights = [input(1), input(2)];
        if !matches!(node.op, Op::BatchNorm(_)) || !weights.into_iter().flatten().any(is_trained) {
            continue;
        }
        for (position, which) in [(3, "mean"), (4, "variance")] {
            let Some(source) = input(position) else { continue };
            let Some(tensor) = network.constant(source) else { continue };
            let mut name = format!("{}.{which}", node.name);
            while running.iter().any(|r| r.name == name) {
                name.push('\'');
            }
            let values = tensor.to_f32().into_owned();
            let average = Average::new(&values, options.average);
            running.push(Running { source, name, values, average });
        }
    }
    running
}
