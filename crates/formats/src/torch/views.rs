//! From strided windows to dense tensors.

use super::TorchError;
use super::container::Container;
use super::pickle::{Value, View};
use crate::Weights;
use bytes::Bytes;
use depthwise_tensor::{AlignedBuf, DType, Shape, Tensor, TensorError};

/// Nesting of dictionaries and lists that is followed.
const MAX_DEPTH: usize = 16;

/// Tensors may outgrow the file (windows overlap, and strides may be zero) by this factor, and by
/// this much in any case.
const GROWTH: usize = 4;
const ALLOWANCE_BYTES: usize = 1 << 20;

/// All tensors of the object, each under the path of keys that leads to it.
pub(super) fn weights(container: &Container<'_>, file_len: usize) -> Result<Weights, TorchError> {
    let limit_bytes = file_len.saturating_mul(GROWTH).saturating_add(ALLOWANCE_BYTES);
    let mut collector = Collector {
        container,
        done: vec![None; container.pickle.heap.views.len()],
        weights: Weights::default(),
        entries_left: file_len,
        limit_bytes,
        bytes_left: limit_bytes,
    };
    match container.pickle.root {
        root @ (Value::Dict(_) | Value::List(_) | Value::Tuple(_)) => collector.add("", root, 0)?,
        _ => return Err(TorchError::Container("what it holds is not a dictionary".into())),
    }
    Ok(collector.weights)
}

struct Collector<'c, 'a> {
    container: &'c Container<'a>,
    /// Finished tensors by view, so that a tensor with two names is made once.
    done: Vec<Option<Tensor>>,
    weights: Weights,
    /// Entries that may still be visited: shared parts could be reached in exponentially many ways.
    entries_left: usize,
    limit_bytes: usize,
    bytes_left: usize,
}

impl Collector<'_, '_> {
    fn add(&mut self, name: &str, value: Value<'_>, depth: usize) -> Result<(), TorchError> {
        let heap = &self.container.pickle.heap;
        if depth > MAX_DEPTH || self.entries_left == 0 {
            return Err(view_error(name, "nested too deeply, or too often".into()));
        }
        self.entries_left -= 1;
        self.charge(name, name.len())?;
        match value {
            Value::Tensor(id) => {
                let tensor = self.tensor(name, id)?;
                self.weights.tensors.insert(name.to_owned(), tensor);
            }
            Value::Dict(id) => {
                for &(key, item) in &heap.dicts[id] {
                    let key = match key {
                        Value::Str(key) => key.to_owned(),
                        Value::Int(key) => key.to_string(),
                        _ => return Err(view_error(name, format!("a key is {key:?}"))),
                    };
                    self.add(&join(name, &key), item, depth + 1)?;
                }
            }
            Value::List(id) | Value::Tuple(id) => {
                let lists =
                    if matches!(value, Value::List(_)) { &heap.lists } else { &heap.tuples };
                for (index, &item) in lists[id].iter().enumerate() {
                    self.add(&join(name, &index.to_string()), item, depth + 1)?;
                }
            }
            other => {
                if let Some(text) = text(other) {
                    self.charge(name, text.len())?;
                    self.weights.metadata.insert(name.to_owned(), text);
                }
            }
        }
        Ok(())
    }

    fn tensor(&mut self, name: &str, id: usize) -> Result<Tensor, TorchError> {
        if let Some(tensor) = &self.done[id] {
            return Ok(tensor.clone());
        }
        let heap = &self.container.pickle.heap;
        let view = &heap.views[id];
        let storage = heap.storages[view.storage];
        let whole = self.container.storages.get(storage.key).ok_or_else(|| {
            TorchError::Storage { key: storage.key.to_owned(), reason: "it is missing".into() }
        })?;
        let size_bytes = storage.dtype.size_bytes();
        let (first, len) = storage.part.unwrap_or((0, storage.len));
        let end = first.checked_add(len).filter(|&end| end <= storage.len);
        let Some(end) = end else {
            let reason = format!("elements {first} and {len} more of {}", storage.len);
            return Err(TorchError::Storage { key: storage.key.to_owned(), reason });
        };
        let elements = whole.slice(first * size_bytes..end * size_bytes);

        let fail = |source| TorchError::Tensor { tensor: name.to_owned(), source };
        let shape = Shape::new(&view.sizes).map_err(|error| fail(error.into()))?;
        self.charge(name, shape.elements() * size_bytes)?;
        check_reach(view, len).map_err(|reason| view_error(name, reason))?;
        let tensor = dense(view, shape, storage.dtype, elements).map_err(fail)?;
        self.done[id] = Some(tensor.clone());
        Ok(tensor)
    }

