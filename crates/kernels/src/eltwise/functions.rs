//! The functions of one and of two operands, each a type of its own so that every loop over
//! them is compiled for one function.

use crate::act;
use depthwise_tensor::Activation;
use pulp::Simd;

/// A function of one operand, element by element.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum UnaryOp {
    /// One of the shared activations.
    Activation(Activation),
    /// `-x`
    Neg,
    /// `|x|`
    Abs,
    /// `e^x`
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// `1 / x`
    Reciprocal,
    /// `x * x`
    Square,
    /// `1 / sqrt(x)`
    Rsqrt,
    /// Error function.
    Erf,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// Largest integer not above.
    Floor,
    /// Smallest integer not below.
    Ceil,
    /// Nearest integer, halves to even.
    Round,
    /// -1, 0 or 1.
    Sign,
}

/// A function of two operands, element by element.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum BinaryOp {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// The smaller; NaN if either is.
    Min,
    /// The larger; NaN if either is.
    Max,
    /// `a^b`
    Pow,
    /// `a` where positive, else `b * a`: leaky ReLU with the slope as an operand.
    PRelu,
    /// `a * f'`, where `b` is the operand of the activation: its gradient.
    Slope(Activation),
    /// `a * f'`, where `b` is the result of the activation; for those whose result decides the slope
    /// ([`Activation::derivative_from_output`]).
    SlopeOfOutput(Activation),
}

/// A function of one vector.
pub(crate) trait Function1: Copy {
    /// The function in every lane.
    fn call<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s;
}

/// A function of two vectors.
pub(crate) trait Function2: Copy {
    /// The function in every lane.
    fn call<S: Simd>(self, simd: S, a: S::f32s, b: S::f32s) -> S::f32s;
}

/// Something to do with a [`Function1`] of any type.
pub(crate) trait Visit1 {
    /// Does it.
    fn visit<F: Function1>(self, function: F);
}

/// Something to do with a [`Function2`] of any type.
pub(crate) trait Visit2 {
    /// Does it.
    fn visit<F: Function2>(self, function: F);
}

/// Unit types that call an expression on one or two vectors.
macro_rules! functions {
    ($($name:ident: |$simd:ident, $x:ident| $body:expr;)*) => {
        $(#[derive(Clone, Copy)] struct $name;
        impl Function1 for $name {
            #[inline(always)]
            fn call<S: Simd>(self, $simd: S, $x: S::f32s) -> S::f32s { $body }
        })*
    };
    ($($name:ident: |$simd:ident, $a:ident, $b:ident| $body:expr;)*) => {
        $(#[derive(Clone, Copy)] struct $name;
        impl Function2 for $name {
            #[inline(always)]
            fn call<S: Simd>(self, $simd: S, $a: S::f32s, $b: S::f32s) -> S::f32s { $body }
        })*
    };
}

functions! {
    Identity: |_simd, x| x;
    Sigmoid: |simd, x| act::sigmoid(simd, x);
    Tanh: |simd, x| act::tanh(simd, x);
    HardSwish: |simd, x| act::hard_swish(simd, x);
    Silu: |simd, x| act::apply(simd, Activation::Silu, x);
    Gelu: |simd, x| act::gelu(simd, x);
    GeluTanh: |simd, x| act::gelu_tanh(simd, x);
    Softplus: |simd, x| act::softplus(simd, x);
    Neg: |simd, x| simd.sub_f32s(simd.splat_f32s(-0.0), x);
    Abs: |simd, x| bytemuck::cast(simd.and_u32s(bytemuck::cast(x), simd.splat_u32s(!(1 << 31))));
    Exp: |simd, x| act::exp(simd, x);
    Sqrt: |simd, x| simd.sqrt_f32s(x);
    Reciprocal: |simd, x| simd.div_f32s(simd.splat_f32s(1.0), x);
    Square: |simd, x| simd.mul_f32s(x, x);
    Rsqrt: |simd, x| simd.div_f32s(simd.splat_f32s(1.0), simd.sqrt_f32s(x));
    Erf: |simd, x| act::erf(simd, x);
}

/// An activation with parameters: the match is on a value that does not change in a loop.
#[derive(Clone, Copy)]
struct Parametric<const KIND: u8>(Activation);

/// Tells the parametric activations apart at compile time.
const CLIP: u8 = 0;
const LEAKY: u8 = 1;
const ELU: u8 = 2;
const HARD_SIGMOID: u8 = 3;

impl<const KIND: u8> Function1 for Parametric<KIND> {
    #[inline(always)]
    fn call<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        match (KIND, self.0) {
            (CLIP, Activation::Clip { min, max }) => act::Clamp::new(simd, min, max).apply(simd, x),
            (LEAKY, Activation::LeakyRelu { alpha }) => {
                act::leaky_relu(simd, x, simd.splat_f32s(alpha))
            }
            (ELU, Activation::Elu { alpha }) => act::elu(simd, alpha, x),
            (HARD_SIGMOID, Activation::HardSigmoid { alpha, beta }) => {
                act::hard_sigmoid(simd, alpha, beta, x)
            }
            _ => x,
        }
    }
}

