//! `detect`, `segment` and `landmarks` on photos, against what MediaPipe 0.10.14 for Python finds.

use assert_cmd::Command;
use depthwise_vision::{Picture, Rect};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn depthwise() -> Command {
    Command::new(env!("CARGO_BIN_EXE_depthwise"))
}

fn photo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../photos").join(name)
}

fn stdout(command: &mut Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
}

fn stderr(command: &mut Command, code: i32) -> String {
    String::from_utf8(command.assert().code(code).get_output().stderr.clone()).unwrap()
}

fn json(command: &mut Command) -> Value {
    serde_json::from_str(&stdout(command)).unwrap()
}

fn numbers(list: &Value) -> Vec<f32> {
    list.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

fn rect(list: &Value) -> Rect {
    let [left, top, right, bottom] = numbers(list)[..] else { panic!("{list}") };
    Rect { left, top, right, bottom }
}

/// The face on astronaut.png, as MediaPipe finds it on the photo resized by Pillow (BILINEAR) to the
/// 128 x 128 of the network. Given the whole photo, it looks at pixels between pixels, and places
/// are up to 4.4 pixels away from these, one of the network's.
const FACE: Rect = Rect { left: 177.28, top: 80.56, right: 271.85, bottom: 175.12 };

#[cfg(feature = "embedded-weights")]
#[test]
fn the_face_of_the_astronaut_is_where_mediapipe_finds_it() {
    let answer = json(depthwise().args(["detect", "--json"]).arg(photo("astronaut.png")));
    let [face] = &answer["detections"].as_array().unwrap()[..] else { panic!("{answer}") };
    // The resized photo may differ from Pillow's by a step in some bytes.
    assert!((face["score"].as_f64().unwrap() - 0.92091).abs() < 1e-3, "{face}");
    assert!(rect(&face["box"]).iou(&FACE) > 0.99, "{face}");
    for (name, x, y) in [
        ("right eye", 203.3, 100.9),
        ("left eye", 247.4, 108.2),
        ("nose", 221.6, 124.9),
        ("mouth", 218.7, 145.7),
        ("right ear", 177.4, 109.4),
        ("left ear", 270.6, 124.2),
    ] {
        let got = numbers(&face["keypoints"][name]);
        assert!((got[0] - x).hypot(got[1] - y) < 0.5, "{name}: {got:?} for {x}, {y}");
    }
}

#[cfg(feature = "embedded-weights")]
#[test]
fn detections_are_drawn_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("marked");
    let mut command = depthwise();
    command.arg("detect").arg(photo("astronaut.png")).arg(photo("coffee.png")).arg("-o").arg(&out);
    let text = stdout(&mut command);
    assert!(text.contains("1 face ") && text.contains("right eye"), "{text}");
    assert!(text.lines().last().unwrap().contains("0 faces"), "{text}");
    let (before, after) = (
        Picture::open(photo("astronaut.png")).unwrap(),
        Picture::open(out.join("astronaut.png")).unwrap(),
    );
    let changed = |y: usize, x: usize| before.pixel(y, x) != after.pixel(y, x);
    let on_the_left_side = (170..186).filter(|&x| changed(150, x)).count();
    assert!((1..8).contains(&on_the_left_side), "{on_the_left_side} pixels of a thin line");
    assert!(!changed(400, 100), "far from the face");
    let coffee = Picture::open(out.join("coffee.png")).unwrap();
    assert_eq!(coffee, Picture::open(photo("coffee.png")).unwrap());
}

#[cfg(feature = "embedded-weights")]
#[test]
fn the_astronaut_is_told_from_the_ground() {
    let folder = tempfile::tempdir().unwrap();
    let [mask, tinted, alone] =
        ["mask.png", "tinted.png", "alone.png"].map(|name| folder.path().join(name));
    let mut command = depthwise();
    command.args(["segment", "--json"]).arg(photo("astronaut.png"));
    command.arg("--mask").arg(&mask).arg("-o").arg(&tinted).arg("--cut-out").arg(&alone);
    let answer = json(&mut command);
    // MediaPipe: 0.5447 of the pixels above one half.
    assert!((answer["share"].as_f64().unwrap() - 0.5447).abs() < 0.01, "{answer}");
    let picture = Picture::open(photo("astronaut.png")).unwrap();
    let [mask, tinted, alone] = [mask, tinted, alone].map(|path| Picture::open(path).unwrap());
    // MediaPipe: 1 on the face and the chest, 0 at the flag and the shuttle.
    for (y, x, person) in [(153, 230, true), (409, 256, true), (51, 51, false), (25, 486, false)] {
        assert_eq!(mask.pixel(y, x), Some(if person { [255; 3] } else { [0; 3] }), "{y} {x}");
        assert_eq!(tinted.pixel(y, x) != picture.pixel(y, x), person, "{y} {x}");
        let want = if person { picture.pixel(y, x) } else { Some([255; 3]) };
        assert_eq!(alone.pixel(y, x), want, "{y} {x}");
    }
}

