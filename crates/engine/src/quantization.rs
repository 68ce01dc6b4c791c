//! What the integers at the ends of a quantized network stand for.

use depthwise_layers::Op;
use depthwise_layers::ir::{Graph, Node, ValueId};
use depthwise_tensor::DType;

/// One scale and zero point: an integer `q` stands for `scale * (q - zero_point)`.
///
/// ```
/// # use depthwise_engine::Quantization;
/// let pixels = Quantization { scale: 1.0 / 128.0, zero_point: 128 };
/// assert_eq!(pixels.real(0), -1.0);
/// assert_eq!(pixels.nearest_u8(0.5), 192);
/// assert_eq!(pixels.nearest_u8(7.0), 255);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantization {
    /// Of the real numbers, what a step of one is.
    pub scale: f32,
    /// The integer that stands for 0.
    pub zero_point: i32,
}

impl Quantization {
    /// The real number that `q` stands for.
    pub fn real(&self, q: i32) -> f32 {
        (q - self.zero_point) as f32 * self.scale
    }

    /// The `u8` that stands for the number nearest to `x`; halves go to even, NaN to the zero point.
    pub fn nearest_u8(&self, x: f32) -> u8 {
        self.nearest(x).clamp(0, 255) as u8
    }

    /// The `i8` that stands for the number nearest to `x`; halves go to even, NaN to the zero point.
    pub fn nearest_i8(&self, x: f32) -> i8 {
        self.nearest(x).clamp(-128, 127) as i8
    }

    fn nearest(&self, x: f32) -> i32 {
        ((x / self.scale).round_ties_even() as i32).saturating_add(self.zero_point)
    }
}

/// Of the inputs and the outputs of a graph as a file has it, without its states.
pub(crate) fn of_ends(graph: &Graph) -> [Vec<Option<Quantization>>; 2] {
    let states = graph.states();
    let inputs = graph.inputs().iter().enumerate();
    let inputs = inputs.filter(|&(at, _)| states.iter().all(|state| state.input != at));
    let outputs = graph.outputs().iter().enumerate();
    let outputs = outputs.filter(|&(at, _)| states.iter().all(|state| state.output != at));
    [
        inputs.map(|(_, &id)| of_input(graph, id)).collect(),
        outputs.map(|(_, &id)| of_output(graph, id)).collect(),
    ]
}

/// What an input of 8-bit integers stands for: the one scale by which all that read it do so.
fn of_input(graph: &Graph, id: ValueId) -> Option<Quantization> {
    let dtype = graph.input_type(id)?.dtype;
    if !matches!(dtype, DType::I8 | DType::U8) {
        return None;
    }
    let readers = graph.nodes().iter().filter(|node| node.inputs.contains(&Some(id)));
    let scales = readers.map(|node| match node.op {
        Op::Dequantize(_) => scale(graph, node),
        _ => None,
    });
    let mut scales = scales.collect::<Option<Vec<_>>>()?;
    scales.dedup();
    <[Quantization; 1]>::try_from(scales).ok().map(|[scale]| scale)
}

/// What an output of 8-bit integers stands for: the scale by which they were made.
fn of_output(graph: &Graph, id: ValueId) -> Option<Quantization> {
    let node = graph.node(graph.producer(id)?);
    match &node.op {
        Op::Quantize(layer) if matches!(layer.dtype, DType::I8 | DType::U8) => scale(graph, node),
        _ => None,
    }
}

/// Scale and zero point of a Quantize or Dequantize that has one of each.
fn scale(graph: &Graph, node: &Node) -> Option<Quantization> {
    let operand = |at: usize| node.inputs.get(at).copied().flatten();
    let scale = graph.constant(operand(1)?)?.to_f32();
    let zero = match operand(2) {
        Some(id) => graph.constant(id)?.to_i64().into_owned(),
        None => vec![0],
    };
    let (&[scale], &[zero]) = (&scale[..], &zero[..]) else { return None };
    Some(Quantization { scale, zero_point: i32::try_from(zero).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_to_the_nearest_integer_of_the_type() {
        let q = Quantization { scale: 0.5, zero_point: 3 };
        assert_eq!([0.25, 0.75, -0.25].map(|x| q.nearest_i8(x)), [3, 5, 3]);
        assert_eq!(q.nearest_i8(f32::NAN), 3);
        assert_eq!([f32::NEG_INFINITY, f32::INFINITY].map(|x| q.nearest_i8(x)), [-128, 127]);
        assert_eq!([f32::NEG_INFINITY, f32::INFINITY].map(|x| q.nearest_u8(x)), [0, 255]);
        assert_eq!(q.real(5), 1.0);
    }
}
