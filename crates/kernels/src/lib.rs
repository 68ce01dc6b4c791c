//! Hand-vectorized NHWC kernels, chosen at run time.
//!
//! Every intrinsic and nearly all `unsafe` of the project lives here. One folder per kernel
//! family, one file per ISA, the same file names everywhere:
//!
//! | file | what stands in it |
//! |---|---|
//! | `mod.rs` | the safe driver, the operator, and the list of kernels |
//! | `pack.rs` | weights put into the order that the kernels read |
//! | `generic.rs` | bodies that work at any vector width |
//! | `scalar.rs avx2.rs avx512.rs neon.rs` | the entries for one ISA |
//!
//! Each family exports `KERNELS`, its entries from best to last. Dispatch, tests, benches and
//! tables all walk that list.
//!
//! A family's operator is built once from shapes, packed weights and a [`Cpu`]; it then knows its
//! kernel, its tile and its split over threads. A [`Program`] binds operators to places in an
//! arena, proves that no two accesses conflict, and runs them.

pub mod isa;
pub mod operator;
pub mod par;
pub mod program;
pub mod quant;
pub mod roofline;

mod act;
mod arch;
mod gather;
mod spatial;

pub mod batch_norm;
pub mod conv2d;
pub mod conv2d_bwd;
pub mod conv2d_qs8;
pub mod dense_f16;
pub mod detections;
pub mod dwconv_bwd;
pub mod dwconv_f32;
pub mod dwconv_qs8;
pub mod eltwise;
pub mod eltwise_qs8;
pub mod fused;
pub mod gemm_bf16;
pub mod gemm_f32;
pub mod gemm_qs8;
pub mod grid_sample;
pub mod indexed;
pub mod layout;
pub mod pool;
pub mod pool_qs8;
pub mod reduce;
pub mod resize;
pub mod scatter;
pub mod softmax;
pub mod stem;

pub use isa::{Cpu, Isa};
pub use operator::{Io, KernelError, KernelInfo, Operator, run, run_f32};
pub use par::Par;
pub use program::{BindError, Program, RunState, Source};
