//! Pictures to tensors.
//!
//! | task | item |
//! |---|---|
//! | read a file or bytes | [`Picture::open`], [`Picture::decode`] |
//! | take pixels from a camera | [`Picture::from_raw`] |
//! | what a network wants to see | [`Preprocess`], [`Normalize`] |
//! | to a tensor, or into the caller's slice | [`Preprocess::tensor`], [`Preprocess::write`] |
//! | resize, crop, letterbox by hand | [`Picture::resize`], [`Picture::centre_crop`], [`Picture::letterbox`] |
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

mod decode;
mod error;
mod normalize;
mod picture;
mod preprocess;
mod resize;

pub use decode::DecodeLimits;
pub use error::VisionError;
pub use normalize::Normalize;
pub use picture::Picture;
pub use preprocess::{Preprocess, Resize};
pub use resize::{Interpolation, Placement};