/// A function of the standard library, lane by lane.
#[derive(Clone, Copy)]
struct Lanes<F>(F);

impl<F: Fn(f32) -> f32 + Copy> Function1 for Lanes<F> {
    #[inline(always)]
    fn call<S: Simd>(self, _: S, x: S::f32s) -> S::f32s {
        let mut lanes = [x];
        for lane in bytemuck::cast_slice_mut::<S::f32s, f32>(&mut lanes) {
            *lane = (self.0)(*lane);
        }
        lanes[0]
    }
}

/// -1, 0 or 1; zeros and NaN as they are.
fn sign(x: f32) -> f32 {
    match x {
        x if x > 0.0 => 1.0,
        x if x < 0.0 => -1.0,
        x => x,
    }
}

impl UnaryOp {
    /// Hands the function to the visitor.
    #[inline(always)]
    pub(crate) fn visit(self, visitor: impl Visit1) {
        match self {
            UnaryOp::Activation(activation) => visit_activation(activation, visitor),
            UnaryOp::Neg => visitor.visit(Neg),
            UnaryOp::Abs => visitor.visit(Abs),
            UnaryOp::Exp => visitor.visit(Exp),
            UnaryOp::Log => visitor.visit(Lanes(f32::ln)),
            UnaryOp::Sqrt => visitor.visit(Sqrt),
            UnaryOp::Reciprocal => visitor.visit(Reciprocal),
            UnaryOp::Square => visitor.visit(Square),
            UnaryOp::Rsqrt => visitor.visit(Rsqrt),
            UnaryOp::Erf => visitor.visit(Erf),
            UnaryOp::Sin => visitor.visit(Lanes(f32::sin)),
            UnaryOp::Cos => visitor.visit(Lanes(f32::cos)),
            UnaryOp::Floor => visitor.visit(Lanes(f32::floor)),
            UnaryOp::Ceil => visitor.visit(Lanes(f32::ceil)),
            UnaryOp::Round => visitor.visit(Lanes(f32::round_ties_even)),
            UnaryOp::Sign => visitor.visit(Lanes(sign)),
        }
    }
}

/// Hands an activation to the visitor.
#[inline(always)]
pub(crate) fn visit_activation(activation: Activation, visitor: impl Visit1) {
    match activation {
        Activation::Identity => visitor.visit(Identity),
        Activation::Clip { .. } => visitor.visit(Parametric::<CLIP>(activation)),
        Activation::LeakyRelu { .. } => visitor.visit(Parametric::<LEAKY>(activation)),
        Activation::Elu { .. } => visitor.visit(Parametric::<ELU>(activation)),
        Activation::Sigmoid => visitor.visit(Sigmoid),
        Activation::Tanh => visitor.visit(Tanh),
        Activation::HardSigmoid { .. } => visitor.visit(Parametric::<HARD_SIGMOID>(activation)),
        Activation::HardSwish => visitor.visit(HardSwish),
        Activation::Silu => visitor.visit(Silu),
        Activation::Gelu => visitor.visit(Gelu),
        Activation::GeluTanh => visitor.visit(GeluTanh),
        Activation::Softplus => visitor.visit(Softplus),
        _ => unreachable!("activation {activation} has no vector form"),
    }
}

functions! {
    Add: |simd, a, b| simd.add_f32s(a, b);
    Sub: |simd, a, b| simd.sub_f32s(a, b);
    Mul: |simd, a, b| simd.mul_f32s(a, b);
    Div: |simd, a, b| simd.div_f32s(a, b);
    Min: |simd, a, b| {
        // `b` where either is NaN, then `a` where that is.
        let smaller = act::select(simd, simd.less_than_f32s(a, b), a, b);
        act::select(simd, simd.equal_f32s(a, a), smaller, a)
    };
    Max: |simd, a, b| {
        let larger = act::select(simd, simd.greater_than_f32s(a, b), a, b);
        act::select(simd, simd.equal_f32s(a, a), larger, a)
    };
    Pow: |_simd, a, b| {
        let (mut bases, exponents) = ([a], [b]);
        let exponents = bytemuck::cast_slice::<S::f32s, f32>(&exponents);
        let lanes = bytemuck::cast_slice_mut::<S::f32s, f32>(&mut bases);
        for (lane, &exponent) in lanes.iter_mut().zip(exponents) {
            *lane = lane.powf(exponent);
        }
        bases[0]
    };
    PRelu: |simd, a, b| act::leaky_relu(simd, a, b);
}

/// The slope of a clamp, times `factor`: 0 at and outside the bounds.
#[derive(Clone, Copy)]
struct ClipSlope {
    min: f32,
    max: f32,
    factor: f32,
}

