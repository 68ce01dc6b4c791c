use super::*;
use crate::isa::Cpu;
use crate::operator::{Operator, run};
use crate::par::Par;
use depthwise_layers as layers;
use depthwise_layers::Layer;
use depthwise_tensor::{DType, Hw, Shape, Tensor};
use proptest::prelude::*;

/// Stands in padding, behind buffers, and wherever nothing was written.
const SENTINEL: u8 = 0xa5;

const CASES: u32 = if cfg!(target_arch = "aarch64") { 16 } else { 200 };

fn shape(dims: &[usize]) -> Shape {
    Shape::new(dims).unwrap()
}

/// Distances of rows that the tests go through: dense, a whole number of vectors, uneven.
fn with_ld(dims: &[usize], kind: usize) -> View {
    let c = dims.last().copied().unwrap_or(1);
    View { shape: shape(dims), ld: [c, c.next_multiple_of(16), c + 3][kind] }
}

/// A tensor whose elements are told apart by their bytes.
fn tensor(dtype: DType, dims: &[usize]) -> Tensor {
    let shape = shape(dims);
    let size = dtype.size_bytes();
    let mut bytes = Vec::new();
    for i in 0..shape.elements() {
        let value = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        bytes.extend_from_slice(&value.to_le_bytes()[8 - size..]);
    }
    Tensor::new(dtype, shape, bytes.into()).unwrap()
}

/// The type that stands for elements of this size.
fn dtype(size: usize) -> DType {
    match size {
        1 => DType::U8,
        2 => DType::I16,
        4 => DType::I32,
        _ => DType::I64,
    }
}

/// The bytes of a tensor, laid out as a view.
fn spread(tensor: &Tensor, view: &View) -> Vec<u8> {
    let (size, rows) = (tensor.dtype().size_bytes(), view.rows());
    let mut bytes = vec![SENTINEL; view.len() * size];
    for row in 0..rows.rows {
        let line = &tensor.bytes()[row * rows.c * size..][..rows.c * size];
        bytes[row * rows.ld * size..][..rows.c * size].copy_from_slice(line);
    }
    bytes
}

/// The meaningful bytes of a view.
fn collect(bytes: &[u8], view: &View, size: usize) -> Vec<u8> {
    let rows = view.rows();
    let line = |row: usize| &bytes[row * rows.ld * size..][..rows.c * size];
    (0..rows.rows).flat_map(line).copied().collect()
}

/// Runs an operator in guarded memory and compares what it wrote.
fn check(op: &dyn Operator, inputs: &[(&Tensor, View)], out: View, want: &Tensor) {
    let inputs: Vec<Vec<u8>> = inputs.iter().map(|(t, v)| spread(t, v)).collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let size = want.dtype().size_bytes();
    let len = out.len() * size;
    let mut y = vec![SENTINEL; len + 64];
    run(op, &inputs, &mut [&mut y[..len]], &Par::single()).unwrap();
    assert!(y[len..].iter().all(|&b| b == SENTINEL), "{} wrote past its output", op.kernel());
    assert_eq!(collect(&y, &out, size), &want.bytes()[..], "{} {op:?}", op.kernel());
}

fn reference(layer: &dyn Layer, inputs: &[Option<&Tensor>]) -> Tensor {
    layer.reference(inputs).unwrap().remove(0)
}

fn ints(values: &[i64]) -> Tensor {
    Tensor::from_slice(&[values.len()], values).unwrap()
}

fn transposers() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().filter(|k| k.info().is_supported(&Cpu::detect()))
}

fn check_permute(size: usize, dims: &[usize], perm: &[usize], lds: [usize; 2], threads: usize) {
    let x = tensor(dtype(size), dims);
    let want = reference(&layers::Transpose { perm: perm.to_vec() }, &[Some(&x)]);
    let (input, out) = (with_ld(dims, lds[0]), with_ld(want.shape(), lds[1]));
    for kernel in transposers() {
        let op = Permute::with_kernel(kernel, size, input, perm, out, threads).unwrap();
        check(&op, &[(&x, input)], out, &want);
    }
}

