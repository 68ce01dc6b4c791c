//! What every layer *is*: attributes, shape inference, cost, and a naive reference; and the graph
//! that layers form.
//!
//! Nothing here is fast and nothing here runs in production: [`Layer::reference`] is the truth
//! that kernels, passes and importers are tested against.
//!
//! Pictures are NHWC. A layout change is an explicit [`Transpose`].

#![forbid(unsafe_code)]

mod check;
pub mod ir;
mod layer;
mod op;
mod reference;
mod window;

mod activate;
mod activate_grad;
mod batch_norm;
mod batch_norm_train;
mod binary;
mod cast;
mod concat;
mod constant_of_shape;
mod conv2d;
mod conv2d_grad;
mod conv_transpose2d;
mod dense;
mod depth_to_space;
mod depthwise_conv2d;
mod depthwise_conv2d_grad;
mod detections;
mod dropout;
mod expand;
mod gather;
mod gather_grad;
mod gather_places;
mod grid_sample;
mod matmul;
mod max_positions;
mod pad;
mod padding;
mod pool2d;
mod pool2d_grad;
mod prelu;
mod quantize;
mod quantized;
mod range;
mod reduce;
mod reshape;
mod resize;
mod resize_grad;
mod scatter;
mod select;
mod separable_conv2d;
mod shape_of;
mod slice;
mod softmax;
mod split;
mod tile;
mod top_k;
mod transpose;
mod unary;

pub use activate::Activate;
pub use activate_grad::ActivateGrad;
pub use batch_norm::BatchNorm;
pub use batch_norm_train::{BatchNormGrad, BatchNormTrain};
pub use binary::{Binary, BinaryFn};
pub use cast::Cast;
pub use concat::Concat;
pub use constant_of_shape::ConstantOfShape;
pub use conv_transpose2d::ConvTranspose2d;
pub use conv2d::Conv2d;
pub use conv2d_grad::{Conv2dInputGrad, Conv2dWeightGrad};
pub use dense::Dense;
pub use depth_to_space::{DepthToSpace, SpaceToDepth};
pub use depthwise_conv2d::DepthwiseConv2d;
pub use depthwise_conv2d_grad::{DepthwiseInputGrad, DepthwiseWeightGrad};
pub use detections::Detections;
pub use dropout::Dropout;
pub use expand::Expand;
pub use gather::Gather;
pub use gather_grad::GatherGrad;
pub use gather_places::{GatherElements, GatherNd};
pub use grid_sample::{GridSample, Outside, SampleMode};
pub use layer::{Arg, Cost, Layer, LayerError, TensorType};
pub use matmul::MatMul;
pub use max_positions::MaxPositions;
pub use op::Op;
pub use pad::{Pad, PadMode};
pub use padding::Padding;
pub use pool2d::{Pool2d, PoolKind};
pub use pool2d_grad::Pool2dGrad;
pub use prelu::PRelu;
pub use quantize::{Dequantize, Quantize};
pub use quantized::{
    QBinary, QBinaryFn, QConv2d, QDense, QDepthwiseConv2d, QLookup, QMean, QPool2d, QResize,
    QSoftmax, Requantize,
};
pub use range::Range;
pub use reduce::{ArgExtreme, Reduce, ReduceFn};
pub use reshape::{Flatten, Reshape, Squeeze, Unsqueeze};
pub use resize::{Coordinates, NearestRounding, Resize, ResizeAxis, ResizeMode};
pub use resize_grad::ResizeGrad;
pub use scatter::{ScatterElements, ScatterFn, ScatterNd};
pub use select::Select;
pub use separable_conv2d::{SeparableConv2d, SeparableOperands};
pub use shape_of::ShapeOf;
pub use slice::{Slice, SliceAxis};
pub use softmax::Softmax;
pub use split::{Split, SplitParts};
pub use tile::Tile;
pub use top_k::TopK;
pub use transpose::Transpose;
pub use unary::{Unary, UnaryFn};

pub use depthwise_tensor::Activation;
