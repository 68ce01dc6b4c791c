//! Pictures to tensors, and what networks find back to pictures.
//!
//! | task | item |
//! |---|---|
//! | read a file or bytes | [`Picture::open`], [`Picture::decode`] |
//! | take pixels from a camera | [`Picture::from_raw`] |
//! | what a network wants to see | [`Preprocess`], [`Normalize`] |
//! | to a tensor, or into the caller's slice | [`Preprocess::tensor`], [`Preprocess::write`] |
//! | turn, shift, scale, flip, brighten, spoil | [`Picture::warp`], [`Picture::brighten`], [`Picture::add_noise`] |
//! | to a PNG file in memory | [`Picture::to_png`] |
//! | resize, crop, letterbox by hand | [`Picture::resize`], [`Picture::centre_crop`], [`Picture::letterbox`] |
//! | a turned window for landmarks | [`RotatedRect`], [`Picture::crop_rotated`] |
//! | outputs of a detector to boxes | [`AnchorDecoder`], [`decode_corners`], [`decode_ssd_boxes`], [`SsdAnchors`] |
//! | one box for each thing | [`nms`], [`weighted_nms`], [`Rect::iou`] |
//! | features of boxes | [`RoiAlign`] |
//! | boxes, points and masks on the picture | [`Painter`], [`Picture::tint`], [`Mask`] |
//! | write a file | [`Picture::save`], [`Mask::save`] |
//!
//! ```
//! use depthwise_vision::{Normalize, Picture, Preprocess};
//!
//! let picture = Picture::from_raw(640, 480, vec![128; 640 * 480 * 3])?;
//! let preprocess = Preprocess::classifier(224, Normalize::IMAGENET);
//! let tensor = preprocess.tensor(&picture)?;
//! assert_eq!(tensor.shape().dims(), [1, 224, 224, 3]);
//! # Ok::<(), depthwise_vision::VisionError>(())
//! ```
//!
//! Pixels are 8-bit RGB, interleaved (`HWC`), rows from the top. Resizing is Pillow's: filters
//! scaled to the reduction (antialiasing), rounded to 8 bits after each of the two directions.
//! Bytes differ by at most 1 from Pillow's, and less than 1% of them do.
#![forbid(unsafe_code)]

mod adjust;
mod affine;
mod anchors;
mod boxes;
mod decode;
mod draw;
mod encode;
mod error;
mod geometry;
mod mask;
mod nms;
mod normalize;
mod picture;
mod png;
mod preprocess;
mod resize;
mod roi_align;
mod warp;

pub use affine::Affine2d;
pub use anchors::{Anchor, SsdAnchors, ultra_light_priors};
pub use boxes::{AnchorDecoder, decode_corners, decode_ssd_boxes, sigmoid};
pub use decode::DecodeLimits;
pub use draw::{Color, Painter};
pub use error::VisionError;
pub use geometry::{Detection, Point, Rect};
pub use mask::Mask;
pub use nms::{nms, weighted_nms};
pub use normalize::Normalize;
pub use picture::Picture;
pub use preprocess::{Preprocess, Resize};
pub use resize::{Interpolation, Placement};
pub use roi_align::{RoiAlign, RoiMode};
pub use warp::RotatedRect;
