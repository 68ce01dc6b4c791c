use super::*;
use depthwise_tensor::{DType, Tensor};
use proptest::prelude::*;
use std::io::{Cursor, Write};

/// Writes pickles, protocol 2.
#[derive(Default)]
struct Pickler(Vec<u8>);

impl Pickler {
    fn new() -> Pickler {
        Pickler(vec![0x80, 2])
    }
    fn op(mut self, bytes: &[u8]) -> Pickler {
        self.0.extend(bytes);
        self
    }
    fn str(mut self, text: &str) -> Pickler {
        self.0.push(b'X');
        self.0.extend((text.len() as u32).to_le_bytes());
        self.op(text.as_bytes())
    }
    fn int(mut self, n: i32) -> Pickler {
        self.0.push(b'J');
        self.op(&n.to_le_bytes())
    }
    fn global(self, module: &str, name: &str) -> Pickler {
        self.op(format!("c{module}\n{name}\n").as_bytes())
    }
    fn ints(self, items: &[i32]) -> Pickler {
        items.iter().fold(self.op(b"("), |p, &n| p.int(n)).op(b"t")
    }
    fn storage(self, class: &str, key: &str, len: i32) -> Pickler {
        self.op(b"(").str("storage").global("torch", class).str(key).str("cpu").int(len).op(b"tQ")
    }
    fn tensor(self, class: &str, key: &str, len: i32, view: (i32, &[i32], &[i32])) -> Pickler {
        let (offset, sizes, strides) = view;
        self.global("torch._utils", "_rebuild_tensor_v2")
            .op(b"(")
            .storage(class, key, len)
            .int(offset)
            .ints(sizes)
            .ints(strides)
            .op(b"\x89")
            .global("collections", "OrderedDict")
            .op(b")RtR")
    }
    fn end(self) -> Vec<u8> {
        self.op(b".").0
    }
}

/// The older container around an object and its storages.
fn legacy(object: &[u8], storages: &[(&str, u64, &[u8])]) -> Bytes {
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    file.extend(b"\x80\x02M\xe9\x03.");
    file.extend(Pickler::new().op(b"}").str("little_endian").op(b"\x88s").end());
    file.extend(object);
    let keys = storages.iter().fold(Pickler::new().op(b"]("), |p, (key, ..)| p.str(key));
    file.extend(keys.op(b"e").end());
    for (_, count, bytes) in storages {
        file.extend(count.to_le_bytes());
        file.extend(*bytes);
    }
    Bytes::from(file)
}

fn archive(object: &[u8], storages: &[(&str, &[u8])], method: zip::CompressionMethod) -> Bytes {
    let mut out = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    out.start_file("net/data.pkl", options).unwrap();
    out.write_all(object).unwrap();
    out.start_file("net/byteorder", options).unwrap();
    out.write_all(b"little").unwrap();
    for (key, bytes) in storages {
        out.start_file(format!("net/data/{key}"), options).unwrap();
        out.write_all(bytes).unwrap();
    }
    Bytes::from(out.finish().unwrap().into_inner())
}

fn f32s(n: usize) -> Vec<u8> {
    (0..n).flat_map(|i| (i as f32).to_le_bytes()).collect()
}

/// A dictionary with a transposed view and, on the same storage, a plain one.
fn two_views() -> Vec<u8> {
    Pickler::new()
        .op(b"}(")
        .str("a.weight")
        .tensor("FloatStorage", "7", 6, (0, &[3, 2], &[1, 3]))
        .str("b")
        .tensor("FloatStorage", "7", 6, (2, &[2, 2], &[2, 1]))
        .str("epoch")
        .int(-3)
        .op(b"u")
        .end()
}

fn check_two_views(weights: &Weights) {
    let want = [
        ("a.weight", Tensor::from_slice(&[3, 2], &[0f32, 3., 1., 4., 2., 5.]).unwrap()),
        ("b", Tensor::from_slice(&[2, 2], &[2f32, 3., 4., 5.]).unwrap()),
    ];
    assert_eq!(weights.len(), 2);
    for (name, tensor) in want {
        assert_eq!(weights.get(name), Some(&tensor), "{name}");
    }
    assert_eq!(weights.metadata["epoch"], "-3");
}