    /// Takes bytes that are about to be allocated off the budget.
    fn charge(&mut self, name: &str, len_bytes: usize) -> Result<(), TorchError> {
        let left = self.bytes_left.checked_sub(len_bytes);
        let limit_bytes = self.limit_bytes;
        let tensor = || name.chars().take(80).collect();
        self.bytes_left =
            left.ok_or_else(|| TorchError::TooLarge { tensor: tensor(), limit_bytes })?;
        Ok(())
    }
}

/// Every element of a view must lie within the `len` elements of its storage.
fn check_reach(view: &View, len: usize) -> Result<(), String> {
    if view.sizes.contains(&0) {
        return Ok(());
    }
    let steps = view.sizes.iter().zip(&view.strides);
    let last = steps.into_iter().try_fold(view.offset, |at, (&size, &stride)| {
        (size - 1).checked_mul(stride)?.checked_add(at)
    });
    match last {
        Some(last) if last < len => Ok(()),
        _ => Err(format!(
            "sizes {:?} with strides {:?} from element {} reach past a storage of {len}",
            view.sizes, view.strides, view.offset
        )),
    }
}

/// The elements of a view that has been checked, in row-major order.
fn dense(view: &View, shape: Shape, dtype: DType, storage: Bytes) -> Result<Tensor, TensorError> {
    let size_bytes = dtype.size_bytes();
    let len_bytes = shape.elements() * size_bytes;
    if len_bytes == 0 {
        return Tensor::new(dtype, shape, Bytes::new());
    }
    let start = view.offset * size_bytes;
    let row_major = shape.strides();
    let mut axes = view.sizes.iter().zip(&view.strides).zip(row_major);
    if axes.all(|((&size, &stride), want)| size == 1 || stride == want) {
        return Tensor::new(dtype, shape, storage.slice(start..start + len_bytes));
    }
    let mut buf = AlignedBuf::zeroed(len_bytes)?;
    match size_bytes {
        1 => gather::<1>(view, &storage, buf.bytes_mut()),
        2 => gather::<2>(view, &storage, buf.bytes_mut()),
        4 => gather::<4>(view, &storage, buf.bytes_mut()),
        _ => gather::<8>(view, &storage, buf.bytes_mut()),
    }
    Tensor::new(dtype, shape, buf.into_bytes())
}

/// Copies elements of `N` bytes, one index of the view after the other. The view has elements.
fn gather<const N: usize>(view: &View, storage: &[u8], out: &mut [u8]) {
    let storage = storage.as_chunks::<N>().0;
    let steps = view.sizes.iter().copied().zip(view.strides.iter().copied());
    let mut axes: Vec<(usize, usize)> = steps.filter(|&(size, _)| size > 1).collect();
    let (inner_len, inner_step) = axes.pop().unwrap_or((1, 0));
    let mut index = vec![0; axes.len()];
    let mut at = view.offset;
    for row in out.as_chunks_mut::<N>().0.chunks_exact_mut(inner_len) {
        for (i, element) in row.iter_mut().enumerate() {
            *element = storage[at + i * inner_step];
        }
        // The next index of the outer axes, last axis fastest.
        for (position, &(size, step)) in index.iter_mut().zip(&axes).rev() {
            *position += 1;
            at += step;
            if *position < size {
                break;
            }
            at -= step * size;
            *position = 0;
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn text(value: Value<'_>) -> Option<String> {
    match value {
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Int(n) => Some(n.to_string()),
        Value::Float(x) => Some(x.to_string()),
        Value::Str(text) => Some(text.to_owned()),
        _ => None,
    }
}

fn view_error(tensor: &str, reason: String) -> TorchError {
    TorchError::View { tensor: tensor.to_owned(), reason }
}