#[test]
fn pictures_change_between_nchw_and_nhwc() {
    for (c, h, w) in [(3, 5, 7), (8, 8, 8), (17, 9, 5), (24, 3, 33), (1, 4, 4), (40, 1, 1)] {
        for size in [1, 2, 4, 8] {
            for lds in [[0, 0], [0, 1], [1, 0], [2, 2]] {
                for threads in [1, 3] {
                    check_permute(size, &[2, c, h, w], &[0, 2, 3, 1], lds, threads);
                    check_permute(size, &[1, h, w, c], &[0, 3, 1, 2], lds, threads);
                }
            }
        }
    }
}

#[test]
fn large_transpositions_are_split_each_way() {
    for dims in [[1, 64, 40, 40], [1, 8, 100, 100], [9, 8, 24, 24]] {
        let x = View::dense(shape(&dims));
        let y = View::padded(shape(&[dims[0], dims[2], dims[3], dims[1]]));
        let op = Permute::new(&Cpu::detect(), 4, x, &[0, 2, 3, 1], y, 3).unwrap();
        assert_eq!(op.chunks(), 3);
        check_permute(4, &dims, &[0, 2, 3, 1], [0, 1], 3);
        check_permute(4, &[dims[0], dims[2], dims[3], dims[1]], &[0, 3, 1, 2], [1, 0], 3);
    }
}

#[test]
fn permutations_that_are_none_are_refused() {
    let x = View::dense(shape(&[2, 3]));
    let y = View::dense(shape(&[3, 2]));
    for perm in [&[0, 0][..], &[1], &[0, 1], &[1, 2], &[1, 0, 2]] {
        assert!(Permute::new(&Cpu::detect(), 4, x, perm, y, 1).is_err(), "{perm:?}");
    }
    assert!(Permute::new(&Cpu::detect(), 3, x, &[1, 0], y, 1).is_err(), "3-byte elements");
    assert!(Permute::new(&Cpu::detect(), 4, x, &[1, 0], y, 1).is_ok());
}

#[test]
fn rows_move_to_another_distance() {
    for (rows, c) in [(1, 1), (5, 3), (7, 24), (3, 40), (0, 4), (4, 0), (300, 33)] {
        for size in [1, 2, 4, 8] {
            for (a, b) in [(0, 1), (1, 0), (1, 1), (2, 1), (0, 2)] {
                let (x, y) = (with_ld(&[rows, c], a), with_ld(&[rows, c], b));
                let t = tensor(dtype(size), &[rows, c]);
                let op = CopyRows::new(size, x.rows(), y.rows(), 3).unwrap();
                check(&op, &[(&t, x)], y, &t);
            }
        }
    }
    let (a, b) = (with_ld(&[2, 3], 0).rows(), with_ld(&[3, 2], 0).rows());
    assert!(CopyRows::new(4, a, b, 1).is_err());
}

#[test]
fn reshaped_elements_keep_their_order() {
    let shapes: [&[usize]; 5] = [&[4, 30], &[120], &[2, 2, 5, 6], &[8, 15], &[120, 1]];
    for (from, to) in shapes.iter().flat_map(|a| shapes.map(|b| (*a, b))) {
        for (a, b) in [(0, 0), (0, 1), (1, 0), (2, 2)] {
            let (x, y) = (with_ld(from, a), with_ld(to, b));
            let t = tensor(DType::I32, from);
            let want = Tensor::new(DType::I32, shape(to), t.bytes().clone()).unwrap();
            check(&CopyElements::new(4, x, y, 2).unwrap(), &[(&t, x)], y, &want);
        }
    }
    assert!(CopyElements::new(4, with_ld(&[4], 0), with_ld(&[5], 0), 1).is_err());
}

#[test]
fn parts_join_along_every_axis() {
    for axis in 0..4 {
        for lds in [[0, 1, 2, 1], [1, 1, 1, 1], [0, 0, 0, 0], [2, 0, 1, 2]] {
            let dims = |extent: usize| {
                let mut dims = [2, 3, 4, 21];
                dims[axis] = extent;
                dims
            };
            let parts = [5, 0, 16].map(|extent| tensor(DType::F32, &dims(extent)));
            let views: Vec<View> =
                parts.iter().zip(lds).map(|(t, ld)| with_ld(t.shape(), ld)).collect();
            let layer = layers::Concat { axis: axis as i64 };
            let want = reference(&layer, &parts.each_ref().map(Some));
            let out = with_ld(want.shape(), lds[3]);
            let op = ConcatOp::new(4, &views, axis, out, 3).unwrap();
            let inputs: Vec<_> = parts.iter().zip(views).collect();
            check(&op, &inputs, out, &want);
        }
    }
}