#[test]
fn strides_and_offsets_are_honoured_in_both_containers() {
    let (object, data) = (two_views(), f32s(6));
    check_two_views(&read(legacy(&object, &[("7", 6, &data)])).unwrap());
    let stored = zip::CompressionMethod::Stored;
    check_two_views(&read(archive(&object, &[("7", &data)], stored)).unwrap());
}

#[test]
fn nested_dictionaries_join_their_keys() {
    let object = Pickler::new()
        .op(b"}")
        .str("state_dict")
        .global("collections", "OrderedDict")
        .op(b")R")
        .str("w")
        .global("torch._utils", "_rebuild_parameter")
        .op(b"(")
        .tensor("LongStorage", "0", 1, (0, &[], &[]))
        .op(b"\x88")
        .global("collections", "OrderedDict")
        .op(b")RtRss")
        .end();
    let weights = read(legacy(&object, &[("0", 1, &5i64.to_le_bytes())])).unwrap();
    assert_eq!(weights.get("state_dict.w"), Some(&Tensor::scalar(5i64)));
}

#[test]
fn a_dictionary_of_python_2_pairs_is_read() {
    let object = Pickler::new()
        .global("collections", "OrderedDict")
        .op(b"](")
        .op(b"](")
        .str("w")
        .tensor("CharStorage", "0", 2, (0, &[2], &[1]))
        .op(b"ee\x85R")
        .end();
    let weights = read(legacy(&object, &[("0", 2, &[1, 0xff])])).unwrap();
    assert_eq!(weights.get("w"), Some(&Tensor::from_slice(&[2], &[1i8, -1]).unwrap()));
}

#[test]
fn a_named_function_is_refused_and_not_run() {
    let attack = Pickler::new().global("os", "system").op(b"(").str("touch /tmp/x").op(b"tR").end();
    let error = read(legacy(&attack, &[])).unwrap_err();
    assert!(
        matches!(&error, TorchError::Global { module, name, .. } if module == "os" && name == "system"),
        "{error}"
    );
    let attack = Pickler::new().str("builtins").str("eval").op(b"\x93").end();
    assert!(matches!(read(legacy(&attack, &[])), Err(TorchError::Global { .. })));
    // NEWOBJ would call a constructor.
    let attack = Pickler::new().global("collections", "OrderedDict").op(b")\x81").end();
    assert!(matches!(read(legacy(&attack, &[])), Err(TorchError::Opcode { opcode: 0x81, .. })));
}

#[test]
fn views_past_their_storage_are_refused() {
    let cases: &[(i32, &[i32], &[i32])] = &[
        (0, &[7], &[1]),
        (6, &[1], &[1]),
        (1, &[2, 3], &[3, 1]),
        (0, &[2, 2], &[i32::MAX, i32::MAX]),
        (i32::MAX, &[], &[]),
    ];
    for &view in cases {
        let object = Pickler::new().op(b"}").str("w").tensor("FloatStorage", "0", 6, view).op(b"s");
        let error = read(legacy(&object.end(), &[("0", 6, &f32s(6))])).unwrap_err();
        assert!(matches!(&error, TorchError::View { tensor, .. } if tensor == "w"), "{error}");
    }
    for view in [(-1, &[1][..], &[1][..]), (0, &[-1], &[1]), (0, &[1], &[-1]), (0, &[1], &[])] {
        let object = Pickler::new().op(b"}").str("w").tensor("FloatStorage", "0", 6, view).op(b"s");
        let error = read(legacy(&object.end(), &[("0", 6, &f32s(6))])).unwrap_err();
        assert!(matches!(&error, TorchError::Malformed { .. }), "{error}");
    }
}

