//! What training minimises.

use crate::TrainError;
use crate::builder::Builder;
use depthwise_layers::TensorType;
use depthwise_layers::ir::ValueId;
use depthwise_layers::{Activation, BinaryFn, MatMul, Op, ReduceFn, Select, Softmax, UnaryFn};
use depthwise_tensor::{DType, Shape, Tensor};

/// A loss: a number per batch, the mean over its samples.
///
/// Where the network ends in a softmax (or a sigmoid), losses that take logits read what comes
/// before it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// `-sum t log softmax(z)` over classes. Targets: classes, or a distribution per sample.
    CrossEntropy {
        /// This part of the target is spread evenly over all classes (Szegedy et al. 2016).
        label_smoothing: f32,
        /// A factor per class; the mean is weighted by it. Empty: 1 for all.
        class_weights: Vec<f32>,
    },
    /// `-t log sigmoid(z) - (1 - t) log(1 - sigmoid(z))`, the mean over all elements.
    BinaryCrossEntropy,
    /// `(y - t)^2`, the mean over all elements.
    MeanSquaredError,
    /// `d^2 / (2 beta)` where `d = |y - t| < beta`, else `d - beta / 2`; the mean over all elements.
    SmoothL1 {
        /// Where the parabola ends.
        beta: f32,
    },
    /// `-(1 - p)^gamma t log p` with `p = softmax(z)` (Lin et al. 2017).
    Focal {
        /// How much easy samples count less; 0 is cross-entropy.
        gamma: f32,
    },
    /// `alpha T^2 KL(softmax(teacher / T) || softmax(z / T)) + (1 - alpha) CrossEntropy` (Hinton et
    /// al. 2015).
    Distillation {
        /// The temperature `T`.
        temperature: f32,
        /// The part of the teacher.
        alpha: f32,
    },
    /// `d^2` for pairs of one class and `max(0, margin - d)^2` for others, the mean over all pairs;
    /// `d` is the distance of the outputs (Hadsell et al. 2006).
    Contrastive {
        /// Distance from which pairs of different classes cost nothing.
        margin: f32,
    },
    /// `max(0, margin + d(a,p) - d(a,n))` over all pairs `a, p` of one class; `n` is the nearest
    /// sample of another class that is farther than `p`, or the farthest where none is (semi-hard
    /// mining, Schroff et al. 2015).
    Triplet {
        /// How much farther other classes are to be.
        margin: f32,
    },
}

