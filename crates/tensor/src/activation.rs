//! Pointwise functions with their parameters: one list for layers, kernels and file formats.

use std::fmt;

/// A pointwise function that can also be the tail of a convolution.
///
/// [`Activation::eval`] is the definition; kernels approximate it as docs/numerics.md states.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// `x`
    Identity,
    /// `min(max(x, min), max)`; ReLU is `min = 0, max = inf`, ReLU6 is `0, 6`.
    Clip {
        /// Lower bound, may be `-inf`.
        min: f32,
        /// Upper bound, may be `inf`.
        max: f32,
    },
    /// `x` where positive, else `alpha * x`
    LeakyRelu {
        /// Slope below zero.
        alpha: f32,
    },
    /// `x` where positive, else `alpha * (exp(x) - 1)`
    Elu {
        /// Scale below zero.
        alpha: f32,
    },
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `tanh(x)`
    Tanh,
    /// `min(max(alpha * x + beta, 0), 1)`; ONNX defaults 0.2 and 0.5, MobileNetV3 uses 1/6 and 0.5.
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Value at zero.
        beta: f32,
    },
    /// `x * min(max(x / 6 + 0.5, 0), 1)` (MobileNetV3, Howard et al. 2019)
    HardSwish,
    /// `x * sigmoid(x)` (also called swish)
    Silu,
    /// `x * (1 + erf(x / sqrt(2))) / 2`
    Gelu,
    /// `x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2`
    GeluTanh,
    /// `ln(1 + exp(x))`
    Softplus,
}

impl Activation {
    /// `max(x, 0)`
    pub const RELU: Activation = Activation::Clip { min: 0.0, max: f32::INFINITY };
    /// `min(max(x, 0), 6)`
    pub const RELU6: Activation = Activation::Clip { min: 0.0, max: 6.0 };

    /// The function in double precision. NaN comes out as NaN.
    pub fn eval(self, x: f64) -> f64 {
        let clip = |x: f64, lo: f64, hi: f64| if x.is_nan() { x } else { x.max(lo).min(hi) };
        match self {
            Activation::Identity => x,
            Activation::Clip { min, max } => clip(x, min.into(), max.into()),
            Activation::LeakyRelu { alpha } => {
                if x < 0.0 {
                    f64::from(alpha) * x
                } else {
                    x
                }
            }
            Activation::Elu { alpha } => {
                if x < 0.0 {
                    f64::from(alpha) * x.exp_m1()
                } else {
                    x
                }
            }
            Activation::Sigmoid => sigmoid(x),
            Activation::Tanh => x.tanh(),
            Activation::HardSigmoid { alpha, beta } => {
                clip(f64::from(alpha) * x + f64::from(beta), 0.0, 1.0)
            }
            Activation::HardSwish => x * clip(x / 6.0 + 0.5, 0.0, 1.0),
            Activation::Silu => x * sigmoid(x),
            Activation::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            Activation::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Activation::Softplus => {
                if x > 30.0 {
                    x
                } else {
                    x.exp().ln_1p()
                }
            }
        }
    }

