//! What can go wrong between files, pictures and tensors.

use crate::{Rect, RotatedRect};
use depthwise_tensor::{Hw, TensorError};

/// Why a picture could not be read, prepared or marked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VisionError {
    /// The file could not be opened or read.
    #[error("{file}: {source}")]
    Io {
        /// The file, as it was named.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are no picture of a supported format, or a broken one.
    #[error("{file}: {source}")]
    Decode {
        /// The file, or `picture in memory`.
        file: String,
        /// What the decoder said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The picture, or what it would be resized to, has more pixels than the limit.
    #[error("{what}: {width}x{height} pixels; at most {max_pixels} in all are accepted")]
    TooLarge {
        /// The file, or the operation.
        what: String,
        /// Columns.
        width: u64,
        /// Rows.
        height: u64,
        /// Largest accepted product.
        max_pixels: u64,
    },
    /// The pixels, as the file holds them, take more bytes than the limit.
    #[error("{file}: decodes to {bytes} bytes; at most {max_bytes} are accepted")]
    Memory {
        /// The file, or `picture in memory`.
        file: String,
        /// Bytes of the decoded picture.
        bytes: u64,
        /// Largest accepted number.
        max_bytes: u64,
    },
    /// A picture or a target without pixels.
    #[error("{what}: a picture of {width}x{height} has no pixels")]
    Empty {
        /// The operation.
        what: &'static str,
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// The crop does not fit into the picture.
    #[error("a crop of {crop} (rows x columns) does not fit into a picture of {picture}")]
    Crop {
        /// Extents asked for.
        crop: Hw,
        /// Extents of the picture.
        picture: Hw,
    },
    /// A buffer that does not hold the picture.
    #[error("{what}: {want} elements are needed, but {got} were given")]
    Length {
        /// What the buffer is for.
        what: &'static str,
        /// Elements needed.
        want: usize,
        /// Elements given.
        got: usize,
    },
    /// Pictures that come out at different sizes and cannot share a tensor.
    #[error("picture {index} comes out as {got} (rows x columns), the first one as {want}")]
    Batch {
        /// Position of the picture.
        index: usize,
        /// Extents of the first.
        want: Hw,
        /// Extents of this one.
        got: Hw,
    },
    /// A metadata entry that does not describe a preprocessing step.
    #[error("metadata {key} = \"{value}\": {want}")]
    Metadata {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What would be understood.
        want: &'static str,
    },
    /// The picture cannot be written in the format of the file's extension.
    #[error("{file}: {source}")]
    Encode {
        /// The file.
        file: String,
        /// What the encoder said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A window that shows nothing, or whose numbers are not finite.
    #[error("{window:?} is no window to look through")]
    Window {
        /// The window.
        window: RotatedRect,
    },
    /// A box whose numbers are not finite, or that is larger than any picture.
    #[error("{rect:?} is no box of a picture")]
    Rect {
        /// The box.
        rect: Rect,
    },
    /// A tensor that cannot be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