impl Function2 for ClipSlope {
    #[inline(always)]
    fn call<S: Simd>(self, simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
        let (zero, factor) = (simd.splat_f32s(0.0), simd.splat_f32s(self.factor));
        let above = simd.greater_than_f32s(b, simd.splat_f32s(self.min));
        let below = simd.less_than_f32s(b, simd.splat_f32s(self.max));
        let slope = act::select(simd, below, act::select(simd, above, factor, zero), zero);
        simd.mul_f32s(a, act::select(simd, simd.equal_f32s(b, b), slope, b))
    }
}

functions! {
    SigmoidSlope: |simd, a, b| {
        simd.mul_f32s(a, simd.mul_f32s(b, simd.sub_f32s(simd.splat_f32s(1.0), b)))
    };
    TanhSlope: |simd, a, b| {
        // As a product of both roots: no cancellation.
        let one = simd.splat_f32s(1.0);
        simd.mul_f32s(a, simd.mul_f32s(simd.sub_f32s(one, b), simd.add_f32s(one, b)))
    };
    HardSwishSlope: |simd, a, b| {
        let three = simd.splat_f32s(3.0);
        let middle = simd.add_f32s(simd.div_f32s(b, three), simd.splat_f32s(0.5));
        let zero = simd.splat_f32s(0.0);
        let low = simd.less_than_or_equal_f32s(b, simd.splat_f32s(-3.0));
        let high = simd.greater_than_or_equal_f32s(b, three);
        let slope = act::select(simd, low, zero, middle);
        simd.mul_f32s(a, act::select(simd, high, simd.splat_f32s(1.0), slope))
    };
    SiluSlope: |simd, a, b| {
        let one = simd.splat_f32s(1.0);
        let s = act::sigmoid(simd, b);
        let inner = simd.add_f32s(one, simd.mul_f32s(b, simd.sub_f32s(one, s)));
        simd.mul_f32s(a, simd.mul_f32s(s, inner))
    };
}

/// The slope of any activation, lane by lane in `f64`.
#[derive(Clone, Copy)]
struct AnySlope {
    activation: Activation,
    of_output: bool,
}

impl Function2 for AnySlope {
    #[inline(always)]
    fn call<S: Simd>(self, _: S, a: S::f32s, b: S::f32s) -> S::f32s {
        let (mut products, at) = ([a], [b]);
        let at = bytemuck::cast_slice::<S::f32s, f32>(&at);
        let lanes = bytemuck::cast_slice_mut::<S::f32s, f32>(&mut products);
        for (lane, &at) in lanes.iter_mut().zip(at) {
            *lane = any_slope(self, *lane, at);
        }
        products[0]
    }
}

/// `a` times the slope at `at`. Not inlined into the loops of every level.
#[inline(never)]
fn any_slope(function: AnySlope, a: f32, at: f32) -> f32 {
    let slope = match function.of_output {
        true => function.activation.derivative_from_output(at.into()).unwrap_or(f64::NAN),
        false => function.activation.derivative(at.into()),
    };
    (f64::from(a) * slope) as f32
}

/// Hands the gradient of an activation to the visitor.
#[inline(always)]
fn visit_slope(activation: Activation, of_output: bool, visitor: impl Visit2) {
    match (activation, of_output) {
        // Inside the bounds operand and result are the same.
        (Activation::Clip { min, max }, _) => visitor.visit(ClipSlope { min, max, factor: 1.0 }),
        (Activation::HardSigmoid { alpha, .. }, true) => {
            visitor.visit(ClipSlope { min: 0.0, max: 1.0, factor: alpha });
        }
        (Activation::Sigmoid, true) => visitor.visit(SigmoidSlope),
        (Activation::Tanh, true) => visitor.visit(TanhSlope),
        (Activation::HardSwish, false) => visitor.visit(HardSwishSlope),
        (Activation::Silu, false) => visitor.visit(SiluSlope),
        _ => visitor.visit(AnySlope { activation, of_output }),
    }
}

impl BinaryOp {
    /// Hands the function to the visitor.
    #[inline(always)]
    pub(crate) fn visit(self, visitor: impl Visit2) {
        match self {
            BinaryOp::Add => visitor.visit(Add),
            BinaryOp::Sub => visitor.visit(Sub),
            BinaryOp::Mul => visitor.visit(Mul),
            BinaryOp::Div => visitor.visit(Div),
            BinaryOp::Min => visitor.visit(Min),
            BinaryOp::Max => visitor.visit(Max),
            BinaryOp::Pow => visitor.visit(Pow),
            BinaryOp::PRelu => visitor.visit(PRelu),
            BinaryOp::Slope(activation) => visit_slope(activation, false, visitor),
            BinaryOp::SlopeOfOutput(activation) => visit_slope(activation, true, visitor),
        }
    }
}