#[test]
fn parts_that_do_not_add_up_are_refused() {
    let v = |dims: &[usize]| with_ld(dims, 0);
    assert!(ConcatOp::new(4, &[v(&[2, 3]), v(&[2, 3])], 1, v(&[2, 6]), 1).is_ok());
    assert!(ConcatOp::new(4, &[v(&[2, 3]), v(&[2, 3])], 1, v(&[2, 7]), 1).is_err());
    assert!(ConcatOp::new(4, &[v(&[2, 3]), v(&[1, 3])], 1, v(&[2, 6]), 1).is_err());
    assert!(ConcatOp::new(4, &[v(&[2, 3])], 2, v(&[2, 3]), 1).is_err());
}

#[test]
fn slices_step_forwards_and_backwards() {
    let dims = [3, 5, 7, 20];
    let cases = [
        ([0, 0, 0, 0], [1, 1, 1, 1], [3, 5, 7, 20]),
        ([1, 4, 0, 3], [1, -2, 3, 1], [2, 3, 3, 17]),
        ([2, 0, 6, 19], [-1, 1, -1, -1], [3, 5, 7, 20]),
        ([2, 4, 6, 0], [9, 9, 9, 7], [1, 1, 1, 3]),
        ([0, 0, 0, 0], [1, 1, 1, 1], [3, 0, 7, 20]),
    ];
    for (start, step, extents) in cases {
        for size in [1, 2, 4, 8] {
            for lds in [[0, 0], [1, 1], [0, 1], [2, 0]] {
                let x = tensor(dtype(size), &dims);
                let ends: Vec<i64> = (0..4)
                    .map(|i| start[i] as i64 + extents[i] as i64 * step[i])
                    .map(|end| if end < 0 { i64::MIN } else { end })
                    .collect();
                let starts = start.map(|s| s as i64);
                let (starts, ends) = (ints(&starts), ints(&ends));
                let (axes, steps) = (ints(&[0, 1, 2, 3]), ints(&step));
                let inputs = [&x, &starts, &ends, &axes, &steps].map(Some);
                let want = reference(&layers::Slice, &inputs);
                assert_eq!(want.shape().dims(), extents);
                let (input, out) = (with_ld(&dims, lds[0]), with_ld(&extents, lds[1]));
                let op = SliceOp::new(size, input, &start, &step, out, 2).unwrap();
                check(&op, &[(&x, input)], out, &want);
            }
        }
    }
}

#[test]
fn slices_that_leave_the_input_are_refused() {
    let (x, y) = (with_ld(&[4, 5], 0), with_ld(&[2, 5], 0));
    assert!(SliceOp::new(4, x, &[2, 0], &[1, 1], y, 1).is_ok());
    assert!(SliceOp::new(4, x, &[3, 0], &[1, 1], y, 1).is_err());
    assert!(SliceOp::new(4, x, &[0, 0], &[-1, 1], y, 1).is_err());
    assert!(SliceOp::new(4, x, &[0, 0], &[i64::MAX, 1], y, 1).is_err());
    assert!(SliceOp::new(4, x, &[usize::MAX, 0], &[1, 1], y, 1).is_err());
    assert!(SliceOp::new(4, x, &[0], &[1], y, 1).is_err());
}

