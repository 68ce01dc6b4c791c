//! Pictures to files.

use crate::{Picture, VisionError};
use depthwise_tensor::Hw;
use image::{ExtendedColorType, ImageError};
use std::path::Path;

impl Picture {
    /// Writes the picture; the format follows the extension: `png`, `jpg`, `bmp`, `tiff`, `webp`,
    /// `gif`.
    ///
    /// # Errors
    /// [`VisionError::Encode`] where the extension is of no such format or does not take the
    /// extents, [`VisionError::Io`] where the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), VisionError> {
        save(path.as_ref(), self.pixels(), self.hw(), ExtendedColorType::Rgb8)
    }
}

/// Writes bytes of this colour type.
pub(crate) fn save(
    path: &Path,
    bytes: &[u8],
    hw: Hw,
    color: ExtendedColorType,
) -> Result<(), VisionError> {
    let file = path.display().to_string();
    let (Ok(width), Ok(height)) = (u32::try_from(hw.w), u32::try_from(hw.h)) else {
        let source = format!("{hw} pixels (rows x columns) are more than files hold").into();
        return Err(VisionError::Encode { file, source });
    };
    match image::save_buffer(path, bytes, width, height, color) {
        Ok(()) => Ok(()),
        Err(ImageError::IoError(source)) => Err(VisionError::Io { file, source }),
        Err(error) => Err(VisionError::Encode { file, source: Box::new(error) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let pixels: Vec<u8> = (0..5 * 4 * 3).map(|x| x * 4).collect();
        let picture = Picture::from_raw(5, 4, pixels).unwrap();
        for extension in ["png", "bmp", "tiff"] {
            let path = folder.path().join("out").with_extension(extension);
            picture.save(&path).unwrap();
            assert_eq!(Picture::open(&path).unwrap(), picture, "{extension}");
        }
        let jpeg = folder.path().join("out.jpg");
        picture.save(&jpeg).unwrap();
        assert_eq!(Picture::open(&jpeg).unwrap().hw(), picture.hw());
    }

    #[test]
    fn files_that_cannot_be_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let picture = Picture::from_raw(1, 1, vec![0; 3]).unwrap();
        let error = picture.save(folder.path().join("out.docx")).unwrap_err();
        assert!(matches!(error, VisionError::Encode { .. }));
        assert!(error.to_string().contains("out.docx"), "{error}");
        let error = picture.save(folder.path().join("no/such/out.png")).unwrap_err();
        assert!(matches!(error, VisionError::Io { .. }), "{error}");
    }
}
