//! Random graphs, with layouts wrapped in Transposes as an importer of NCHW files does.

use super::*;
use proptest::prelude::*;

/// One step of a random graph; numbers choose operands and attributes.
#[derive(Clone, Debug)]
pub(super) struct Step {
    kind: usize,
    a: usize,
    b: usize,
}

/// A picture on the way: its value and its extents N,C,H,W.
#[derive(Clone, Debug)]
struct Picture {
    value: ValueId,
    dims: [usize; 4],
}

const KINDS: usize = 20;

fn step(net: &mut Net, pictures: &[Picture], step: &Step) -> Option<Picture> {
    let x = &pictures[step.a % pictures.len()];
    let [n, c, h, w] = x.dims;
    let odd = step.b % 2 == 1;
    let keep = |value| Some(Picture { value, dims: x.dims });
    match step.kind {
        0..=2 => {
            let oc = 1 + step.b % 6;
            let stride = if odd { 2 } else { 1 };
            let conv = Conv2d {
                stride: Hw::square(stride),
                padding: if step.kind == 0 { Padding::Same } else { Padding::all(1) },
                ..Conv2d::default()
            };
            let value = net.conv_nchw(x.value, conv, [oc, c, 3, 3]);
            Some(Picture { value, dims: [n, oc, h.div_ceil(stride), w.div_ceil(stride)] })
        }
        3 => {
            let value = net.conv_nchw(x.value, Conv2d::default(), [c, c, 1, 1]);
            keep(value)
        }
        4 => {
            let conv = Conv2d { padding: Padding::all(1), groups: c, ..Conv2d::default() };
            let oc = if odd { 2 * c } else { c };
            let value = net.conv_nchw(x.value, conv, [oc, 1, 3, 3]);
            Some(Picture { value, dims: [n, oc, h, w] })
        }
        5 | 6 => {
            let value = net.batch_norm(x.value, c, 1);
            keep(value)
        }
        7 | 8 => {
            let list = [
                Activation::RELU,
                Activation::RELU6,
                Activation::HardSwish,
                Activation::Sigmoid,
                Activation::Clip { min: -0.5, max: 0.75 },
                Activation::LeakyRelu { alpha: 0.1 },
            ];
            let value = net.activate(list[step.b % list.len()], x.value);
            keep(value)
        }
        9 | 10 => {
            let functions = [BinaryFn::Add, BinaryFn::Mul, BinaryFn::Sub, BinaryFn::Max];
            let function = functions[step.b % functions.len()];
            let other = pictures.iter().rev().skip(step.b % 3).find(|p| p.dims == x.dims)?;
            let value = net.binary(function, x.value, other.value);
            keep(value)
        }
        11 => {
            let dims: &[usize] = if odd { &[c, 1, 1] } else { &[1, c, 1, w] };
            let constant = net.constant(noise(dims, step.b as u64));
            let value = net.binary(BinaryFn::Add, constant, x.value);
            keep(value)
        }
        12 => {
            let other = &pictures[step.b % pictures.len()];
            let [on, oc, oh, ow] = other.dims;
            if [on, oh, ow] != [n, h, w] || c + oc > 16 {
                return None;
            }
            let value = net.op(Concat { axis: 1 }, &[x.value, other.value]);
            Some(Picture { value, dims: [n, c + oc, h, w] })
        }
        13 => {
            let kind = if odd { PoolKind::Max } else { PoolKind::Average { include_pad: true } };
            let pool = Pool2d {
                kind,
                kernel: Hw::square(2),
                stride: Hw::square(2),
                dilation: Hw::ONE,
                padding: Padding::Same,
                ceil_mode: false,
            };
            let value = net.pool_nchw(x.value, pool);
            Some(Picture { value, dims: [n, c, h.div_ceil(2), w.div_ceil(2)] })
        }
        14 => {
            if h * w > 40 {
                return None;
            }
            let sizes = net.constant(ints(&[n as i64, c as i64, 2 * h as i64, w as i64 + 1]));
            let mode =
                if odd { ResizeMode::Linear } else { ResizeMode::Nearest(NearestRounding::Floor) };
            let coordinates = Coordinates::Asymmetric;
            let value = net.op(Resize { mode, coordinates }, &[x.value, sizes]);
            Some(Picture { value, dims: [n, c, 2 * h, w + 1] })
        }
        15 => {
            // Excitation: a gate from the pooled picture.
            let gate = net.global_mean_nchw(x.value, true);
            let gate = net.conv_nchw(gate, Conv2d::default(), [c, c, 1, 1]);
            let gate = net.activate(Activation::Sigmoid, gate);
            let value = net.binary(BinaryFn::Mul, x.value, gate);
            keep(value)
        }
        16 => {
            let last = if odd { c } else { h } as i64;
            let axis = if odd { 1 } else { 2 };
            if last < 2 {
                return None;
            }
            let [start, end, axes] = [1, last, axis].map(|v| net.constant(ints(&[v])));
            let value = net.op(Slice, &[x.value, start, end, axes]);
            let mut dims = x.dims;
            dims[axis as usize] -= 1;
            Some(Picture { value, dims })
        }
        17 => {
            let pads = net.constant(ints(&[0, 0, 1, 0, 0, 0, 0, (step.b % 3) as i64]));
            let value = net.op(Pad { mode: PadMode::Constant }, &[x.value, pads]);
            Some(Picture { value, dims: [n, c, h + 1, w + step.b % 3] })
        }
        18 => {
            // To rows of pixels and back, by way of extents that are asked for.
            let extents = net.op(ShapeOf { start: 0, end: None }, &[x.value]);
            let flat = net.reshape(x.value, &[0, 0, -1]);
            let flat = net.transpose(flat, &[0, 2, 1]);
            let flat = net.op(Softmax { axis: if odd { 1 } else { 2 }, log: false }, &[flat]);
            let back = net.transpose(flat, &[0, 2, 1]);
            let value = net.op(Reshape { allow_zero: false }, &[back, extents]);
            keep(value)
        }
        _ => {
            let product = net.scalar(0.25 + (step.b % 4) as f32);
            let value = net.binary(BinaryFn::Mul, x.value, product);
            keep(value)
        }
    }
}