#[test]
fn borders_of_every_mode_and_crops() {
    let modes = [
        (layers::PadMode::Constant, PadFill::Constant([7, 1, 2, 3, 4, 5, 6, 8])),
        (layers::PadMode::Reflect, PadFill::Reflect),
        (layers::PadMode::Edge, PadFill::Edge),
        (layers::PadMode::Wrap, PadFill::Wrap),
    ];
    let cases: [(&[usize], &[i64], &[i64]); 5] = [
        (&[2, 4, 5, 19], &[0, 1, 2, 0], &[0, 2, 1, 0]),
        (&[2, 4, 5, 19], &[1, 0, 0, 3], &[0, 0, 0, 5]),
        (&[2, 4, 5, 6], &[0, -1, 2, -2], &[1, 2, -1, 1]),
        (&[6], &[2], &[-3]),
        (&[3, 3], &[-1, -2], &[0, 0]),
    ];
    for (mode, fill) in modes {
        for (dims, before, after) in cases {
            for size in [1, 2, 4, 8] {
                for lds in [[0, 0], [1, 1], [2, 1]] {
                    let x = tensor(dtype(size), dims);
                    let pads = ints(&[before, after].concat());
                    let PadFill::Constant(bytes) = modes[0].1 else { unreachable!() };
                    let value = bytes[..size].to_vec().into();
                    let value = Tensor::new(dtype(size), Shape::SCALAR, value).unwrap();
                    let layer = layers::Pad { mode };
                    let want = reference(&layer, &[Some(&x), Some(&pads), Some(&value)]);
                    let (input, out) = (with_ld(dims, lds[0]), with_ld(want.shape(), lds[1]));
                    let op = PadOp::new(size, input, before, fill, out, 2).unwrap();
                    check(&op, &[(&x, input)], out, &want);
                }
            }
        }
    }
}

#[test]
fn borders_without_a_source_are_refused() {
    let new = |before: &[i64], fill, out: &[usize]| {
        PadOp::new(4, with_ld(&[2, 3], 0), before, fill, with_ld(out, 0), 1)
    };
    let constant = PadFill::Constant([0; 8]);
    assert!(new(&[0, 0], PadFill::Reflect, &[2, 6]).is_err(), "reflects more than there is");
    assert!(new(&[0, -3], PadFill::Edge, &[2, 3]).is_err(), "the edge of nothing");
    assert!(new(&[0, -4], constant, &[2, 3]).is_err(), "crops more than there is");
    assert!(new(&[0, i64::MIN], constant, &[2, 3]).is_err());
    assert!(new(&[0], constant, &[2, 3]).is_err());
    assert!(new(&[1, 1], constant, &[4, 5]).is_ok());
}

#[test]
fn indices_choose_along_every_axis() {
    let indices: [(&[usize], &[i64]); 4] =
        [(&[], &[1]), (&[3], &[2, -1, 0]), (&[2, 2], &[0, 1, -2, 1]), (&[0], &[])];
    for (dims, values) in indices {
        let chosen = Tensor::from_slice(dims, values).unwrap();
        for axis in 0..3 {
            for size in [1, 2, 4, 8] {
                for lds in [[0, 0], [1, 1], [2, 1]] {
                    let x = tensor(dtype(size), &[4, 3, 18]);
                    let layer = layers::Gather { axis: axis as i64 };
                    let want = reference(&layer, &[Some(&x), Some(&chosen)]);
                    let input = with_ld(&[4, 3, 18], lds[0]);
                    let out = with_ld(want.shape(), lds[1]);
                    let index_view = View::dense(shape(dims));
                    let op = GatherOp::new(size, input, axis, index_view, out, 2).unwrap();
                    check(&op, &[(&x, input), (&chosen, index_view)], out, &want);
                }
            }
        }
    }
}

#[test]
fn indices_out_of_range_are_clamped() {
    let x = Tensor::from_slice(&[3], &[7i32, 8, 9]).unwrap();
    let indices = ints(&[3, -4, i64::MAX, i64::MIN]);
    let want = Tensor::from_slice(&[4], &[9i32, 7, 9, 7]).unwrap();
    let (vx, vi) = (with_ld(&[3], 0), with_ld(&[4], 0));
    let op = GatherOp::new(4, vx, 0, vi, vi, 1).unwrap();
    check(&op, &[(&x, vx), (&indices, vi)], vi, &want);
    assert!(GatherOp::new(4, with_ld(&[0], 0), 0, vi, vi, 1).is_err(), "nothing to choose from");
    assert!(GatherOp::new(4, vx, 1, vi, vi, 1).is_err());
}

