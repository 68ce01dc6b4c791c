//! Bytes that Keras does not write.

use super::fixture;
use crate::keras::read;
use bytes::Bytes;
use depthwise_layers::ir::infer_types;
use proptest::prelude::*;

/// Reads, and infers types where extents allow.
fn try_all(bytes: Vec<u8>) -> bool {
    let Ok(graph) = read(Bytes::from(bytes)) else { return false };
    assert_eq!(graph.verify(), Ok(()));
    let shapes: Option<Vec<_>> =
        graph.inputs().iter().map(|&id| graph.input_type(id)?.shape()).collect();
    if let Some(shapes) = shapes {
        let _ = infer_types(&graph, &shapes);
    }
    true
}

#[test]
fn every_truncation_of_a_small_file_is_an_error() {
    for name in ["sequential_v2.h5", "sequential.keras"] {
        let bytes = fixture(name);
        for len in (0..bytes.len()).step_by(7).chain(bytes.len() - 300..bytes.len()) {
            assert!(!try_all(bytes[..len].to_vec()), "{name}: {len} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn every_truncation_of_a_real_file_is_an_error() {
    let Some(shared) = depthwise_testkit::shared_dir() else { return };
    let file = std::fs::read(shared.join("models/keras/vww_96.h5")).unwrap();
    for len in (0..file.len()).step_by(file.len() / 60).chain([file.len() - 1]) {
        assert!(!try_all(file[..len].to_vec()), "{len} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn mutations_give_a_graph_or_an_error(
        which in 0..4usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let name = ["sequential_v3.h5", "nested.keras", "text.keras", "merges_v2.h5"][which];
        let mut bytes = fixture(name).to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        try_all(bytes);
    }
}
