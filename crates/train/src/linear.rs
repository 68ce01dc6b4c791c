//! A new classifier on the features of a network that stays as it is.
//!
//! The features of every picture are computed once by the engine; training then touches the last
//! layer alone, which takes milliseconds per epoch.

use crate::data::Batch;
use crate::{FitError, Step};
use depthwise_engine::formats::Weights;
use depthwise_layers::ir::{Dim, Graph, ValueId, infer_types};
use depthwise_layers::{Activation, Conv2d, Dense, Op, Reduce, ReduceFn};
use depthwise_tensor::{Hw, Tensor};

/// `logits[c] = b[c] + sum over f of x[f] * w[c, f]`, trained with cross-entropy by AdamW
/// (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019).
///
/// Sums run in a fixed order, so the same batches give the same bits.
#[derive(Clone, Debug)]
pub struct LinearHead {
    classes: usize,
    width: usize,
    /// `C,F`, then `C`.
    weights: Vec<f32>,
    mean: Vec<f32>,
    square: Vec<f32>,
    steps: u64,
    /// Share of the targets that all classes get (Szegedy et al., 2016).
    pub smoothing: f32,
    /// Weights shrink by this times the learning rate in every step; biases do not.
    pub decay: f32,
}

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// Names in a saved state.
const WEIGHT: &str = "head.weight";
const BIAS: &str = "head.bias";
const MEAN: &str = "adam.mean";
const SQUARE: &str = "adam.square";
const STEPS: &str = "adam.steps";

impl LinearHead {
    /// A head whose weights are 0, which is as good a start as any for a single layer.
    pub fn new(width: usize, classes: usize) -> LinearHead {
        let len = classes * width + classes;
        LinearHead {
            classes,
            width,
            weights: vec![0.0; len],
            mean: vec![0.0; len],
            square: vec![0.0; len],
            steps: 0,
            smoothing: 0.0,
            decay: 0.0,
        }
    }

    /// The weights, `C,F`.
    ///
    /// # Errors
    /// Where a tensor cannot be made.
    pub fn weight(&self) -> Result<Tensor, FitError> {
        let weight = &self.weights[..self.classes * self.width];
        Ok(Tensor::from_slice(&[self.classes, self.width], weight)?)
    }

    /// The biases, `C`.
    ///
    /// # Errors
    /// Where a tensor cannot be made.
    pub fn bias(&self) -> Result<Tensor, FitError> {
        Ok(Tensor::from_slice(&[self.classes], &self.weights[self.classes * self.width..])?)
    }

    fn rows<'t>(&self, input: &'t Tensor) -> Result<std::borrow::Cow<'t, [f32]>, FitError> {
        if input.shape().rank() == 2 && input.shape()[1] == self.width {
            return Ok(input.to_f32());
        }
        let want = "N,F with the features that the head was made for";
        Err(FitError::Setting { name: "input", value: input.shape().to_string(), want })
    }

    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let (weight, bias) = self.weights.split_at(self.classes * self.width);
        let mut logits = Vec::with_capacity(x.len() / self.width.max(1) * self.classes);
        for row in x.chunks_exact(self.width.max(1)) {
            for (w, b) in weight.chunks_exact(self.width.max(1)).zip(bias) {
                logits.push(b + dot(row, w));
            }
        }
        logits
    }

    /// The gradient of the mean loss with respect to the weights, and the loss.
    fn gradient(&self, x: &[f32], targets: &[f32]) -> (Vec<f32>, f32) {
        let (classes, width) = (self.classes, self.width);
        let mut gradient = vec![0.0; self.weights.len()];
        let (by_weight, by_bias) = gradient.split_at_mut(classes * width);
        let mut logits = self.forward(x);
        let rows = (x.len() / width.max(1)).max(1) as f32;
        let mut loss = 0.0;
        let pairs = logits.chunks_exact_mut(classes).zip(targets.chunks_exact(classes));
        for ((logits, targets), x) in pairs.zip(x.chunks_exact(width.max(1))) {
            loss += cross_entropy(logits, targets, self.smoothing);
            for ((error, by_weight), by_bias) in
                logits.iter().zip(by_weight.chunks_exact_mut(width.max(1))).zip(&mut *by_bias)
            {
                let error = error / rows;
                *by_bias += error;
                for (g, x) in by_weight.iter_mut().zip(x) {
                    *g += error * x;
                }
            }
        }
        (gradient, loss / rows)
    }

    fn update(&mut self, gradient: &[f32], rate: f32) {
        self.steps += 1;
        let correction = |beta: f32| (1.0 - f64::from(beta).powf(self.steps as f64)) as f32;
        let (first, second) = (correction(BETA1), correction(BETA2));
        let shrunk = self.classes * self.width;
        for (i, &g) in gradient.iter().enumerate() {
            let (m, v) = (&mut self.mean[i], &mut self.square[i]);
            *m = BETA1 * *m + (1.0 - BETA1) * g;
            *v = BETA2 * *v + (1.0 - BETA2) * g * g;
            let decay = if i < shrunk { self.decay * self.weights[i] } else { 0.0 };
            let direction = (*m / first) / ((*v / second).sqrt() + EPSILON);
            self.weights[i] -= rate * (direction + decay);
        }
    }
}

