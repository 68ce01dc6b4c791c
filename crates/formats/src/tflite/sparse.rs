//! Sparse constants: levels of a tree whose leaves are the stored elements.
//!
//! Level `i` of the tree runs along one axis (or, past the rank, along the inside of blocks of the
//! axis that `block_map` names). A dense level has a child for every position, a sparse one only
//! for those it lists; each leaf is the next stored element. (Kjolstad et al. 2017, the format of
//! TACO.)

use super::wire::{Level, Sparsity};
use depthwise_tensor::{MAX_RANK, Shape};

/// Most levels: every axis may be cut into blocks.
const MAX_LEVELS: usize = 2 * MAX_RANK;

/// What a level means for the position in the dense tensor.
struct Axis<'s, 'a> {
    level: &'s Level<'a>,
    /// Positions along it.
    extent: usize,
    /// Elements of the dense tensor from one position to the next.
    stride: usize,
}

/// The dense elements (of `size` bytes) of a tensor of these extents, zeros where none is stored.
pub(super) fn densify(
    sparsity: &Sparsity<'_>,
    shape: &Shape,
    size: usize,
    stored: &[u8],
) -> Result<Vec<u8>, String> {
    let axes = axes(sparsity, shape)?;
    let mut dense = vec![0; shape.elements() * size];
    if shape.elements() == 0 {
        return Ok(dense);
    }
    let mut leaves = stored.chunks_exact(size);
    // Every node of the tree stands for a part of the dense tensor.
    let nodes = shape.elements().saturating_mul(axes.len() + 1);
    let mut walk = Walk { axes: &axes, size, leaves: &mut leaves, dense: &mut dense, nodes };
    walk.down(0, 0, 0)?;
    match leaves.len() {
        0 => Ok(dense),
        left => Err(format!("{left} of its sparse elements have no place")),
    }
}

/// The levels in the order in which they are stored.
fn axes<'s, 'a>(sparsity: &'s Sparsity<'a>, shape: &Shape) -> Result<Vec<Axis<'s, 'a>>, String> {
    let rank = shape.rank();
    let blocks: Vec<usize> = sparsity
        .block_map
        .iter()
        .take(MAX_LEVELS)
        .map(|axis| usize::try_from(axis).unwrap_or(usize::MAX))
        .collect();
    let order = &sparsity.traversal_order;
    let count = rank + blocks.len();
    if sparsity.levels.len() != count || order.len() != count || count > MAX_LEVELS {
        return Err(format!(
            "{} sparse levels in an order of {} for {count} axes and blocks",
            sparsity.levels.len(),
            order.len()
        ));
    }
    // Extents inside the blocks of each axis: 1 where it has none.
    let mut inner = vec![1usize; rank];
    let mut place = vec![None; count];
    for (at, axis) in order.iter().enumerate() {
        let slot = usize::try_from(axis).ok().and_then(|axis| place.get_mut(axis));
        match slot {
            Some(slot @ None) => *slot = Some(at),
            _ => return Err(format!("{axis} does not belong in the order of sparse levels")),
        }
    }
    let level = |axis: usize| place[axis].map(|at| &sparsity.levels[at]);
    for (i, &axis) in blocks.iter().enumerate() {
        match (level(rank + i), inner.get_mut(axis)) {
            (Some(Level::Dense(n)), Some(slot @ 1)) if *n > 0 => *slot = *n as usize,
            _ => return Err(format!("block {i} of a sparse tensor is not dense or fits no axis")),
        }
    }
    let strides = shape.strides();
    order
        .iter()
        .zip(&sparsity.levels)
        .map(|(axis, level)| {
            let axis = axis as usize;
            let (extent, stride) = if axis < rank {
                if !shape[axis].is_multiple_of(inner[axis]) {
                    return Err(format!("blocks of {} do not divide {shape}", inner[axis]));
                }
                (shape[axis] / inner[axis], strides[axis] * inner[axis])
            } else {
                let of = blocks[axis - rank];
                (inner[of], strides[of])
            };
            match level {
                Level::Dense(n) if usize::try_from(*n) != Ok(extent) => {
                    Err(format!("a sparse level of {n} for {extent} positions"))
                }
                _ => Ok(Axis { level, extent, stride }),
            }
        })
        .collect()
}

