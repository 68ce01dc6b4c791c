//! Reshapes of reordered tensors, where extents are known.
//!
//! A reshape joins neighbouring axes and splits axes. Input and output axes fall into blocks of
//! equal products; within a block, elements keep their order. So if the axes of each block lie
//! side by side in the source too, the source can be reshaped block by block, and only whole
//! blocks change places.

use super::{Moved, add_extents, put};
use crate::passes::Rewriter;
use depthwise_layers::ir::NodeId;
use depthwise_layers::{Op, Reshape};

/// Reshapes the source instead, if that leaves no Transpose, one that another Transpose follows, or
/// one of no higher rank.
pub(super) fn absorb(rw: &mut Rewriter<'_>, id: NodeId, x: &Moved) {
    let node = rw.node(id);
    let output = node.outputs[0];
    let Some(input) = rw.input(id, 0).and_then(|x| rw.dims(x)) else { return };
    let Some(to) = rw.dims(output) else { return };
    let Some((dims, perm)) = reordered(&input, &to, &x.perm) else { return };
    let follows = |reader: &NodeId| matches!(rw.node(*reader).op, Op::Transpose(_));
    let followed = rw.readers(output).iter().any(follows);
    let good = perm.is_sorted() || followed || perm.len() <= x.perm.len();
    if !good || !rw.allow() {
        return;
    }
    let name = format!("{}.shape", rw.node(id).name);
    let shape = add_extents(rw, &name, &dims);
    put(rw, id, Reshape { allow_zero: true }, &[Some(x.source), Some(shape)], &[perm]);
}

/// Extents to which the source is reshaped, and how the result is then transposed to get the
/// extents `to`. `input` are the extents before, in the order that `perm` has put them in.
fn reordered(input: &[usize], to: &[usize], perm: &[usize]) -> Option<(Vec<usize>, Vec<usize>)> {
    if input.contains(&0) || to.contains(&0) || input.len() != perm.len() {
        return None;
    }
    let mut blocks = blocks(input, to)?;
    // Axes of extent 1 lie anywhere: only the others count as neighbours in the source.
    let mut order: Vec<usize> = (0..input.len()).filter(|&axis| input[axis] != 1).collect();
    order.sort_by_key(|&axis| perm[axis]);
    let rank_in_source = |axis: usize| order.iter().position(|&a| a == axis);
    for block in &blocks {
        for pair in block.from.windows(2) {
            if rank_in_source(pair[0])? + 1 != rank_in_source(pair[1])? {
                return None;
            }
        }
    }
    blocks.sort_by_key(|block| block.from.first().and_then(|&axis| rank_in_source(axis)));
    let mut axes: Vec<usize> = blocks.iter().flat_map(|block| block.to.iter().copied()).collect();
    if axes.is_sorted() {
        return Some((to.to_vec(), (0..to.len()).collect()));
    }
    // Axes of extent 1 follow the axis that they follow in the result.
    for one in (0..to.len()).filter(|&axis| to[axis] == 1) {
        let place = match one.checked_sub(1) {
            None => 0,
            Some(before) => axes.iter().position(|&axis| axis == before)? + 1,
        };
        axes.insert(place, one);
    }
    let dims = axes.iter().map(|&axis| to[axis]).collect();
    Some((dims, super::inverse(&axes)))
}

/// Axes of the input and of the output, none of extent 1, that hold the same elements.
struct Block {
    from: Vec<usize>,
    to: Vec<usize>,
}

fn blocks(input: &[usize], output: &[usize]) -> Option<Vec<Block>> {
    let mut blocks = Vec::new();
    let wide = |dims: &[usize]| -> Vec<usize> {
        (0..dims.len()).filter(|&axis| dims[axis] != 1).collect()
    };
    let (from, to) = (wide(input), wide(output));
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        let (first_i, first_j) = (i, j);
        let (mut a, mut b) = (input[*from.get(i)?], output[*to.get(j)?]);
        (i, j) = (i + 1, j + 1);
        while a != b {
            if a < b {
                a *= input[*from.get(i)?];
                i += 1;
            } else {
                b *= output[*to.get(j)?];
                j += 1;
            }
        }
        blocks.push(Block { from: from[first_i..i].to_vec(), to: to[first_j..j].to_vec() });
    }
    Some(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NCHW: [usize; 4] = [0, 3, 1, 2];

    #[test]
    fn flattening_the_picture_of_one_pixel_needs_no_transpose() {
        assert_eq!(reordered(&[2, 5, 1, 1], &[2, 5], &NCHW), Some((vec![2, 5], vec![0, 1])));
    }

    #[test]
    fn joined_rows_and_columns_stay_joined() {
        // N,C,H,W -> N,C,HW: the source N,H,W,C becomes N,HW,C.
        let got = reordered(&[2, 5, 3, 4], &[2, 5, 12], &NCHW);
        assert_eq!(got, Some((vec![2, 12, 5], vec![0, 2, 1])));
    }

    #[test]
    fn joined_channels_and_rows_are_not_neighbours_in_the_source() {
        assert_eq!(reordered(&[2, 5, 3, 4], &[2, 60], &NCHW), None);
        assert_eq!(reordered(&[2, 5, 3, 4], &[2, 15, 4], &NCHW), None);
    }

    #[test]
    fn split_channels_stay_together() {
        let got = reordered(&[1, 6, 3, 4], &[1, 2, 3, 3, 4], &NCHW);
        assert_eq!(got, Some((vec![1, 3, 4, 2, 3], vec![0, 3, 4, 1, 2])));
    }
}