/// Sum of products, in 16 parts so that it can be vectorised.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const PARTS: usize = 16;
    let mut sums = [0f32; PARTS];
    let (a, b) = (a.chunks_exact(PARTS), b.chunks_exact(PARTS));
    let tail: f32 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    for (a, b) in a.zip(b) {
        for part in 0..PARTS {
            sums[part] += a[part] * b[part];
        }
    }
    sums.iter().sum::<f32>() + tail
}

/// The loss of one row; the logits become its gradient: softmax minus targets.
fn cross_entropy(logits: &mut [f32], targets: &[f32], smoothing: f32) -> f32 {
    let classes = logits.len() as f32;
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|z| (z - max).exp()).sum();
    let log_sum = max + sum.ln();
    let mut loss = 0.0;
    for (z, &target) in logits.iter_mut().zip(targets) {
        let target = target * (1.0 - smoothing) + smoothing / classes;
        loss += target * (log_sum - *z);
        *z = (*z - log_sum).exp() - target;
    }
    loss
}

impl Step for LinearHead {
    fn step(&mut self, batch: &Batch, rate: f32) -> Result<f32, FitError> {
        let x = self.rows(&batch.input)?;
        let (gradient, loss) = self.gradient(&x, &batch.targets.to_f32());
        self.update(&gradient, rate);
        Ok(loss)
    }

    fn logits(&mut self, input: &Tensor) -> Result<Vec<f32>, FitError> {
        Ok(self.forward(&self.rows(input)?))
    }

    fn state(&self) -> Result<Weights, FitError> {
        let all = |values: &[f32]| Tensor::from_slice(&[values.len()], values);
        Ok([
            (WEIGHT.to_owned(), self.weight()?),
            (BIAS.to_owned(), self.bias()?),
            (MEAN.to_owned(), all(&self.mean)?),
            (SQUARE.to_owned(), all(&self.square)?),
            (STEPS.to_owned(), Tensor::scalar(self.steps as i64)),
        ]
        .into_iter()
        .collect())
    }

    fn restore(&mut self, state: &Weights) -> Result<(), FitError> {
        let missing = |name: &str| FitError::Checkpoint {
            path: name.into(),
            what: "not in the saved state, or of another size".into(),
        };
        let get = |name: &str, len: usize| {
            let tensor = state.get(name).filter(|t| t.elements() == len);
            tensor.map(|t| t.to_f32().into_owned()).ok_or_else(|| missing(name))
        };
        let len = self.classes * self.width;
        let mut weights = get(WEIGHT, len)?;
        weights.extend(get(BIAS, self.classes)?);
        let (mean, square) = (get(MEAN, weights.len())?, get(SQUARE, weights.len())?);
        let steps = state.get(STEPS).and_then(|t| t.to_i64().first().copied());
        let steps = steps.and_then(|s| u64::try_from(s).ok()).ok_or_else(|| missing(STEPS))?;
        (self.weights, self.mean, self.square, self.steps) = (weights, mean, square, steps);
        Ok(())
    }
}