    /// The slope at `x`. Where the function has a corner, that of the flat side (of the negative side
    /// for leaky ReLU), as PyTorch takes it.
    pub fn derivative(self, x: f64) -> f64 {
        let inside = |x: f64, lo: f64, hi: f64| f64::from(u8::from(x > lo && x < hi));
        if x.is_nan() {
            return x;
        }
        match self {
            Activation::Silu => {
                let s = sigmoid(x);
                s * (1.0 + x * (1.0 - s))
            }
            Activation::HardSigmoid { alpha, beta } => {
                let (alpha, beta) = (f64::from(alpha), f64::from(beta));
                alpha * inside(alpha * x + beta, 0.0, 1.0)
            }
            Activation::HardSwish if x <= -3.0 => 0.0,
            Activation::HardSwish if x >= 3.0 => 1.0,
            Activation::HardSwish => x / 3.0 + 0.5,
            Activation::Gelu => {
                let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
                0.5 * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)) + x * density
            }
            Activation::GeluTanh => {
                let c = (2.0 / std::f64::consts::PI).sqrt();
                let t = (c * (x + 0.044715 * x * x * x)).tanh();
                0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * c * (1.0 + 3.0 * 0.044715 * x * x)
            }
            Activation::Softplus => sigmoid(x),
            Activation::LeakyRelu { alpha } => {
                if x > 0.0 {
                    1.0
                } else {
                    alpha.into()
                }
            }
            Activation::Elu { alpha } => {
                if x > 0.0 {
                    1.0
                } else {
                    f64::from(alpha) * x.exp()
                }
            }
            Activation::Clip { min, max } => inside(x, min.into(), max.into()),
            Activation::Identity => 1.0,
            Activation::Sigmoid => sigmoid(x) * (1.0 - sigmoid(x)),
            Activation::Tanh => 1.0 - x.tanh() * x.tanh(),
        }
    }

    /// The slope where the function has the value `y`, if that decides it.
    pub fn derivative_from_output(self, y: f64) -> Option<f64> {
        let inside = |lo: f64, hi: f64| f64::from(u8::from(y > lo && y < hi));
        Some(match self {
            _ if y.is_nan() => y,
            Activation::Identity => 1.0,
            Activation::Clip { min, max } => inside(min.into(), max.into()),
            Activation::LeakyRelu { alpha } if alpha > 0.0 => {
                if y > 0.0 {
                    1.0
                } else {
                    alpha.into()
                }
            }
            Activation::Elu { alpha } if alpha > 0.0 => {
                if y > 0.0 {
                    1.0
                } else {
                    y + f64::from(alpha)
                }
            }
            Activation::Sigmoid => y * (1.0 - y),
            Activation::Tanh => 1.0 - y * y,
            Activation::HardSigmoid { alpha, .. } => f64::from(alpha) * inside(0.0, 1.0),
            _ => return None,
        })
    }

    /// Whether the function only clamps: [`Activation::Identity`] or [`Activation::Clip`].
    pub const fn as_clamp(self) -> Option<(f32, f32)> {
        match self {
            Activation::Identity => Some((f32::NEG_INFINITY, f32::INFINITY)),
            Activation::Clip { min, max } => Some((min, max)),
            _ => None,
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Activation::Identity => "identity".into(),
            Activation::RELU => "relu".into(),
            Activation::RELU6 => "relu6".into(),
            Activation::Clip { min, max } => format!("clip({min},{max})"),
            Activation::LeakyRelu { alpha } => format!("leaky-relu({alpha})"),
            Activation::Elu { alpha } => format!("elu({alpha})"),
            Activation::Sigmoid => "sigmoid".into(),
            Activation::Tanh => "tanh".into(),
            Activation::HardSigmoid { alpha, beta } => format!("hard-sigmoid({alpha},{beta})"),
            Activation::HardSwish => "hard-swish".into(),
            Activation::Silu => "silu".into(),
            Activation::Gelu => "gelu".into(),
            Activation::GeluTanh => "gelu-tanh".into(),
            Activation::Softplus => "softplus".into(),
        };
        f.pad(&text)
    }
}

/// The logistic function, without overflow at either end.
fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// The error function to double precision: Maclaurin series near zero, continued fraction of the
/// complement beyond (Abramowitz and Stegun 7.1.5 and 7.1.14).
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    if x.is_nan() {
        return x;
    }
    let value = if a < 2.5 {
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term.abs() > 1e-18 * sum.abs() {
            n += 1.0;
            term *= -a * a / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else if a > 6.0 {
        1.0
    } else {
        let mut fraction = a;
        for k in (1..=60).rev() {
            fraction = a + (f64::from(k) / 2.0) / fraction;
        }
        1.0 - (-a * a).exp() / (fraction * std::f64::consts::PI.sqrt())
    };
    value.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_function_meets_published_values() {
        // Abramowitz and Stegun, table 7.1.
        let cases = [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.0, 0.999_977_909_503_001_4),
        ];
        for (x, want) in cases {
            assert!((erf(x) - want).abs() < 1e-14, "erf({x}) = {}", erf(x));
            assert!((erf(-x) + want).abs() < 1e-14);
        }
        assert!((erf(2.4999999) - erf(2.5000001)).abs() < 1e-9, "the two branches meet");
    }

    #[test]
    fn hard_swish_of_hand_values() {
        let cases =
            [(-4.0, 0.0), (-3.0, 0.0), (-1.5, -0.375), (0.0, 0.0), (1.0, 2.0 / 3.0), (4.0, 4.0)];
        for (x, want) in cases {
            assert!((Activation::HardSwish.eval(x) - want).abs() < 1e-12);
        }
    }

    #[test]
    fn nan_is_never_clamped_away() {
        for act in [Activation::RELU6, Activation::HardSwish, Activation::Sigmoid, Activation::Gelu]
        {
            assert!(act.eval(f64::NAN).is_nan(), "{act}");
        }
    }

    #[test]
    fn names_print_the_usual_ones() {
        assert_eq!(Activation::RELU6.to_string(), "relu6");
        assert_eq!(Activation::Clip { min: -1.0, max: 2.0 }.to_string(), "clip(-1,2)");
    }
}