#[test]
fn an_empty_view_may_lie_anywhere() {
    let view = (9, &[0, 4][..], &[4, 1][..]);
    let object = Pickler::new().op(b"}").str("w").tensor("FloatStorage", "0", 6, view).op(b"s");
    let weights = read(legacy(&object.end(), &[("0", 6, &f32s(6))])).unwrap();
    assert_eq!(weights.get("w").unwrap().shape().dims(), [0, 4]);
}

#[test]
fn expanded_views_cannot_outgrow_the_file_without_bound() {
    let view = (0, &[1 << 20, 1 << 20][..], &[0, 0][..]);
    let object = Pickler::new().op(b"}").str("w").tensor("FloatStorage", "0", 1, view).op(b"s");
    let error = read(legacy(&object.end(), &[("0", 1, &f32s(1))])).unwrap_err();
    assert!(matches!(&error, TorchError::TooLarge { tensor, .. } if tensor == "w"), "{error}");

    let view = (0, &[3][..], &[0][..]);
    let object = Pickler::new().op(b"}").str("w").tensor("FloatStorage", "0", 2, view).op(b"s");
    let weights = read(legacy(&object.end(), &[("0", 2, &f32s(2))])).unwrap();
    assert_eq!(weights.get("w").unwrap().to_f32()[..], [0.0; 3]);
}

#[test]
fn shared_parts_cannot_multiply() {
    // Ten dictionaries, each with the one before under eight keys: 8^10 paths.
    let mut p = Pickler::new().op(b"}q\x00");
    for level in 0..10u8 {
        p = p.op(b"}(");
        for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            p = p.str(key).op(&[b'h', level]);
        }
        p = p.op(&[b'u', b'q', level + 1]);
    }
    assert!(matches!(read(legacy(&p.end(), &[])), Err(TorchError::View { .. })));

    // A dictionary that holds itself.
    let cycle = Pickler::new().op(b"}q\x00").str("a").op(b"h\x00s").end();
    assert!(matches!(read(legacy(&cycle, &[])), Err(TorchError::View { .. })));

    // A list that is copied into many dictionaries.
    let mut p = Pickler::new().op(b"](");
    for _ in 0..100 {
        p = p.op(b"](NNe");
    }
    p = p.op(b"eq\x000");
    for _ in 0..1000 {
        p = p.global("collections", "OrderedDict").op(b"h\x00\x85R0");
    }
    assert!(matches!(read(legacy(&p.op(b"}").end(), &[])), Err(TorchError::Malformed { .. })));
}

#[test]
fn storages_that_contradict_their_description_are_refused() {
    let object = two_views();
    let fails = |file: Bytes| read(file).unwrap_err();
    let wrong_count = fails(legacy(&object, &[("7", 5, &f32s(5))]));
    assert!(matches!(&wrong_count, TorchError::Storage { key, .. } if key == "7"), "{wrong_count}");
    assert!(matches!(fails(legacy(&object, &[])), TorchError::Storage { .. }));
    assert!(matches!(fails(legacy(&object, &[("8", 1, &[])])), TorchError::Storage { .. }));
    let short = fails(legacy(&object, &[("7", 6, &f32s(5))]));
    assert!(matches!(short, TorchError::Truncated { .. }), "{short}");

    let stored = zip::CompressionMethod::Stored;
    assert!(matches!(
        fails(archive(&object, &[("7", &f32s(5))], stored)),
        TorchError::Storage { .. }
    ));
    assert!(matches!(fails(archive(&object, &[], stored)), TorchError::Storage { .. }));
}

#[test]
fn other_files_are_named_as_such() {
    assert!(matches!(read(Bytes::new()), Err(TorchError::NotACheckpoint)));
    assert!(matches!(read(Bytes::from_static(b"\x08\x07\x12")), Err(TorchError::NotACheckpoint)));
    let zip = archive(b".", &[], zip::CompressionMethod::Stored);
    assert!(matches!(read(zip), Err(TorchError::Malformed { offset: 0, .. })));
    let missing = open("no/such.pth").unwrap_err();
    assert!(missing.to_string().contains("no/such.pth"), "{missing}");
}