/// Cuts the classifier off a network: what is left gives features `N,F`.
///
/// With `cut` the network ends at the value of this name, or at the last node whose name begins so
/// (`features.13`). Without, it ends before the last [`Dense`] layer, or before a 1x1 convolution
/// that stands for one. A picture of features is averaged over rows and columns.
///
/// # Errors
/// [`FitError::Head`] where there is no such place.
pub fn cut(graph: &Graph, cut: Option<&str>) -> Result<Graph, FitError> {
    let mut graph = graph.clone();
    let end = match cut {
        Some(name) => find(&graph, name)?,
        None => before_classifier(&graph)?,
    };
    graph.set_outputs(&[end]);
    let shapes: Vec<_> = graph.inputs().iter().map(|&id| one_of(&graph, id)).collect();
    let shapes = shapes.into_iter().collect::<Option<Vec<_>>>();
    let shapes = shapes.ok_or_else(|| FitError::Head("an input has no fixed extents".into()))?;
    let types = infer_types(&graph, &shapes).map_err(|e| FitError::Head(e.to_string()))?;
    let rank = types.get(end).map_or(0, |ty| ty.shape.rank());
    match rank {
        2 => Ok(graph),
        4 => {
            let mean = Reduce { function: ReduceFn::Mean, axes: vec![1, 2], keep_dims: false };
            let pooled = graph.add("head.pool", mean, &[end]);
            graph.set_outputs(&[pooled]);
            Ok(graph)
        }
        rank => Err(FitError::Head(format!(
            "\"{}\" has {rank} dimensions; features have 2, or 4 as a picture",
            graph.value(end).name
        ))),
    }
}

/// The declared shape of an input, free extents taken as 1.
fn one_of(graph: &Graph, id: ValueId) -> Option<depthwise_tensor::Shape> {
    let dims = graph.input_type(id)?.dims.iter().map(|dim| match dim {
        Dim::Fixed(n) => *n,
        Dim::Free(_) => 1,
    });
    depthwise_tensor::Shape::new(&dims.collect::<Vec<_>>()).ok()
}

