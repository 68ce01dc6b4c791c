use super::*;
use half::{bf16, f16};
use proptest::prelude::*;

fn weights() -> Weights {
    let mut weights: Weights = [
        ("scalar".to_owned(), Tensor::scalar(1.5f64)),
        (
            "conv.weight".to_owned(),
            Tensor::from_slice(&[2, 3], &[0f32, 1., 2., 3., 4., -5.]).unwrap(),
        ),
        ("half".to_owned(), Tensor::from_slice(&[2], &[f16::ONE, f16::NEG_ONE]).unwrap()),
        ("brain".to_owned(), Tensor::from_slice(&[1], &[bf16::ONE]).unwrap()),
        ("i64".to_owned(), Tensor::from_slice(&[1], &[i64::MIN]).unwrap()),
        ("i32".to_owned(), Tensor::from_slice(&[1], &[-7i32]).unwrap()),
        ("i16".to_owned(), Tensor::from_slice(&[3], &[1i16, 2, 3]).unwrap()),
        ("i8".to_owned(), Tensor::from_slice(&[3], &[-1i8, 2, 3]).unwrap()),
        ("u8".to_owned(), Tensor::from_slice(&[1, 1], &[200u8]).unwrap()),
        ("bool".to_owned(), Tensor::from_bools(&[2], &[true, false]).unwrap()),
        ("empty".to_owned(), Tensor::from_vec::<f32>(&[0, 4], vec![]).unwrap()),
    ]
    .into_iter()
    .collect();
    weights.metadata.insert("licence \"x\"\n".into(), "Apache-2.0".into());
    for key in ["b", "a", "d", "c"] {
        weights.metadata.insert(key.into(), key.into());
    }
    weights
}

/// The reader's copy of bytes that start on a 64-byte line, as those of a file do.
fn aligned(bytes: &[u8]) -> Bytes {
    depthwise_tensor::AlignedBuf::copy_of(bytes).unwrap().into_bytes()
}

#[test]
fn every_dtype_survives_a_round_trip() {
    let before = weights();
    let bytes = to_bytes(&before).unwrap();
    assert_eq!(read(aligned(&bytes)).unwrap(), before);
    // The reader must not depend on where the bytes lie.
    assert_eq!(read(aligned(&[&[0], &bytes[..]].concat()).slice(1..)).unwrap(), before);
}

#[test]
fn aligned_tensors_share_the_bytes_of_the_file() {
    let file = aligned(&to_bytes(&weights()).unwrap());
    let range = file.as_ptr_range();
    for (name, tensor) in read(file).unwrap().iter().filter(|(_, t)| t.elements() > 0) {
        assert!(range.contains(&tensor.bytes().as_ptr()), "{name} was copied");
    }
}

#[test]
fn written_bytes_are_sorted_and_repeatable() {
    let bytes = to_bytes(&weights()).unwrap();
    for _ in 0..8 {
        assert_eq!(to_bytes(&weights()).unwrap(), bytes);
    }
    let one = [("w".to_owned(), Tensor::from_slice(&[1], &[1f32]).unwrap())].into_iter().collect();
    let want = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let text = to_bytes(&one).unwrap();
    assert_eq!(text[..8], (want.len() as u64).next_multiple_of(8).to_le_bytes());
    assert_eq!(text[8..8 + want.len()], want[..]);
    assert_eq!(text[text.len() - 4..], 1f32.to_le_bytes());
}