#[test]
fn broadcast_and_tile_repeat_elements() {
    let cases: [(&[usize], &[usize], &[i64]); 4] = [
        (&[2, 1, 20], &[2, 3, 20], &[1, 3, 1]),
        (&[2, 3, 1], &[2, 3, 33], &[2, 1, 5]),
        (&[1], &[2, 2, 5], &[4]),
        (&[3, 4, 5], &[3, 4, 5], &[2, 3, 2]),
    ];
    for (dims, to, repeats) in cases {
        for size in [1, 2, 4, 8] {
            for lds in [[0, 0], [1, 1], [2, 1], [0, 2]] {
                let x = tensor(dtype(size), dims);
                let target = to.iter().map(|&d| d as i64).collect::<Vec<_>>();
                let want = reference(&layers::Expand, &[Some(&x), Some(&ints(&target))]);
                let (input, out) = (with_ld(dims, lds[0]), with_ld(to, lds[1]));
                let op = BroadcastOp::new(size, input, out, 2).unwrap();
                check(&op, &[(&x, input)], out, &want);

                let want = reference(&layers::Tile, &[Some(&x), Some(&ints(repeats))]);
                let out = with_ld(want.shape(), lds[1]);
                let op = TileOp::new(size, input, out, 2).unwrap();
                check(&op, &[(&x, input)], out, &want);
            }
        }
    }
    let (x, y) = (with_ld(&[2, 3], 0), with_ld(&[2, 4], 0));
    assert!(BroadcastOp::new(4, x, y, 1).is_err());
    assert!(TileOp::new(4, x, y, 1).is_err());
}

const DTYPES: [DType; 10] = [
    DType::F64,
    DType::F32,
    DType::F16,
    DType::Bf16,
    DType::I64,
    DType::I32,
    DType::I16,
    DType::I8,
    DType::U8,
    DType::Bool,
];

#[test]
fn every_cast_agrees_with_the_reference() {
    let floats = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        1.5,
        2.5,
        -2.5,
        127.4,
        128.0,
        255.9,
        256.0,
        -129.0,
        32768.0,
        65504.0,
        65519.9,
        65520.0,
        1e-8,
        6e-8,
        1e10,
        -1e10,
        9.3e18,
        -9.3e18,
        1e300,
        -1e300,
        1.000_000_059_604_645,
        2_049.000_000_1,
        257.0 / 256.0,
        1.003_906_250_000_001,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    let whole = [
        0,
        1,
        -1,
        2,
        127,
        128,
        -128,
        -129,
        255,
        256,
        65_535,
        2049,
        2051,
        16_777_217,
        -16_777_219,
        i64::from(i32::MAX),
        i64::from(i32::MIN),
        i64::MAX,
        i64::MIN,
        (1 << 53) + 1,
    ];
    let double = Tensor::from_slice(&[floats.len()], &floats).unwrap();
    let integer = ints(&whole);
    for from in DTYPES {
        let source = if from.is_float() { &double } else { &integer };
        let x = reference(&layers::Cast { to: from }, &[Some(source)]);
        for to in DTYPES {
            let want = reference(&layers::Cast { to }, &[Some(&x)]);
            for lds in [[0, 0], [1, 1], [2, 1]] {
                let (input, out) = (with_ld(x.shape(), lds[0]), with_ld(x.shape(), lds[1]));
                let op = CastOp::new(from, to, input, out, 2).unwrap();
                check(&op, &[(&x, input)], out, &want);
            }
        }
    }
}