#[test]
fn every_truncation_is_an_error() {
    let whole = legacy(&two_views(), &[("7", 6, &f32s(6))]);
    let zip = archive(&two_views(), &[("7", &f32s(6))], zip::CompressionMethod::Stored);
    for file in [whole, zip] {
        for len in 0..file.len() {
            assert!(read(file.slice(..len)).is_err(), "{len} of {} bytes", file.len());
        }
    }
}

/// The checkpoint of that name, where the reference material is at hand.
fn shared(name: &str) -> Option<Weights> {
    let path = depthwise_testkit::shared_dir()?.join("models/weights");
    Some(open(path.join(name)).unwrap())
}

/// Number of `f32` elements, and the sum of their bits times their positions, over all tensors in
/// the order of their names.
fn fingerprint(weights: &Weights) -> (usize, u64) {
    let floats = weights.iter().filter_map(|(_, t)| t.data::<f32>().ok()).flatten();
    floats.fold((0, 0), |(n, sum), x| {
        let term = (n as u64 + 1).wrapping_mul(x.to_bits().into());
        (n + 1, sum.wrapping_add(term))
    })
}

#[test]
fn real_checkpoints_give_the_elements_that_python_reads() {
    // Expected values from Python's own unpickler and NumPy's `as_strided`.
    let Some(lite0) = shared("efficientnet-lite0-57934424.pth") else { return };
    assert_eq!(lite0.len(), 296);
    assert_eq!(fingerprint(&lite0), (4_694_024, 0x902f_bebd_192a_9b8d));
    assert_eq!(lite0.get("_conv_stem.weight").unwrap().shape().dims(), [32, 3, 3, 3]);
    assert_eq!(lite0.get("_bn0.num_batches_tracked").unwrap().dtype(), DType::I64);

    let Some(v2) = shared("mobilenet_v2-b0353104.pth") else { return };
    assert_eq!(v2.len(), 314);
    assert_eq!(fingerprint(&v2), (3_538_984, 0xdb57_5bfc_a0fe_1e9a));
    assert_eq!(v2.get("classifier.1.weight").unwrap().shape().dims(), [1000, 1280]);
}

proptest! {
    #[test]
    fn flipped_bytes_give_weights_or_an_error(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
        zipped: bool,
    ) {
        let (object, data) = (two_views(), f32s(6));
        let file = if zipped {
            archive(&object, &[("7", &data)], zip::CompressionMethod::Stored)
        } else {
            legacy(&object, &[("7", 6, &data)])
        };
        let mut bytes = file.to_vec();
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        let _ = read(Bytes::from(bytes));
    }

    #[test]
    fn any_instructions_give_weights_or_an_error(
        ops in prop::collection::vec(prop::sample::select(INSTRUCTIONS), 0..60),
    ) {
        let object = ops.concat();
        let _ = read(legacy(&[&object[..], b"."].concat(), &[("7", 6, &f32s(6))]));
    }
}

/// Pieces that meet each other often enough to reach the deeper code.
const INSTRUCTIONS: &[&[u8]] = &[
    b"(",
    b"0",
    b"1",
    b"2",
    b"N",
    b"\x88",
    b")",
    b"]",
    b"}",
    b"t",
    b"\x85",
    b"\x86",
    b"\x87",
    b"a",
    b"e",
    b"s",
    b"u",
    b"R",
    b"b",
    b"Q",
    b"q\x00",
    b"q\x01",
    b"h\x00",
    b"h\x01",
    b"\x94",
    b"K\x00",
    b"K\x06",
    b"J\xff\xff\xff\xff",
    b"X\x01\x00\x00\x007",
    b"X\x07\x00\x00\x00storage",
    b"\x8a\x00",
    b"ccollections\nOrderedDict\n",
    b"ctorch\nFloatStorage\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_parameter\n",
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x007X\x03\x00\x00\x00cpuK\x06tQ",
];
