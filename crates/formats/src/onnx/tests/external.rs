//! C24: weights beside the model.

use super::build::*;
use crate::onnx::wire::{Model, Tensor, data_type};
use crate::onnx::{ExternalError, OnnxError, open};
use depthwise_layers::ir::interpret;
use std::path::Path;

const WEIGHTS: [f32; 3] = [1.5, -2.0, 4.0];

/// `y = x + w` with the elements of `w` where these entries say.
fn external(entries: &[(&'static str, &'static str)]) -> Model<'static> {
    let w = Tensor {
        name: "w",
        dims: vec![3],
        data_type: data_type::FLOAT,
        external_data: entries.to_vec(),
        is_external: true,
        ..Tensor::default()
    };
    model(13, &[3], vec![node("Add", &["x", "w"], &["y"], vec![])], vec![w])
}

/// A folder with `models/m.onnx`, `models/w.bin` and `outside.bin`.
fn folder(model: &Model<'_>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    std::fs::create_dir(&models).unwrap();
    std::fs::write(models.join("m.onnx"), model.encode()).unwrap();
    let bytes: Vec<u8> = WEIGHTS.iter().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(models.join("w.bin"), [&[9; 5], &bytes[..]].concat()).unwrap();
    std::fs::write(folder.path().join("outside.bin"), &bytes).unwrap();
    folder
}

fn fault(folder: &Path) -> ExternalError {
    match open(folder.join("models/m.onnx")) {
        Err(OnnxError::InFile { path, source }) => {
            assert!(path.ends_with("models/m.onnx"));
            match *source {
                OnnxError::External { tensor, source, .. } => {
                    assert_eq!(tensor, "w");
                    source
                }
                other => panic!("{other}"),
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn c24_weights_in_another_file_equal_embedded_ones() {
    let model = external(&[("location", "w.bin"), ("offset", "5"), ("length", "12")]);
    let folder = folder(&model);
    let graph = open(folder.path().join("models/m.onnx")).unwrap();
    let x = value(&[3], &[1.0, 1.0, 1.0]);
    assert_eq!(interpret(&graph, &[x]).unwrap(), [value(&[3], &[2.5, -1.0, 5.0])]);
}

#[test]
fn c24_locations_outside_the_folder_are_refused() {
    let absolute = folder(&external(&[]));
    let absolute_path = absolute.path().join("models/w.bin");
    let absolute_path: &'static str = Box::leak(absolute_path.to_str().unwrap().into());
    for location in ["../outside.bin", "a/../../outside.bin", "", "..\\outside.bin", absolute_path]
    {
        let folder = folder(&external(&[("location", location)]));
        let error = fault(folder.path());
        assert!(matches!(error, ExternalError::Location), "{location}: {error}");
    }
}

#[cfg(unix)]
#[test]
fn c24_links_out_of_the_folder_are_refused() {
    let folder = folder(&external(&[("location", "link.bin")]));
    let models = folder.path().join("models");
    std::os::unix::fs::symlink("../outside.bin", models.join("link.bin")).unwrap();
    assert!(matches!(fault(folder.path()), ExternalError::Outside));
}

#[test]
fn c24_lengths_that_do_not_fit_are_refused() {
    type Case = (&'static [(&'static str, &'static str)], fn(&ExternalError) -> bool);
    let cases: [Case; 6] = [
        (&[("offset", "6")], |e| {
            matches!(e, ExternalError::PastEnd { offset: 6, want: 12, len: 17 })
        }),
        (&[("offset", "18446744073709551615")], |e| matches!(e, ExternalError::PastEnd { .. })),
        (&[("length", "16")], |e| matches!(e, ExternalError::Length { want: 12, got: 16 })),
        (&[("length", "-1")], |e| matches!(e, ExternalError::Number { .. })),
        (&[("offset", "x")], |e| matches!(e, ExternalError::Number { .. })),
        (&[("length", "18446744073709551616")], |e| matches!(e, ExternalError::Number { .. })),
    ];
    for (entries, expected) in cases {
        let mut all = vec![("location", "w.bin")];
        all.extend(entries);
        let folder = folder(&external(&all));
        let error = fault(folder.path());
        assert!(expected(&error), "{entries:?}: {error}");
    }
}

#[test]
fn c24_a_missing_file_is_named() {
    let folder = folder(&external(&[("location", "missing.bin")]));
    let error = fault(folder.path());
    assert!(matches!(&error, ExternalError::Io { .. }));
    assert!(error.to_string().contains("missing.bin"), "{error}");
    // A folder is no file, and reading a pipe would never end.
    let folder = self::folder(&external(&[("location", ".")]));
    assert!(matches!(fault(folder.path()), ExternalError::Io { .. }));
}

#[test]
fn a_model_in_memory_has_no_files_beside_it() {
    let error = error(&external(&[("location", "w.bin")]));
    assert!(matches!(error, OnnxError::External { source: ExternalError::NoFolder, .. }));
}
