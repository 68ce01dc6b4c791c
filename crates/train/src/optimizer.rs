//! How parameters follow their gradients.

use crate::TrainError;

/// The rule of an optimizer. `g` is the gradient, L1 and L2 terms included.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Rule {
    /// `v = momentum * v + g`, `p -= lr * v`; with Nesterov's `p -= lr * (g + momentum * v)`.
    Sgd {
        /// Part of the last move that goes on; 0 for none.
        momentum: f32,
        /// Look ahead (Nesterov 1983, in the form of Sutskever et al. 2013).
        nesterov: bool,
    },
    /// Kingma and Ba 2015: `p -= lr * m' / (sqrt(v') + epsilon)`, with the averages `m` of `g` and
    /// `v` of `g^2`, corrected for their start at 0.
    Adam {
        /// Decay of the average of gradients.
        beta1: f32,
        /// Decay of the average of squares.
        beta2: f32,
        /// Added to the root.
        epsilon: f32,
        /// Weight decay acts on the parameter itself instead of the gradient (AdamW, Loshchilov and
        /// Hutter 2019).
        decoupled: bool,
    },
    /// Tieleman and Hinton 2012: `v = decay * v + (1 - decay) * g^2`, `b = momentum * b + g /
    /// (sqrt(v) + epsilon)`, `p -= lr * b`.
    RmsProp {
        /// Decay of the average of squares.
        decay: f32,
        /// Part of the last move that goes on.
        momentum: f32,
        /// Added to the root.
        epsilon: f32,
    },
}

/// An optimizer with its penalties.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimizer {
    /// The rule.
    pub rule: Rule,
    /// L2: this times the parameter is added to the gradient (or, decoupled, `lr` times this times
    /// the parameter taken off it).
    pub weight_decay: f32,
    /// L1: this times the sign of the parameter is added to the gradient.
    pub l1: f32,
}

/// What one update needs besides the parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Update {
    /// Learning rate.
    pub(crate) lr: f32,
    /// Number of the update, from 1.
    pub(crate) count: u64,
    /// Factor of the gradient: below 1 where it is clipped.
    pub(crate) scale: f32,
}

impl Optimizer {
    /// Stochastic gradient descent.
    pub fn sgd(momentum: f32) -> Optimizer {
        Optimizer { rule: Rule::Sgd { momentum, nesterov: false }, weight_decay: 0.0, l1: 0.0 }
    }