fn find(graph: &Graph, name: &str) -> Result<ValueId, FitError> {
    let belongs = |node: &str| {
        node.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let node = graph.nodes().iter().rev().find(|node| belongs(&node.name));
    let value = graph.find(name).filter(|&id| graph.producer(id).is_some());
    value.or_else(|| node?.outputs.first().copied()).ok_or_else(|| {
        FitError::Head(format!(
            "it has no value and no node \"{name}\"; `depthwise inspect` lists them"
        ))
    })
}

/// The input of the last layer that classifies.
fn before_classifier(graph: &Graph) -> Result<ValueId, FitError> {
    let [output] = graph.outputs() else {
        return Err(FitError::Head("it has several outputs; say where to cut it".into()));
    };
    let mut at = *output;
    while let Some(node) = graph.producer(at) {
        let node = graph.node(node);
        let pointwise =
            matches!(&node.op, Op::Conv2d(conv) if is_pointwise(graph, conv, node.inputs.get(1)));
        let input = node.inputs.first().copied().flatten();
        match (&node.op, input) {
            (Op::Dense(_), Some(input)) => return Ok(input),
            (Op::Conv2d(_), Some(input)) if pointwise => return Ok(input),
            (Op::Softmax(_) | Op::Reshape(_) | Op::Activate(_) | Op::Reduce(_), Some(input)) => {
                at = input
            }
            _ => break,
        }
    }
    let name = &graph.value(at).name;
    Err(FitError::Head(format!("no classifier is found before \"{name}\"; say where to cut it")))
}

fn is_pointwise(graph: &Graph, conv: &Conv2d, weight: Option<&Option<ValueId>>) -> bool {
    let weight = weight.copied().flatten().and_then(|id| graph.constant(id));
    conv.stride == Hw::square(1) && weight.is_some_and(|w| matches!(w.shape().dims(), [_, 1, 1, _]))
}

/// Name of the last layer that [`cut`] takes off: that of the last [`Dense`] layer; `classifier` where
/// there is none.
pub fn classifier_name(graph: &Graph) -> &str {
    let mut dense = graph.nodes().iter().rev().filter(|node| matches!(node.op, Op::Dense(_)));
    dense.next().map_or("classifier", |node| &node.name)
}

/// Puts a trained head on the features of a network: a layer of this name with weights `NAME.weight`
/// and `NAME.bias`, and the output `logits`, `N,C`.
///
/// # Errors
/// [`FitError::Head`] where the graph does not have one output of features.
pub fn attach(mut features: Graph, head: &LinearHead, name: &str) -> Result<Graph, FitError> {
    let &[end] = features.outputs() else {
        return Err(FitError::Head("features are one output".into()));
    };
    let weight = features.add_const(format!("{name}.weight"), head.weight()?);
    let bias = features.add_const(format!("{name}.bias"), head.bias()?);
    let dense = Dense { activation: Activation::Identity };
    let logits = features.add(name, dense, &[end, weight, bias]);
    features.rename_value(logits, "logits");
    features.set_outputs(&[logits]);
    Ok(features)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(x: &[f32], width: usize, labels: &[usize], classes: usize) -> Batch {
        let n = labels.len();
        let mut targets = vec![0.0; n * classes];
        for (row, &label) in targets.chunks_exact_mut(classes).zip(labels) {
            row[label] = 1.0;
        }
        Batch {
            input: Tensor::from_slice(&[n, width], x).unwrap(),
            targets: Tensor::from_slice(&[n, classes], &targets).unwrap(),
            labels: labels.to_vec(),
            samples: (0..n).collect(),
        }
    }

    #[test]
    fn the_gradient_agrees_with_central_differences() {
        let x: Vec<f32> = (0..3 * 19).map(|i| ((i * 37 % 23) as f32 - 11.0) / 10.0).collect();
        let mut head = LinearHead { smoothing: 0.1, ..LinearHead::new(19, 4) };
        for (i, w) in head.weights.iter_mut().enumerate() {
            *w = ((i * 13 % 17) as f32 - 8.0) / 20.0;
        }
        let batch = batch(&x, 19, &[1, 3, 0], 4);
        let targets = batch.targets.to_f32();
        let (gradient, _) = head.gradient(&x, &targets);
        // In f64, apart from the code under test.
        let loss = |weights: &[f32], at: usize, step: f64| -> f64 {
            let w = |i: usize| f64::from(weights[i]) + if i == at { step } else { 0.0 };
            let mut total = 0.0;
            for (row, targets) in x.chunks(19).zip(targets.chunks(4)) {
                let z: Vec<f64> = (0..4)
                    .map(|c| {
                        w(76 + c) + (0..19).map(|f| f64::from(row[f]) * w(c * 19 + f)).sum::<f64>()
                    })
                    .collect();
                let log_sum = z.iter().map(|z| z.exp()).sum::<f64>().ln();
                for (z, &t) in z.iter().zip(targets) {
                    total += (f64::from(t) * 0.9 + 0.025) * (log_sum - z);
                }
            }
            total / 3.0
        };
        for (at, &got) in gradient.iter().enumerate() {
            let want = (loss(&head.weights, at, 1e-5) - loss(&head.weights, at, -1e-5)) / 2e-5;
            assert!((f64::from(got) - want).abs() < 1e-5, "{at}: {got} for {want}");
        }
    }

    #[test]
    fn the_first_adam_step_is_the_rate() {
        // m / (1 - b1) = g and v / (1 - b2) = g^2, so every weight moves by the rate against the
        // sign of its gradient.
        let mut head = LinearHead::new(1, 2);
        let loss = head.step(&batch(&[2.0], 1, &[0], 2), 0.5).unwrap();
        assert!((loss - 2f32.ln()).abs() < 1e-6);
        let want = [0.5, -0.5, 0.5, -0.5];
        assert!(
            head.weights.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6),
            "{:?}",
            head.weights
        );
    }

    #[test]
    fn four_samples_are_learnt_and_the_state_restores_to_the_bit() {
        let x = [1., 0., 0., 0., 1., 0., 0., 0., 1., 1., 1., 0.];
        let batch = batch(&x, 3, &[0, 1, 2, 0], 3);
        let mut head = LinearHead::new(3, 3);
        for _ in 0..50 {
            head.step(&batch, 0.1).unwrap();
        }
        let saved = head.state().unwrap();
        let run =
            |head: &mut LinearHead| (0..300).map(|_| head.step(&batch, 0.3).unwrap()).collect();
        let losses: Vec<f32> = run(&mut head);
        assert!(losses[299] < 1e-3, "{}", losses[299]);
        let mut other = LinearHead::new(3, 3);
        other.restore(&saved).unwrap();
        let again: Vec<f32> = run(&mut other);
        assert_eq!(losses, again);
        assert_eq!(head.state().unwrap(), other.state().unwrap());
        assert!(LinearHead::new(4, 3).restore(&saved).is_err());
        let wrong = Tensor::from_slice(&[1, 4], &[0f32; 4]).unwrap();
        assert!(head.logits(&wrong).is_err());
    }
}
