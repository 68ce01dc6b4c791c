//! The closed list of layers.

use crate::*;

macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// One operation of a [`Graph`](ir::Graph): a layer with its attributes.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Op {
            $($(#[$doc])* $name($name),)*
        }

        impl Op {
            /// What the operation means.
            pub fn layer(&self) -> &dyn Layer {
                match self {
                    $(Op::$name(layer) => layer,)*
                }
            }
        }

        $(impl From<$name> for Op {
            fn from(layer: $name) -> Op {
                Op::$name(layer)
            }
        })*
    };
}

ops! {
    /// See [`Activate`](crate::Activate).
    Activate,
    /// See [`ActivateGrad`](crate::ActivateGrad).
    ActivateGrad,
    /// See [`ArgExtreme`](crate::ArgExtreme).
    ArgExtreme,
    /// See [`BatchNorm`](crate::BatchNorm).
    BatchNorm,
    /// See [`BatchNormGrad`](crate::BatchNormGrad).
    BatchNormGrad,
    /// See [`BatchNormTrain`](crate::BatchNormTrain).
    BatchNormTrain,
    /// See [`Binary`](crate::Binary).
    Binary,
    /// See [`Cast`](crate::Cast).
    Cast,
    /// See [`Concat`](crate::Concat).
    Concat,
    /// See [`ConstantOfShape`](crate::ConstantOfShape).
    ConstantOfShape,
    /// See [`Conv2d`](crate::Conv2d).
    Conv2d,
    /// See [`Conv2dInputGrad`](crate::Conv2dInputGrad).
    Conv2dInputGrad,
    /// See [`Conv2dWeightGrad`](crate::Conv2dWeightGrad).
    Conv2dWeightGrad,
    /// See [`ConvTranspose2d`](crate::ConvTranspose2d).
    ConvTranspose2d,
    /// See [`Dense`](crate::Dense).
    Dense,
    /// See [`DepthToSpace`](crate::DepthToSpace).
    DepthToSpace,
    /// See [`Dequantize`](crate::Dequantize).
    Dequantize,
    /// See [`DepthwiseConv2d`](crate::DepthwiseConv2d).
    DepthwiseConv2d,
    /// See [`DepthwiseInputGrad`](crate::DepthwiseInputGrad).
    DepthwiseInputGrad,
    /// See [`DepthwiseWeightGrad`](crate::DepthwiseWeightGrad).
    DepthwiseWeightGrad,
    /// See [`Detections`](crate::Detections).
    Detections,
    /// See [`Dropout`](crate::Dropout).
    Dropout,
    /// See [`Expand`](crate::Expand).
    Expand,
    /// See [`Flatten`](crate::Flatten).
    Flatten,
    /// See [`Gather`](crate::Gather).
    Gather,
    /// See [`GatherElements`](crate::GatherElements).
    GatherElements,
    /// See [`GatherGrad`](crate::GatherGrad).
    GatherGrad,
    /// See [`GatherNd`](crate::GatherNd).
    GatherNd,
    /// See [`GridSample`](crate::GridSample).
    GridSample,
    /// See [`MatMul`](crate::MatMul).
    MatMul,
    /// See [`MaxPositions`](crate::MaxPositions).
    MaxPositions,
    /// See [`PRelu`](crate::PRelu).
    PRelu,
    /// See [`Pad`](crate::Pad).
    Pad,
    /// See [`Pool2d`](crate::Pool2d).
    Pool2d,
    /// See [`Pool2dGrad`](crate::Pool2dGrad).
    Pool2dGrad,
    /// See [`QBinary`](crate::QBinary).
    QBinary,
    /// See [`QConv2d`](crate::QConv2d).
    QConv2d,
    /// See [`QDense`](crate::QDense).
    QDense,
    /// See [`QDepthwiseConv2d`](crate::QDepthwiseConv2d).
    QDepthwiseConv2d,
    /// See [`QLookup`](crate::QLookup).
    QLookup,
    /// See [`QMean`](crate::QMean).
    QMean,
    /// See [`QPool2d`](crate::QPool2d).
    QPool2d,
    /// See [`QResize`](crate::QResize).
    QResize,
    /// See [`QSoftmax`](crate::QSoftmax).
    QSoftmax,
    /// See [`Quantize`](crate::Quantize).
    Quantize,
    /// See [`Range`](crate::Range).
    Range,
    /// See [`Reduce`](crate::Reduce).
    Reduce,
    /// See [`Reshape`](crate::Reshape).
    Reshape,
    /// See [`Resize`](crate::Resize).
    Resize,
    /// See [`ResizeGrad`](crate::ResizeGrad).
    ResizeGrad,
    /// See [`ScatterElements`](crate::ScatterElements).
    ScatterElements,
    /// See [`ScatterNd`](crate::ScatterNd).
    ScatterNd,
    /// See [`Select`](crate::Select).
    Select,
    /// See [`ShapeOf`](crate::ShapeOf).
    ShapeOf,
    /// See [`Slice`](crate::Slice).
    Slice,
    /// See [`Softmax`](crate::Softmax).
    Softmax,
    /// See [`SpaceToDepth`](crate::SpaceToDepth).
    SpaceToDepth,
    /// See [`Split`](crate::Split).
    Split,
    /// See [`Squeeze`](crate::Squeeze).
    Squeeze,
    /// See [`Tile`](crate::Tile).
    Tile,
    /// See [`TopK`](crate::TopK).
    TopK,
    /// See [`Transpose`](crate::Transpose).
    Transpose,
    /// See [`Unary`](crate::Unary).
    Unary,
    /// See [`Unsqueeze`](crate::Unsqueeze).
    Unsqueeze,
}