#[test]
fn the_order_of_tensors_is_that_of_the_safetensors_library() {
    use ::safetensors::tensor::TensorView;
    let weights = Weights { metadata: Default::default(), ..weights() };
    let views: Vec<(&str, TensorView<'_>)> = weights
        .iter()
        .filter_map(|(name, t)| {
            let dtype = match t.dtype() {
                DType::F32 => Dtype::F32,
                DType::I64 => Dtype::I64,
                DType::Bool => Dtype::BOOL,
                DType::U8 => Dtype::U8,
                _ => return None,
            };
            Some((name, TensorView::new(dtype, t.shape().to_vec(), t.bytes()).unwrap()))
        })
        .collect();
    let ours: Weights = views
        .iter()
        .map(|(name, _)| (name.to_string(), weights.get(name).unwrap().clone()))
        .collect();
    assert_eq!(to_bytes(&ours).unwrap(), ::safetensors::serialize(views, None).unwrap());
}

#[test]
fn files_are_saved_whole_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    std::fs::write(&path, b"old").unwrap();
    save(&weights(), &path).unwrap();
    assert_eq!(open(&path).unwrap(), weights());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn errors_name_the_file_and_the_tensor() {
    let missing = open("no/such.safetensors").unwrap_err();
    assert!(matches!(&missing, SafetensorsError::Io { .. }));
    assert!(missing.to_string().contains("no/such.safetensors"), "{missing}");

    let header = br#"{"w":{"dtype":"U64","shape":[1],"data_offsets":[0,8]}}"#;
    let error = read(file_of(header, 8)).unwrap_err();
    assert!(
        matches!(&error, SafetensorsError::DType { tensor, dtype } if tensor == "w" && dtype == "U64")
    );

    let header = br#"{"w":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}"#;
    let error = read(file_of(header, 4)).unwrap_err();
    assert!(matches!(&error, SafetensorsError::Tensor { tensor, .. } if tensor == "w"));

    let header = br#"{"w":{"dtype":"F32","shape":[0,9223372036854775807],"data_offsets":[0,0]}}"#;
    assert!(matches!(read(file_of(header, 0)), Err(SafetensorsError::Tensor { .. })));

    let reserved = [("__metadata__".to_owned(), Tensor::scalar(0u8))].into_iter().collect();
    assert!(matches!(to_bytes(&reserved), Err(SafetensorsError::Name(_))));
}

#[test]
fn headers_that_do_not_cover_the_data_are_refused() {
    let cases: [(&[u8], usize); 6] = [
        (br#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4),
        (br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 8),
        (br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8),
        (br#"{"w":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}}"#, 0),
        (br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,0]}}"#, 0),
        (b"[", 0),
    ];
    for (header, data) in cases {
        let text = String::from_utf8_lossy(header);
        assert!(matches!(read(file_of(header, data)), Err(SafetensorsError::Header(_))), "{text}");
    }
    let huge = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    assert!(matches!(read(Bytes::from(huge)), Err(SafetensorsError::Header(_))));
}

fn file_of(header: &[u8], data: usize) -> Bytes {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.resize(bytes.len() + data, 0);
    Bytes::from(bytes)
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = aligned(&to_bytes(&weights()).unwrap());
    for len in 0..bytes.len() {
        assert!(read(bytes.slice(..len)).is_err(), "{len} of {} bytes", bytes.len());
    }
}

/// Opens a file of these bytes, which must give what reading them gives.
fn check_open(bytes: &Bytes) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    std::fs::write(&path, bytes).unwrap();
    match (open(&path), read(bytes.clone())) {
        (Ok(opened), Ok(read)) => assert_eq!(opened, read),
        (Err(SafetensorsError::InFile { .. }), Err(_)) => {}
        (opened, read) => panic!("{opened:?} from the file, {read:?} from its bytes"),
    }
}

#[test]
fn a_file_is_read_like_its_bytes() {
    let bytes = Bytes::from(to_bytes(&weights()).unwrap());
    check_open(&bytes);
    for len in 0..bytes.len() {
        check_open(&bytes.slice(..len));
    }
    check_open(&[&bytes[..], &[0]].concat().into());
    check_open(&Bytes::from([&u64::MAX.to_le_bytes()[..], b"{}"].concat()));
    // Two tensors in the same place: a small file must not fill much memory.
    let header = br#"{"v":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}"#;
    check_open(&file_of(header, 8));
}

proptest! {
    #[test]
    fn flipped_bytes_in_a_file_give_what_they_give_in_memory(at in any::<prop::sample::Index>(), mask in 1u8..) {
        let mut bytes = to_bytes(&weights()).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        check_open(&Bytes::from(bytes));
    }

    #[test]
    fn flipped_bytes_give_weights_or_an_error(flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4)) {
        let mut bytes = to_bytes(&weights()).unwrap();
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        let len = bytes.len();
        if let Ok(weights) = read(Bytes::from(bytes)) {
            let total: usize = weights.tensors.values().map(|t| t.bytes().len()).sum();
            prop_assert!(total <= len);
        }
    }

    #[test]
    fn any_bytes_give_weights_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(Bytes::from(bytes));
    }
}