pub(super) fn build(dims: [usize; 4], steps: &[Step], free: bool) -> Graph {
    let mut net = Net::new();
    let input = if free { net.free_input(4) } else { net.input(&dims) };
    let mut pictures = vec![Picture { value: input, dims }];
    for (index, next) in steps.iter().enumerate() {
        if let Some(picture) = step(&mut net, &pictures, next) {
            pictures.push(picture);
        }
        // Depth before width: mostly go on from the last picture.
        if index % 4 != 3 && pictures.len() > 3 {
            pictures.remove(0);
        }
    }
    let last = pictures.last().expect("the input at least").value;
    let value = net.op(Unary { function: UnaryFn::Abs }, &[last]);
    if let Some(other) = pictures.iter().rev().nth(1)
        && other.value != input
    {
        net.graph.add_output(other.value);
    }
    net.output(value)
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..KINDS, 0..100usize, 0..100usize);
    proptest::collection::vec(step.prop_map(|(kind, a, b)| Step { kind, a, b }), 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// `optimize_with` checks both phases against the interpreter and against running again.
    #[test]
    fn random_graphs_keep_their_meaning(
        steps in steps(),
        dims in (1..3usize, 1..5usize, 1..8usize, 1..8usize),
        free in any::<bool>(),
    ) {
        let dims = [dims.0, dims.1, dims.2, dims.3];
        let graph = build(dims, &steps, free);
        let inputs = inputs(&graph, &[&dims]);
        optimize_with(&graph, &inputs, &PassOptions::default());
    }

    /// Each pass alone, too: none may lean on another for its correctness.
    #[test]
    fn random_graphs_keep_their_meaning_under_each_pass(
        steps in steps(),
        pass in 0..crate::passes::PREPARE.len(),
        free in any::<bool>(),
    ) {
        let dims = [1, 3, 5, 4];
        let graph = build(dims, &steps, free);
        let inputs = inputs(&graph, &[&dims]);
        let options = only(&[crate::passes::PREPARE[pass].name()]);
        optimize_with(&graph, &inputs, &options);
    }
}
