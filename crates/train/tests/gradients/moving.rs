//! Layers that only move elements.

use super::{ANY, check, check_op, ints};
use depthwise_layers::{
    Concat, DepthToSpace, Expand, Flatten, Gather, Pad, PadMode, Reshape, Slice, SpaceToDepth,
    Split, SplitParts, Squeeze, Tile, Transpose, Unsqueeze,
};
use depthwise_tensor::{Hw, Tensor};

#[test]
fn shapes_and_orders() {
    check_op("transpose", Transpose { perm: vec![2, 0, 1] }, &[(&[2, 3, 4], ANY)]);
    check_op("flatten", Flatten { axis: 1 }, &[(&[2, 3, 4], ANY)]);
    check_op("squeeze", Squeeze { axes: vec![1] }, &[(&[2, 1, 4], ANY)]);
    check_op("unsqueeze", Unsqueeze { axes: vec![1] }, &[(&[2, 4], ANY)]);
    check("reshape", &[(&[2, 6], ANY)], |g, x| {
        let dims = ints(g, &[3, -1]);
        g.add("y", Reshape { allow_zero: false }, &[x[0], dims])
    });
    let block = Hw { h: 2, w: 3 };
    check_op("depth to space", DepthToSpace { block }, &[(&[2, 2, 1, 12], ANY)]);
    check_op("space to depth", SpaceToDepth { block }, &[(&[2, 4, 3, 2], ANY)]);
}

#[test]
fn repetitions() {
    check("expand", &[(&[2, 1, 3], ANY)], |g, x| {
        let dims = ints(g, &[2, 2, 4, 3]);
        g.add("y", Expand, &[x[0], dims])
    });
    check("tile", &[(&[2, 3, 2], ANY)], |g, x| {
        let repeats = ints(g, &[3, 1, 2]);
        g.add("y", Tile, &[x[0], repeats])
    });
}

#[test]
fn parts() {
    let operands: [(&[usize], _); 3] = [(&[2, 3], ANY), (&[2, 1], ANY), (&[2, 4], ANY)];
    check_op("concat", Concat { axis: 1 }, &operands);
    check("split", &[(&[2, 7], ANY)], |g, x| {
        let split = Split { axis: 1, parts: SplitParts::Sizes(vec![3, 1, 3]) };
        // The middle part is not used.
        let parts = g.add_node("split", split, &[Some(x[0])], &["a", "b", "c"]);
        g.add("y", Concat { axis: 0 }, &[parts[2], parts[0]])
    });
    let slices: [[&[i64]; 4]; 4] = [
        [&[1], &[3], &[1], &[1]],
        [&[0, 1], &[4, 5], &[0, 2], &[2, 3]],
        [&[-1], &[-6], &[2], &[-2]],
        [&[0], &[100], &[1], &[1]],
    ];
    for lists in slices {
        check("slice", &[(&[4, 3, 5], ANY)], |g, x| {
            let lists = lists.map(|list| ints(g, list));
            g.add("y", Slice, &[x[0], lists[0], lists[1], lists[2], lists[3]])
        });
    }
}

#[test]
fn borders() {
    for mode in [PadMode::Constant, PadMode::Reflect, PadMode::Edge, PadMode::Wrap] {
        check(&format!("{mode:?}"), &[(&[3, 5], ANY)], |g, x| {
            let pads = ints(g, &[1, 2, 1, 3]);
            g.add("y", Pad { mode }, &[x[0], pads])
        });
    }
    check("crop", &[(&[4, 5], ANY)], |g, x| {
        let pads = ints(g, &[-1, 2, 0, -2]);
        g.add("y", Pad { mode: PadMode::Constant }, &[x[0], pads])
    });
}

#[test]
fn embeddings() {
    check("rows", &[(&[5, 3], ANY)], |g, x| {
        let indices = Tensor::from_slice(&[2, 3], &[4i64, 0, -1, 2, 4, 4]).unwrap();
        let indices = g.add_const("indices", indices);
        g.add("y", Gather { axis: 0 }, &[x[0], indices])
    });
    check("columns", &[(&[2, 4, 3], ANY)], |g, x| {
        let indices = ints(g, &[3, 1, 1]);
        g.add("y", Gather { axis: 1 }, &[x[0], indices])
    });
}