#[test]
fn landmarks_are_where_mediapipe_finds_them() {
    let Some(shared) = depthwise_testkit::shared_dir() else { return };
    let models = shared.join("models/tflite");
    let mut command = depthwise();
    command
        .args(["landmarks", "--json", "--model"])
        .arg(models.join("mediapipe_face_landmark.tflite"));
    command.arg("--detector").arg(models.join("mediapipe_face_detection_short_range.tflite"));
    let answer = json(command.arg(photo("astronaut.png")));
    let [face] = &answer["parts"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert_eq!(
        (face["part"].as_str(), face["points"].as_array().unwrap().len()),
        (Some("face"), 468)
    );
    assert!(face["score"].as_f64().unwrap() > 0.9);
    // Corners of the eyes, nose, corners of the mouth, forehead, chin, cheeks; x and y in shares of
    // the photo, z in shares of its width.
    for (i, x, y, z) in [
        (33, 0.3802, 0.1971, 0.0077),
        (263, 0.5014, 0.2033, 0.0088),
        (1, 0.4377, 0.2562, -0.0455),
        (61, 0.3942, 0.2724, 0.0135),
        (291, 0.4803, 0.2778, 0.0140),
        (10, 0.4443, 0.1415, -0.0219),
        (152, 0.4323, 0.3427, 0.0170),
        (234, 0.3497, 0.2169, 0.0808),
        (454, 0.5290, 0.2271, 0.0822),
    ] {
        let got = numbers(&face["points"][i]);
        let distance = (got[0] - x * 512.0).hypot(got[1] - y * 512.0);
        // MediaPipe finds the face in another way (see FACE), so that its window is another one.
        assert!(distance < 3.0, "point {i} is {distance} pixels away");
        assert!((got[2] - z * 512.0).abs() < 4.0, "point {i}: z is {} for {}", got[2], z * 512.0);
    }
}

#[test]
fn hands_are_looked_for_where_the_box_is() {
    let Some(shared) = depthwise_testkit::shared_dir() else { return };
    let mut command = depthwise();
    command.args([
        "landmarks",
        "--json",
        "--min-score",
        "0",
        "--box",
        "100,100,300,280",
        "--model",
    ]);
    command.arg(shared.join("models/tflite/mediapipe_hand_landmark_lite.tflite"));
    let answer = json(command.arg(photo("coffee.png")));
    let part = &answer["parts"][0];
    assert_eq!(
        (part["part"].as_str(), part["points"].as_array().unwrap().len()),
        (Some("hand"), 21)
    );
    // There is none.
    assert!(part["score"].as_f64().unwrap() < 0.5, "{part}");
}

#[test]
fn other_detectors_find_the_face_too() {
    let Some(shared) = depthwise_testkit::shared_dir() else { return };
    let model = shared.join("models/onnx/ultralight_face_rfb_320.onnx");
    let mut command = depthwise();
    let answer =
        json(command.args(["detect", "--json", "--model"]).arg(model).arg(photo("astronaut.png")));
    let [face] = &answer["detections"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert!(face.get("keypoints").is_none());
    // Another network with another idea of where a face ends.
    assert!(rect(&face["box"]).iou(&FACE) > 0.5, "{face}");
}

#[test]
fn models_that_a_command_does_not_know_are_described() {
    let Some(shared) = depthwise_testkit::shared_dir() else { return };
    let model = shared.join("models/tflite/mediapipe_selfie_segmentation.tflite");
    for (command, known) in [("detect", "1,896,16"), ("landmarks", "1404")] {
        let mut run = depthwise();
        run.args([command, "--model"]).arg(&model).arg(photo("astronaut.png"));
        let text = stderr(&mut run, 1);
        assert!(text.contains("outputs 1,256,256,1") && text.contains(known), "{text}");
    }
}

#[test]
fn command_lines_that_make_no_sense_say_what_would() {
    let text = stderr(depthwise().arg("segment").arg(photo("coffee.png")), 2);
    assert!(text.contains("--mask") && text.contains("--output"), "{text}");
    let text = stderr(depthwise().args(["detect", "--min-score", "1.5", "x.png"]), 2);
    assert!(text.contains("between 0 and 1"), "{text}");
    let text =
        stderr(depthwise().args(["landmarks", "--model", "m", "--box", "1,2,3", "x.png"]), 2);
    assert!(text.contains("LEFT,TOP,RIGHT,BOTTOM"), "{text}");
}
