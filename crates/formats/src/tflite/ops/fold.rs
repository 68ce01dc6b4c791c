//! Dilated convolutions that are written as a plain one between SPACE_TO_BATCH_ND and
//! BATCH_TO_SPACE_ND, as converters from TensorFlow 1 write them.

use super::super::wire::{Model, Operator, Subgraph};
use depthwise_tensor::{Hw, Pad2d};
use std::collections::HashMap;

const CONV_2D: i32 = 3;
const DEPTHWISE_CONV_2D: i32 = 4;
const BATCH_TO_SPACE_ND: i32 = 37;
const SPACE_TO_BATCH_ND: i32 = 38;

/// The part of an operator in such a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) enum Fold {
    /// It hands on its operand.
    PassThrough,
    /// The convolution.
    Dilated {
        /// The block.
        dilation: Hw,
        /// Pads of the first operator, less crops of the last.
        pad: Pad2d,
    },
}

/// The parts of all operators that play one.
#[derive(Debug, Default)]
pub(in super::super) struct Folds {
    parts: HashMap<usize, Fold>,
}

impl Folds {
    /// Finds every group whose inner tensors nothing else reads.
    pub(in super::super) fn find(model: &Model<'_>, network: &Subgraph<'_>) -> Folds {
        let code = |operator: &Operator<'_>| {
            model.operator_codes.get(operator.code as usize).map(|code| code.builtin)
        };
        let mut folds = Folds::default();
        let of_kind = |kind| network.operators.iter().any(|op| code(op) == Some(kind));
        if !of_kind(SPACE_TO_BATCH_ND) || !of_kind(BATCH_TO_SPACE_ND) {
            return folds;
        }
        let readers = only_readers(network);
        let next = |operator: &Operator<'_>| {
            let at = *readers.get(&operator.outputs.get(0)?)?.as_ref()?;
            let reader = &network.operators[at];
            (reader.inputs.get(0) == operator.outputs.get(0)).then_some((at, reader))
        };
        for (first, start) in network.operators.iter().enumerate() {
            if code(start) != Some(SPACE_TO_BATCH_ND) {
                continue;
            }
            let group = || {
                let (middle, conv) = next(start)?;
                let (last, end) = next(conv)?;
                let is_plain = is_plain(conv, code(conv)?) && code(end) == Some(BATCH_TO_SPACE_ND);
                is_plain.then_some(())?;
                let fold = dilated(model, network, start, end)?;
                Some((middle, last, fold))
            };
            if let Some((middle, last, fold)) = group() {
                folds.parts.insert(first, Fold::PassThrough);
                folds.parts.insert(middle, fold);
                folds.parts.insert(last, Fold::PassThrough);
            }
        }
        folds
    }

    pub(in super::super) fn of(&self, operator: usize) -> Option<Fold> {
        self.parts.get(&operator).copied()
    }
}

/// The one operator that reads a tensor; `None` where there are several, or it is an output.
fn only_readers(network: &Subgraph<'_>) -> HashMap<i32, Option<usize>> {
    let mut readers = HashMap::new();
    for (at, operator) in network.operators.iter().enumerate() {
        for tensor in operator.inputs.iter() {
            readers.entry(tensor).and_modify(|reader| *reader = None).or_insert(Some(at));
        }
    }
    readers.extend(network.outputs.iter().map(|output| (output, None)));
    readers
}

/// Whether it is a convolution without padding, strides and dilation.
fn is_plain(operator: &Operator<'_>, code: i32) -> bool {
    let dilation = match code {
        CONV_2D => 4,
        DEPTHWISE_CONV_2D => 5,
        _ => return false,
    };
    let Some(options) = operator.options else { return false };
    let one = |field| options.number::<i32>(field, 1) == Ok(1);
    options.number::<i8>(0, 0) == Ok(1)
        && options.number::<i32>(1, 0) == Ok(1)
        && options.number::<i32>(2, 0) == Ok(1)
        && one(dilation)
        && one(dilation + 1)
}

fn dilated(
    model: &Model<'_>,
    network: &Subgraph<'_>,
    start: &Operator<'_>,
    end: &Operator<'_>,
) -> Option<Fold> {
    let ints = |operator: &Operator<'_>, i: usize| -> Option<Vec<i64>> {
        let tensor = network.tensors.get(usize::try_from(operator.inputs.get(i)?).ok()?)?;
        let bytes = *model.buffers.get(tensor.buffer as usize)?;
        // Block, pads and crops of two axes: at most four numbers.
        let is_small = tensor.dtype == super::super::wire::tensor_type::INT32 && bytes.len() <= 16;
        let number = |b: &[u8]| i32::from_le_bytes([b[0], b[1], b[2], b[3]]).into();
        is_small.then(|| bytes.chunks_exact(4).map(number).collect())
    };
    let (block, pads, crops) = (ints(start, 1)?, ints(start, 2)?, ints(end, 2)?);
    let (&[h, w], &[_, _, _, _], &[_, _, _, _]) = (&block[..], &pads[..], &crops[..]) else {
        return None;
    };
    if ints(end, 1)? != block {
        return None;
    }
    let left = |i: usize| usize::try_from(pads[i] - crops[i]).ok();
    let positive = |n: i64| usize::try_from(n).ok().filter(|&n| n > 0);
    Some(Fold::Dilated {
        dilation: Hw { h: positive(h)?, w: positive(w)? },
        pad: Pad2d { top: left(0)?, bottom: left(1)?, left: left(2)?, right: left(3)? },
    })
}
