//! A border around a tensor.

/// What the border is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadMode {
    /// A constant.
    Constant,
    /// The mirror image without the edge itself.
    Reflect,
    /// The edge repeated.
    Edge,
    /// The opposite end.
    Wrap,
}

/// A border. Inputs: x; pads, `i64[2 * axes]`, all begins and then all ends, negative crops;
/// value, may be left out (zero); axes, `i64`, may be left out (all).
#[derive(Clone, Debug, PartialEq)]
pub struct Pad {
    /// The filling.
    pub mode: PadMode,
}
