//! Any bytes give weights or an error; weights come back the same from what is written of them.
#![no_main]

use bytes::Bytes;
use depthwise_formats::safetensors::{read, to_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(weights) = read(Bytes::copy_from_slice(data)) {
        let written = to_bytes(&weights).unwrap();
        assert_eq!(read(Bytes::from(written)).unwrap(), weights);
    }
});