#[test]
fn casts_go_row_by_row() {
    let x = Tensor::from_slice(&[3, 5], &[1.5f32; 15]).unwrap();
    let want = Tensor::from_slice(&[3, 5], &[1u8; 15]).unwrap();
    for (a, b) in [(0, 1), (1, 0), (1, 2)] {
        let (input, out) = (with_ld(&[3, 5], a), with_ld(&[3, 5], b));
        let op = CastOp::new(DType::F32, DType::U8, input, out, 1).unwrap();
        check(&op, &[(&x, input)], out, &want);
    }
    let (a, b) = (with_ld(&[3, 5], 0), with_ld(&[5, 3], 0));
    assert!(CastOp::new(DType::F32, DType::U8, a, b, 1).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn any_permutation_of_any_layout_is_right(
        dims in prop::collection::vec(1usize..12, 1..6),
        seed in any::<u64>(),
        size in prop::sample::select(vec![1usize, 2, 4, 8]),
        lds in (0usize..3, 0usize..3),
        threads in 1usize..4,
    ) {
        let mut perm: Vec<usize> = (0..dims.len()).collect();
        for i in (1..perm.len()).rev() {
            perm.swap(i, (seed >> (i * 8)) as usize % (i + 1));
        }
        check_permute(size, &dims, &perm, [lds.0, lds.1], threads);
    }

    #[test]
    fn any_slice_of_any_layout_is_right(
        axes in prop::collection::vec((1usize..9, 0usize..9, 1usize..9, -3i64..4), 1..5),
        lds in (0usize..3, 0usize..3),
    ) {
        // Extent, start, wanted length, step: cut to what fits.
        let dims: Vec<usize> = axes.iter().map(|a| a.0).collect();
        let step: Vec<i64> = axes.iter().map(|a| if a.3 == 0 { 1 } else { a.3 }).collect();
        let start: Vec<usize> = axes.iter().map(|a| a.1 % a.0).collect();
        let extents: Vec<usize> = (0..dims.len())
            .map(|i| {
                let room = if step[i] > 0 { dims[i] - 1 - start[i] } else { start[i] };
                axes[i].2.min(room / step[i].unsigned_abs() as usize + 1)
            })
            .collect();
        let x = tensor(DType::I32, &dims);
        let values: &[i32] = bytemuck::cast_slice(x.bytes());
        let (strides, out_strides) = (x.shape().strides(), shape(&extents).strides());
        let want: Vec<i32> = (0..extents.iter().product())
            .map(|at: usize| {
                let from = |i: usize| {
                    let cell = (at / out_strides[i] % extents[i]) as i64;
                    (start[i] as i64 + cell * step[i]) * strides[i] as i64
                };
                values[(0..dims.len()).map(from).sum::<i64>() as usize]
            })
            .collect();
        let want = Tensor::from_slice(&extents, &want).unwrap();
        let (input, out) = (with_ld(&dims, lds.0), with_ld(&extents, lds.1));
        let op = SliceOp::new(4, input, &start, &step, out, 1).unwrap();
        check(&op, &[(&x, input)], out, &want);
    }
}

#[test]
fn blocks_of_pixels_equal_the_reference() {
    for block in [Hw::ONE, Hw::square(2), Hw { h: 3, w: 2 }] {
        for (depth, size) in [(1, 1), (3, 2), (16, 4), (17, 8)] {
            for kinds in 0..9 {
                let deep = with_ld(&[2, 3, 2, depth * block.area()], kinds / 3);
                let wide = with_ld(&[2, 3 * block.h, 2 * block.w, depth], kinds % 3);
                let x = tensor(dtype(size), deep.shape.dims());
                let y = reference(&layers::DepthToSpace { block }, &[Some(&x)]);
                let op = DepthToSpaceOp::new(size, deep, block, wide, 1 + kinds % 2).unwrap();
                check(&op, &[(&x, deep)], wide, &y);
                let op = SpaceToDepthOp::new(size, wide, block, deep, 1 + kinds % 2).unwrap();
                check(&op, &[(&y, wide)], deep, &x);
            }
        }
    }
}

#[test]
fn views_that_are_no_blocks_of_each_other_are_refused() {
    let deep = with_ld(&[1, 2, 2, 8], 0);
    for (dims, block) in [
        (&[1, 4, 4, 3][..], Hw::square(2)),
        (&[1, 4, 2, 2], Hw::square(2)),
        (&[2, 4, 4, 2], Hw::square(2)),
        (&[16, 4], Hw::square(2)),
        (&[1, 0, 0, 2], Hw { h: 0, w: 0 }),
    ] {
        assert!(DepthToSpaceOp::new(4, deep, block, with_ld(dims, 0), 1).is_err(), "{dims:?}");
        assert!(SpaceToDepthOp::new(4, with_ld(dims, 0), block, deep, 1).is_err(), "{dims:?}");
    }
}
