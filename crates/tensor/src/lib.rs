//! Shapes, dtypes, aligned memory, and the words that every crate of `depthwise` shares.
//!
//! Nothing here computes: no SIMD, no threads, no I/O.
//!
//! | item | what it is |
//! |---|---|
//! | [`DType`], [`Element`] | the element types of tensors |
//! | [`Shape`], [`Nhwc`], [`Hw`], [`Pad2d`] | extents, always in elements |
//! | [`Tensor`] | an immutable, dense, row-major array that shares its bytes |
//! | [`Rows`] | how an activation lies in memory: rows of `c` channels, `ld` elements apart |
//! | [`ConvGeometry`], [`PoolGeometry`] | resolved integers of a sliding window |
//! | [`Activation`] | the closed list of pointwise functions with parameters |
//! | [`AlignedBuf`], [`Arena`] | 64-byte aligned memory |

mod activation;
pub mod arena;
pub mod buf;
mod dtype;
mod geometry;
mod rows;
mod shape;
mod tensor;

pub use activation::{Activation, erf};
pub use arena::Arena;
pub use buf::{AlignedBuf, Slab};
pub use dtype::{DType, Element};
pub use geometry::{ConvGeometry, PoolGeometry, WindowAxis};
pub use rows::{Rows, padded_ld};
pub use shape::{Hw, MAX_RANK, Nhwc, Pad2d, Shape, ShapeError, broadcast};
pub use tensor::{Tensor, TensorError};