struct Walk<'w, 's, 'a> {
    axes: &'w [Axis<'s, 'a>],
    size: usize,
    leaves: &'w mut std::slice::ChunksExact<'a, u8>,
    dense: &'w mut [u8],
    /// Nodes that may still be visited.
    nodes: usize,
}

impl Walk<'_, '_, '_> {
    /// Fills in what lies below a node: path number `path` of its level, at `position` in the
    /// dense tensor. As deep as there are levels.
    fn down(&mut self, depth: usize, path: usize, position: usize) -> Result<(), String> {
        self.nodes = self.nodes.checked_sub(1).ok_or("its sparse segments overlap")?;
        let Some(axis) = self.axes.get(depth) else {
            let Some(leaf) = self.leaves.next() else {
                return Err("it has fewer sparse elements than places for them".into());
            };
            let start = position * self.size;
            self.dense[start..start + self.size].copy_from_slice(leaf);
            return Ok(());
        };
        let (extent, stride) = (axis.extent, axis.stride);
        match axis.level {
            Level::Dense(_) => {
                for i in 0..extent {
                    self.down(depth + 1, path * extent + i, position + i * stride)?;
                }
            }
            Level::Sparse { segments, indices } => {
                let (Some(first), Some(end)) = (segments.get(path), segments.get(path + 1)) else {
                    return Err(format!("its sparse level {depth} lacks segment {path}"));
                };
                for at in first..end {
                    match indices.get(at) {
                        Some(i) if i < extent => {
                            self.down(depth + 1, at, position + i * stride)?;
                        }
                        _ => return Err(format!("index {at} of its sparse level {depth} is bad")),
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tflite::wire::{Field, Indices, Numbers, Record, Table, encode};

    /// The bytes of a file whose root has these vectors.
    fn file(vectors: &[&[i32]]) -> Vec<u8> {
        let record = vectors
            .iter()
            .enumerate()
            .fold(Record::new(), |record, (i, v)| record.with(i as u16, Field::I32s(v.to_vec())));
        encode(b"TEST", &record)
    }

    fn vector(file: &[u8], i: usize) -> Numbers<'_, i32> {
        Table::root(file, b"TEST").unwrap().numbers(i).unwrap()
    }

    fn sparse(file: &[u8], i: usize) -> Level<'_> {
        let [segments, indices] = [i, i + 1].map(|i| Indices::I32(vector(file, i)));
        Level::Sparse { segments, indices }
    }

    #[test]
    fn rows_of_listed_columns_are_filled_in() {
        let file = file(&[&[0, 1], &[0, 2, 2, 3], &[0, 3, 1]]);
        let sparsity = Sparsity {
            traversal_order: vector(&file, 0),
            block_map: Numbers::default(),
            levels: vec![Level::Dense(3), sparse(&file, 1)],
        };
        let shape = Shape::new(&[3, 4]).unwrap();
        let dense = densify(&sparsity, &shape, 1, &[1, 2, 3]).unwrap();
        assert_eq!(dense, [1, 0, 0, 2, 0, 0, 0, 0, 0, 3, 0, 0]);
        assert!(densify(&sparsity, &shape, 1, &[1, 2]).unwrap_err().contains("fewer"));
        assert!(densify(&sparsity, &shape, 1, &[1, 2, 3, 4]).unwrap_err().contains("no place"));
        let narrow = Shape::new(&[3, 3]).unwrap();
        assert!(densify(&sparsity, &narrow, 1, &[1, 2, 3]).unwrap_err().contains("bad"));
        let low = Shape::new(&[4, 4]).unwrap();
        assert!(densify(&sparsity, &low, 1, &[1, 2, 3]).is_err());
    }

    #[test]
    fn blocks_are_filled_in() {
        // 4x4 in blocks of 2x2, of which the first and the last are stored.
        let file = file(&[&[0, 1, 2, 3], &[0, 1], &[0, 1, 2], &[0, 1]]);
        let sparsity = Sparsity {
            traversal_order: vector(&file, 0),
            block_map: vector(&file, 1),
            levels: vec![Level::Dense(2), sparse(&file, 2), Level::Dense(2), Level::Dense(2)],
        };
        let shape = Shape::new(&[4, 4]).unwrap();
        let dense = densify(&sparsity, &shape, 1, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        assert_eq!(dense, [1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 5, 6, 0, 0, 7, 8]);
    }
}