    /// Adam with the constants of the paper.
    pub fn adam() -> Optimizer {
        let rule = Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decoupled: false };
        Optimizer { rule, weight_decay: 0.0, l1: 0.0 }
    }

    /// AdamW with this weight decay.
    pub fn adamw(weight_decay: f32) -> Optimizer {
        let rule = Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decoupled: true };
        Optimizer { rule, weight_decay, l1: 0.0 }
    }

    /// RMSprop with PyTorch's constants.
    pub fn rmsprop() -> Optimizer {
        let rule = Rule::RmsProp { decay: 0.99, momentum: 0.0, epsilon: 1e-8 };
        Optimizer { rule, weight_decay: 0.0, l1: 0.0 }
    }

    /// Names of what the optimizer keeps per parameter.
    pub(crate) fn slots(&self) -> &'static [&'static str] {
        match self.rule {
            Rule::Sgd { momentum: 0.0, .. } => &[],
            Rule::Sgd { .. } => &["momentum"],
            Rule::Adam { .. } => &["mean", "square"],
            Rule::RmsProp { momentum: 0.0, .. } => &["square"],
            Rule::RmsProp { .. } => &["square", "momentum"],
        }
    }

    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let below_one = |name, value: f32| match (0.0..1.0).contains(&value) {
            true => Ok(()),
            false => Err(TrainError::setting(name, value, "in 0..1")),
        };
        let positive = |name, value: f32| match value >= 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(TrainError::setting(name, value, "0 or more")),
        };
        positive("weight decay", self.weight_decay)?;
        positive("l1", self.l1)?;
        match self.rule {
            Rule::Sgd { momentum, .. } => below_one("momentum", momentum),
            Rule::Adam { beta1, beta2, epsilon, .. } => {
                below_one("beta1", beta1)?;
                below_one("beta2", beta2)?;
                positive("epsilon", epsilon)
            }
            Rule::RmsProp { decay, momentum, epsilon } => {
                below_one("decay", decay)?;
                below_one("momentum", momentum)?;
                positive("epsilon", epsilon)
            }
        }
    }

    /// Moves a parameter. `state` has a vector per slot, as long as the parameter.
    pub(crate) fn update(&self, u: Update, p: &mut [f32], g: &[f32], state: &mut [Vec<f32>]) {
        let decoupled = matches!(self.rule, Rule::Adam { decoupled: true, .. });
        let l2 = if decoupled { 0.0 } else { self.weight_decay };
        let l1 = self.l1;
        let sign = |p: f32| if p == 0.0 { 0.0 } else { p.signum() };
        let gradient = |p: f32, g: f32| match l1 {
            0.0 => g * u.scale + l2 * p,
            _ => g * u.scale + l2 * p + l1 * sign(p),
        };
        match (self.rule, state) {
            (Rule::Sgd { momentum, nesterov }, [v]) => {
                for ((p, &g), v) in p.iter_mut().zip(g).zip(v) {
                    let g = gradient(*p, g);
                    *v = momentum * *v + g;
                    *p -= u.lr * if nesterov { g + momentum * *v } else { *v };
                }
            }
            (Rule::Adam { beta1, beta2, epsilon, .. }, [m, v]) => {
                let keep = if decoupled { 1.0 - u.lr * self.weight_decay } else { 1.0 };
                let start = |beta: f32| 1.0 - f64::from(beta).powf(u.count as f64);
                let rate = (f64::from(u.lr) / start(beta1)) as f32;
                let root = (1.0 / start(beta2).sqrt()) as f32;
                for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                    let g = gradient(*p, g);
                    *m = beta1 * *m + (1.0 - beta1) * g;
                    *v = beta2 * *v + (1.0 - beta2) * g * g;
                    *p = *p * keep - rate * *m / (v.sqrt() * root + epsilon);
                }
            }
            (Rule::RmsProp { decay, epsilon, .. }, [v]) => {
                for ((p, &g), v) in p.iter_mut().zip(g).zip(v) {
                    let g = gradient(*p, g);
                    *v = decay * *v + (1.0 - decay) * g * g;
                    *p -= u.lr * g / (v.sqrt() + epsilon);
                }
            }
            (Rule::RmsProp { decay, momentum, epsilon }, [v, b]) => {
                for (((p, &g), v), b) in p.iter_mut().zip(g).zip(v).zip(b) {
                    let g = gradient(*p, g);
                    *v = decay * *v + (1.0 - decay) * g * g;
                    *b = momentum * *b + g / (v.sqrt() + epsilon);
                    *p -= u.lr * *b;
                }
            }
            _ => p.iter_mut().zip(g).for_each(|(p, &g)| *p -= u.lr * gradient(*p, g)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameter 1 with the gradients 0.5 and -0.25, rate 0.1.
    fn two_steps(optimizer: Optimizer) -> [f32; 2] {
        let mut state = vec![vec![0.0]; optimizer.slots().len()];
        let mut p = [1.0];
        [(1, 0.5), (2, -0.25)].map(|(count, g)| {
            optimizer.update(Update { lr: 0.1, count, scale: 1.0 }, &mut p, &[g], &mut state);
            p[0]
        })
    }

    fn assert_near(got: [f32; 2], want: [f64; 2]) {
        let near = got.iter().zip(want).all(|(&g, w)| (f64::from(g) - w).abs() < 1e-6);
        assert!(near, "{got:?} {want:?}");
    }

    #[test]
    fn sgd_by_hand() {
        assert_near(two_steps(Optimizer::sgd(0.0)), [0.95, 0.975]);
        // v = 0.5, then 0.9 * 0.5 - 0.25 = 0.2.
        assert_near(two_steps(Optimizer::sgd(0.9)), [0.95, 0.93]);
        let rule = Rule::Sgd { momentum: 0.9, nesterov: true };
        // 0.5 + 0.45, then -0.25 + 0.18.
        assert_near(two_steps(Optimizer { rule, ..Optimizer::sgd(0.0) }), [0.905, 0.912]);
        // 0.5 + 0.1, then -0.25 + 0.1 * 0.94; the penalties follow the parameter.
        let decay = Optimizer { weight_decay: 0.1, ..Optimizer::sgd(0.0) };
        assert_near(two_steps(decay), [0.94, 0.9556]);
        let lasso = Optimizer { l1: 0.1, ..Optimizer::sgd(0.0) };
        assert_near(two_steps(lasso), [0.94, 0.955]);
    }

    #[test]
    fn adam_by_hand() {
        // The first step is the rate itself: m' / sqrt(v') = 0.5 / 0.5. Then m = 0.045 - 0.025 =
        // 0.02, m' = 0.02 / 0.19; v = 0.00024975 + 0.0000625, v' = 0.00031225 / 0.001999.
        let second = 0.1 * (0.02 / 0.19) / (0.00031225f64 / 0.001999).sqrt();
        assert_near(two_steps(Optimizer::adam()), [0.9, 0.9 - second]);
        let first = 0.99 - 0.1;
        assert_near(two_steps(Optimizer::adamw(0.1)), [first, first * 0.99 - second]);
    }

    #[test]
    fn rmsprop_by_hand() {
        // v = 0.0025, then 0.002475 + 0.000625 = 0.0031.
        let second = 0.1 * 0.25 / 0.0031f64.sqrt();
        assert_near(two_steps(Optimizer::rmsprop()), [0.0, second]);
    }
}