/// What a batch is compared with.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Target<'a> {
    /// A class per sample.
    Classes(&'a [usize]),
    /// Numbers of the shape of the output: distributions, values, 0 and 1.
    Values(&'a Tensor),
    /// Distributions, and the logits of a teacher.
    Distilled {
        /// A distribution per sample, of the shape of the output.
        targets: &'a Tensor,
        /// Logits of the shape of the output.
        teacher: &'a Tensor,
    },
}

/// Added under the root of a squared distance: its slope at 0 is finite.
const NEAR_ZERO: f64 = 1e-12;

impl Loss {
    /// Cross-entropy without smoothing or weights.
    pub fn cross_entropy() -> Loss {
        Loss::CrossEntropy { label_smoothing: 0.0, class_weights: Vec::new() }
    }

    /// Adds the loss of `y` to a graph: its value, and the inputs for what [`Loss::targets`] gives.
    pub(crate) fn build(
        &self,
        b: &mut Builder,
        y: ValueId,
    ) -> Result<(ValueId, Vec<ValueId>), TrainError> {
        let ty = b.ty(y);
        if ty.shape.rank() == 0 || ty.shape.elements() == 0 {
            return Err(TrainError::Target(format!("an output of {} has no samples", ty.shape)));
        }
        match self {
            Loss::CrossEntropy { .. } => {
                let t = b.input("target", ty);
                let log = log_softmax(b, y, 1.0)?;
                Ok((negative_dot(b, t, log)?, vec![t]))
            }
            &Loss::Focal { gamma } => focal(b, y, gamma),
            &Loss::Distillation { temperature, alpha } => distillation(b, y, temperature, alpha),
            Loss::BinaryCrossEntropy => {
                let t = b.input("target", ty);
                let z = before(
                    b,
                    y,
                    |op| matches!(op, Op::Activate(a) if a.activation == Activation::Sigmoid),
                );
                // log(1 + e^z) - t z
                let soft = b.activate(Activation::Softplus, z)?;
                let part = b.mul(t, z)?;
                let cost = b.sub(soft, part)?;
                Ok((mean(b, cost)?, vec![t]))
            }
            Loss::MeanSquaredError => {
                let t = b.input("target", ty);
                let gap = b.sub(y, t)?;
                let square = b.unary(UnaryFn::Square, gap)?;
                Ok((mean(b, square)?, vec![t]))
            }
            &Loss::SmoothL1 { beta } => smooth_l1(b, y, beta),
            &Loss::Contrastive { margin } => contrastive(b, y, margin.into()),
            &Loss::Triplet { margin } => triplet(b, y, margin.into()),
        }
    }

    /// What the inputs of the loss take, for an output of this type.
    ///
    /// # Errors
    /// [`TrainError::Target`] where the target is not one that the loss takes, or does not fit;
    /// [`TrainError::Setting`] for a parameter of the loss that is out of range.
    pub fn targets(
        &self,
        target: Target<'_>,
        output: TensorType,
    ) -> Result<Vec<Tensor>, TrainError> {
        self.check()?;
        let shape = output.shape;
        match (self, target) {
            (Loss::CrossEntropy { label_smoothing, class_weights }, target) => {
                let t = distribution(target, &shape, *label_smoothing, class_weights)?;
                Ok(vec![typed(output.dtype, &shape, t)?])
            }
            (Loss::Focal { .. }, target) => {
                Ok(vec![typed(output.dtype, &shape, distribution(target, &shape, 0.0, &[])?)?])
            }
            (Loss::Distillation { .. }, Target::Distilled { targets, teacher }) => {
                let t = distribution(Target::Values(targets), &shape, 0.0, &[])?;
                let teacher = values(teacher, &shape)?;
                Ok(vec![typed(output.dtype, &shape, t)?, typed(output.dtype, &shape, teacher)?])
            }
            (Loss::Contrastive { .. } | Loss::Triplet { .. }, Target::Classes(classes)) => {
                pairs(classes, output)
            }
            (
                Loss::BinaryCrossEntropy | Loss::MeanSquaredError | Loss::SmoothL1 { .. },
                Target::Values(tensor),
            ) => Ok(vec![typed(output.dtype, &shape, values(tensor, &shape)?)?]),
            (Loss::BinaryCrossEntropy | Loss::MeanSquaredError, Target::Classes(_)) => {
                let t = distribution(target, &shape, 0.0, &[])?;
                // A class as 0 and 1, without the factor of the mean.
                let t = t.into_iter().map(|t| f64::from(u8::from(t > 0.0))).collect();
                Ok(vec![typed(output.dtype, &shape, t)?])
            }
            (loss, target) => {
                Err(TrainError::Target(format!("{loss:?} does not take {}", kind(&target))))
            }
        }
    }

    fn check(&self) -> Result<(), TrainError> {
        let range = |name, value: f32, fits: bool, want| match fits {
            true => Ok(()),
            false => Err(TrainError::setting(name, value, want)),
        };
        match *self {
            Loss::CrossEntropy { label_smoothing: s, .. } => {
                range("label smoothing", s, (0.0..1.0).contains(&s), "in 0..1")
            }
            Loss::SmoothL1 { beta } => range("beta", beta, beta > 0.0, "above 0"),
            Loss::Focal { gamma } => range("gamma", gamma, gamma >= 0.0, "0 or more"),
            Loss::Distillation { temperature: t, alpha } => {
                range("temperature", t, t > 0.0, "above 0")?;
                range("alpha", alpha, (0.0..=1.0).contains(&alpha), "from 0 to 1")
            }
            Loss::Contrastive { margin } | Loss::Triplet { margin } => {
                range("margin", margin, margin > 0.0, "above 0")
            }
            _ => Ok(()),
        }
    }
}

fn kind(target: &Target<'_>) -> &'static str {
    match target {
        Target::Classes(_) => "classes",
        Target::Values(_) => "values",
        Target::Distilled { .. } => "distributions with a teacher",
    }
}

/// The operand of the node that computes `y`, where that is one of these.
fn before(b: &Builder, y: ValueId, is: impl Fn(&Op) -> bool) -> ValueId {
    let node = b.graph.producer(y).map(|id| b.graph.node(id));
    node.filter(|node| is(&node.op)).and_then(|node| node.inputs[0]).unwrap_or(y)
}

/// Of the logits, divided by the temperature, over the last axis.
fn log_softmax(b: &mut Builder, y: ValueId, temperature: f32) -> Result<ValueId, TrainError> {
    let z = before(b, y, |op| matches!(op, Op::Softmax(s) if !s.log));
    let z = if temperature == 1.0 { z } else { b.scale(z, 1.0 / f64::from(temperature))? };
    b.emit(Softmax { axis: -1, log: true }, &[z])
}

/// A loss and the inputs for its targets.
type Built = Result<(ValueId, Vec<ValueId>), TrainError>;

fn focal(b: &mut Builder, y: ValueId, gamma: f32) -> Built {
    let t = b.input("target", b.ty(y));
    let log = log_softmax(b, y, 1.0)?;
    let p = b.unary(UnaryFn::Exp, log)?;
    let one = b.number(1.0, p);
    let rest = b.sub(one, p)?;
    // Above 0, where every power has a slope; rounding may leave less.
    let floor = Activation::Clip { min: LEAST_REST, max: f32::INFINITY };
    let rest = b.activate(floor, rest)?;
    let exponent = b.number(gamma.into(), p);
    let factor = b.binary(BinaryFn::Pow, rest, exponent)?;
    let cost = b.mul(factor, log)?;
    Ok((negative_dot(b, t, cost)?, vec![t]))
}

/// Least `1 - p` of the focal loss.
const LEAST_REST: f32 = 1e-7;

fn distillation(b: &mut Builder, y: ValueId, temperature: f32, alpha: f32) -> Built {
    let ty = b.ty(y);
    let (samples, alpha) = (ty.shape[0] as f64, f64::from(alpha));
    let (t, teacher) = (b.input("target", ty), b.input("teacher", ty));
    let log = log_softmax(b, y, 1.0)?;
    let hard = negative_dot(b, t, log)?;
    let soft = log_softmax(b, y, temperature)?;
    let temperature = f64::from(temperature);
    let cooled = b.scale(teacher, 1.0 / temperature)?;
    let wise = b.emit(Softmax { axis: -1, log: true }, &[cooled])?;
    let p = b.unary(UnaryFn::Exp, wise)?;
    let gap = b.sub(soft, wise)?;
    let kl = negative_dot(b, p, gap)?;
    let kl = b.scale(kl, alpha * temperature * temperature / samples)?;
    let hard = b.scale(hard, 1.0 - alpha)?;
    Ok((b.add(kl, hard)?, vec![t, teacher]))
}

fn smooth_l1(b: &mut Builder, y: ValueId, beta: f32) -> Built {
    let t = b.input("target", b.ty(y));
    let gap = b.sub(y, t)?;
    let d = b.unary(UnaryFn::Abs, gap)?;
    // With c = min(d, beta): c (d - c / 2) / beta.
    let c = b.activate(Activation::Clip { min: 0.0, max: beta }, d)?;
    let half = b.scale(c, 0.5)?;
    let rest = b.sub(d, half)?;
    let product = b.mul(c, rest)?;
    let cost = b.scale(product, 1.0 / f64::from(beta))?;
    Ok((mean(b, cost)?, vec![t]))
}

/// `-sum a b`
fn negative_dot(b: &mut Builder, x: ValueId, y: ValueId) -> Result<ValueId, TrainError> {
    let product = b.mul(x, y)?;
    let sum = b.total(product)?;
    b.unary(UnaryFn::Neg, sum)
}

fn mean(b: &mut Builder, x: ValueId) -> Result<ValueId, TrainError> {
    let count = b.shape(x).elements();
    let sum = b.total(x)?;
    b.scale(sum, 1.0 / count as f64)
}

/// Squared distances of all pairs of rows, `N,N`.
fn squared_distances(b: &mut Builder, y: ValueId) -> Result<ValueId, TrainError> {
    let shape = b.shape(y);
    let n = shape[0];
    let rows = b.reshape(y, &[n, shape.elements() / n])?;
    let turned = b.transpose(rows, &[1, 0])?;
    let product = b.emit(MatMul, &[rows, turned])?;
    let square = b.unary(UnaryFn::Square, rows)?;
    let lengths = b.reduce(ReduceFn::Sum, square, &[1])?;
    let across = b.reshape(lengths, &[1, n])?;
    let sum = b.add(lengths, across)?;
    let twice = b.scale(product, 2.0)?;
    let d2 = b.sub(sum, twice)?;
    b.activate(Activation::RELU, d2)
}

fn distances(b: &mut Builder, d2: ValueId) -> Result<ValueId, TrainError> {
    let little = b.number(NEAR_ZERO, d2);
    let sum = b.add(d2, little)?;
    b.unary(UnaryFn::Sqrt, sum)
}

fn pair_inputs(b: &mut Builder, y: ValueId) -> Result<(ValueId, ValueId), TrainError> {
    let n = b.shape(y)[0];
    let shape = Shape::new(&[n, n]).map_err(depthwise_tensor::TensorError::from)?;
    let ty = TensorType { dtype: b.ty(y).dtype, shape };
    Ok((b.input("same", ty), b.input("other", ty)))
}

fn contrastive(b: &mut Builder, y: ValueId, margin: f64) -> Built {
    let (same, other) = pair_inputs(b, y)?;
    let n = b.shape(y)[0];
    let d2 = squared_distances(b, y)?;
    let d = distances(b, d2)?;
    let margin = b.number(margin, d);
    let gap = b.sub(margin, d)?;
    let gap = b.activate(Activation::RELU, gap)?;
    let push = b.unary(UnaryFn::Square, gap)?;
    let (pull, push) = (b.mul(same, d2)?, b.mul(other, push)?);
    let both = b.add(pull, push)?;
    let sum = b.total(both)?;
    // Every pair stands twice.
    Ok((b.scale(sum, 1.0 / (n * n.saturating_sub(1)).max(1) as f64)?, vec![same, other]))
}

/// Distances of triplets are a tensor over anchor, positive and negative.
fn triplet(b: &mut Builder, y: ValueId, margin: f64) -> Built {
    let (same, other) = pair_inputs(b, y)?;
    let n = b.shape(y)[0];
    let d2 = squared_distances(b, y)?;
    let d = distances(b, d2)?;
    let half = b.number(0.5, d);
    let is_other = b.binary(BinaryFn::Greater, other, half)?;
    let (far, near) = (b.number(1e30, d), b.number(-1e30, d));
    let (positive, negative) = (b.reshape(d, &[n, n, 1])?, b.reshape(d, &[n, 1, n])?);
    let other_class = b.reshape(other, &[n, 1, n])?;
    // 1 where n is of another class and farther than p.
    let farther = b.binary(BinaryFn::Greater, negative, positive)?;
    let (one, zero) = (b.number(1.0, d), b.number(0.0, d));
    let farther = b.emit(Select, &[farther, one, zero])?;
    let semi = b.mul(farther, other_class)?;
    let semi = b.binary(BinaryFn::Greater, semi, half)?;
    let candidates = b.emit(Select, &[semi, negative, far])?;
    let nearest = b.reduce(ReduceFn::Min, candidates, &[2])?;
    let nearest = b.reshape(nearest, &[n, n])?;
    let others = b.emit(Select, &[is_other, d, near])?;
    let farthest = b.reduce(ReduceFn::Max, others, &[1])?;
    let limit = b.number(1e29, d);
    let found = b.binary(BinaryFn::Less, nearest, limit)?;
    let chosen = b.emit(Select, &[found, nearest, farthest])?;
    let gap = b.sub(d, chosen)?;
    let margin = b.number(margin, d);
    let gap = b.add(gap, margin)?;
    let cost = b.activate(Activation::RELU, gap)?;
    let cost = b.mul(same, cost)?;
    let sum = b.total(cost)?;
    let pairs = b.total(same)?;
    let pairs = b.binary(BinaryFn::Max, pairs, one)?;
    Ok((b.binary(BinaryFn::Div, sum, pairs)?, vec![same, other]))
}

/// Pairs of one class (without those of a sample with itself), and of two.
fn pairs(classes: &[usize], output: TensorType) -> Result<Vec<Tensor>, TrainError> {
    let n = output.shape[0];
    if classes.len() != n {
        return Err(TrainError::Target(format!("{} classes for {n} samples", classes.len())));
    }
    let shape = Shape::new(&[n, n]).map_err(depthwise_tensor::TensorError::from)?;
    let all = |f: &dyn Fn(usize, usize) -> bool| {
        let each = (0..n * n).map(|at| f64::from(u8::from(f(at / n, at % n))));
        typed(output.dtype, &shape, each.collect())
    };
    let same = all(&|i, j| i != j && classes[i] == classes[j])?;
    Ok(vec![same, all(&|i, j| classes[i] != classes[j])?])
}

/// Targets with smoothing, class weights and the factor of the mean.
fn distribution(
    target: Target<'_>,
    shape: &Shape,
    smoothing: f32,
    weights: &[f32],
) -> Result<Vec<f64>, TrainError> {
    let classes = *shape.last().unwrap_or(&1);
    let rows = shape.elements() / classes.max(1);
    if !weights.is_empty() && weights.len() != classes {
        let got = weights.len();
        return Err(TrainError::Target(format!("{got} class weights for {classes} classes")));
    }
    let mut t = match target {
        Target::Values(tensor) | Target::Distilled { targets: tensor, .. } => {
            values(tensor, shape)?
        }
        Target::Classes(list) => one_hot(list, rows, classes)?,
    };
    let smoothing = f64::from(smoothing);
    for t in &mut t {
        *t = *t * (1.0 - smoothing) + smoothing / classes as f64;
    }
    let weight = |c: usize| weights.get(c).map_or(1.0, |&w| f64::from(w));
    // The weight of a sample is that of its classes; of its true class where it is not smoothed.
    let total: f64 = match (target, weights.is_empty()) {
        (_, true) => rows as f64,
        (Target::Classes(list), _) => list.iter().map(|&c| weight(c)).sum(),
        _ => t.iter().enumerate().map(|(i, t)| t * weight(i % classes)).sum(),
    };
    if total <= 0.0 {
        return Err(TrainError::Target("all samples of the batch have weight 0".into()));
    }
    t.iter_mut().enumerate().for_each(|(i, t)| *t *= weight(i % classes) / total);
    Ok(t)
}

fn one_hot(list: &[usize], rows: usize, classes: usize) -> Result<Vec<f64>, TrainError> {
    if list.len() != rows {
        return Err(TrainError::Target(format!("{} classes for {rows} samples", list.len())));
    }
    let mut t = vec![0.0; rows * classes];
    for (row, &class) in list.iter().enumerate() {
        if class >= classes {
            let reason = format!("sample {row} is of class {class}; the network has {classes}");
            return Err(TrainError::Target(reason));
        }
        t[row * classes + class] = 1.0;
    }
    Ok(t)
}

fn values(tensor: &Tensor, shape: &Shape) -> Result<Vec<f64>, TrainError> {
    if tensor.elements() != shape.elements() {
        let got = tensor.shape();
        return Err(TrainError::Target(format!("values of {got} for an output of {shape}")));
    }
    Ok(tensor.to_f64().into_owned())
}

fn typed(dtype: DType, shape: &Shape, values: Vec<f64>) -> Result<Tensor, TrainError> {
    Ok(match dtype {
        DType::F64 => Tensor::from_vec(shape.dims(), values)?,
        _ => {
            let narrow = values.iter().map(|&v| v as f32).collect::<Vec<_>>();
            Tensor::from_vec(shape.dims(), narrow)?
        }
    })
}
