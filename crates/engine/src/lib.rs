//! The engine to embed: load a network, plan it for this CPU, run it.
//!
//! ```no_run
//! use depthwise_engine::Model;
//!
//! let model = Model::open("mobilenet.onnx")?;
//! let mut session = model.session()?;
//! session.input_mut::<f32>(0)?.fill(0.5);
//! session.run();
//! let scores = session.output::<f32>(0)?;
//! println!("{scores:?}");
//! # Ok::<(), depthwise_engine::EngineError>(())
//! ```
//!
//! | stage | type | what it is |
//! |---|---|---|
//! | graph | [`Graph`] | what the network means |
//! | model | [`Model`] | the graph after [`passes`], packed weights, plans made so far |
//! | plan | [`Plan`] | kernels, order and memory for inputs of given shapes; immutable, shared |
//! | session | [`Session`] | a plan with one block of memory; [`Session::run`] allocates nothing |
#![forbid(unsafe_code)]

mod error;
mod model;
mod options;
pub mod passes;
mod plan;
mod quantization;
mod session;
mod steps;

pub use depthwise_formats as formats;
pub use depthwise_kernels::{Cpu, Isa, Par};
pub use depthwise_layers as layers;
pub use depthwise_layers::ir::Graph;
pub use depthwise_tensor::{self as tensor, Activation, DType, Shape, Tensor};
pub use error::{EngineError, UnsupportedNode};
pub use model::Model;
pub use options::{BytePictures, DenseWeights, Ends, Fusion, Options, Precision};
pub use plan::{Explain, FusedInfo, Plan, StepInfo};
pub use quantization::Quantization;
pub use session::{Profile, Session, StepTime};
