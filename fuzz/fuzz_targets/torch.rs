//! Any bytes give weights or an error, of no more than a few times the file and a megabyte.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(weights) = depthwise_formats::torch::read(Bytes::copy_from_slice(data)) {
        let mut seen = std::collections::HashSet::new();
        let distinct = weights.iter().filter(|(_, t)| seen.insert(t.bytes().as_ptr()));
        let total: usize = distinct.map(|(_, t)| t.bytes().len()).sum();
        assert!(total <= 4 * data.len() + (1 << 20));
    }
});
