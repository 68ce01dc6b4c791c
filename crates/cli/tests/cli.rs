//! The binary, as a person at the terminal meets it.

use assert_cmd::Command;
use std::path::{Path, PathBuf};

fn depthwise() -> Command {
    Command::new(env!("CARGO_BIN_EXE_depthwise"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn stdout(command: &mut Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
}

fn stderr(command: &mut Command, code: i32) -> String {
    String::from_utf8(command.assert().code(code).get_output().stderr.clone()).unwrap()
}

#[cfg(feature = "embedded-weights")]
#[test]
fn a_photo_of_a_cat_is_named() {
    let text = stdout(depthwise().arg("classify").arg(root().join("photos/chelsea.png")));
    let first = text.lines().nth(1).unwrap();
    assert!(first.contains("cat"), "{text}");
    assert_eq!(text.lines().count(), 6, "a head and five classes");
}

#[cfg(feature = "embedded-weights")]
#[test]
fn json_is_one_object_per_photo_of_a_folder() {
    let text =
        stdout(depthwise().args(["classify", "--json", "--top", "3"]).arg(root().join("photos")));
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    for answer in &lines {
        let predictions = answer["predictions"].as_array().unwrap();
        assert_eq!(predictions.len(), 3);
        assert!(predictions[0]["probability"].as_f64() >= predictions[1]["probability"].as_f64());
        assert!(answer["milliseconds"].as_f64().unwrap() > 0.0);
        assert_eq!(answer["model"], "efficientnet-lite0");
    }
    assert!(lines[1]["file"].as_str().unwrap().ends_with("chelsea.png"));
}

#[cfg(feature = "embedded-weights")]
#[test]
fn a_bad_photo_is_named_and_the_others_are_classified() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.jpg");
    std::fs::write(&broken, b"no picture").unwrap();
    let mut command = depthwise();
    command.arg("classify").arg(&broken).arg(root().join("photos/coffee.png"));
    let output = command.assert().code(1).get_output().clone();
    assert!(String::from_utf8_lossy(&output.stderr).contains("broken.jpg"));
    assert!(String::from_utf8_lossy(&output.stdout).contains("coffee.png"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for args in [&["inspect", "mobilenet-v2"][..], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_depthwise"))
            .args(args)
            .stdout(writer)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty());
    }
}

#[test]
fn inspect_counts_what_the_literature_counts() {
    let text = stdout(depthwise().args(["inspect", "mobilenet-v2"]));
    let total = text.lines().last().unwrap();
    // Sandler et al. 2018, table 4: 3.4 M parameters, 300 M MAC; torchvision has 3.50 M.
    assert!(total.contains("3.50 M") && total.contains("300.77 M"), "{total}");
    let plan = stdout(depthwise().args(["inspect", "mobilenet-v2", "--plan", "--threads", "1"]));
    assert!(plan.contains("dwconv_f32") && plan.contains("gemm_f32"), "{plan}");
}

#[test]
fn bench_and_compare_print_json() {
    let args = ["bench", "mobilenet-v3-small", "--runs", "2", "--warmup", "0", "--json"];
    let report: serde_json::Value = serde_json::from_str(&stdout(depthwise().args(args))).unwrap();
    assert_eq!(report["runs"], 2);
    assert!(report["milliseconds"]["median"].as_f64().unwrap() > 0.0);
    assert!(report["steps"].as_array().unwrap().len() > 50);
    let args = ["compare", "--channels", "32", "--size", "8", "--runs", "2", "--json"];
    let case: serde_json::Value = serde_json::from_str(&stdout(depthwise().args(args))).unwrap();
    assert_eq!(case["standard"]["macs"], 8 * 8 * 9 * 32 * 32);
    assert_eq!(case["separable"]["macs"], 8 * 8 * (9 * 32 + 32 * 32));
    let theory = case["theoretical_ratio"].as_f64().unwrap();
    assert!((theory - (1.0 / 32.0 + 1.0 / 9.0)).abs() < 1e-12);
}

#[test]
fn compare_draws_a_plot() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("saving.svg");
    let mut command = depthwise();
    command
        .args(["compare", "--channels", "16", "--size", "8", "--runs", "1", "--plot"])
        .arg(&plot);
    assert!(stdout(&mut command).contains("8x8 16->16"));
    let svg = std::fs::read_to_string(plot).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("measured time"));
}

#[test]
fn errors_say_what_to_do_next() {
    let text = stderr(depthwise().args(["inspect", "no-such-net"]), 1);
    assert!(text.contains("\"no-such-net\"") && text.contains("efficientnet-lite0"), "{text}");
    let text = stderr(depthwise().args(["classify"]), 2);
    assert!(text.contains("<PHOTOS>"), "{text}");
    let text = stderr(depthwise().args(["bench", "mobilenet-v2", "--isa", "sse9"]), 2);
    assert!(text.contains("avx512"), "{text}");
}

#[test]
fn run_reads_and_writes_named_tensors() {
    let Some(shared) = depthwise_testkit::shared_dir() else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("y.safetensors");
    let golden = shared.join("models/golden/ppocr_mobile_v2_cls.safetensors");
    let mut command = depthwise();
    command.arg("run").arg(shared.join("models/onnx/ppocr_mobile_v2_cls.onnx"));
    command.arg("--in").arg(&golden).arg("--out").arg(&out).args(["--isa", "scalar"]);
    let text = stdout(&mut command);
    let name = "save_infer_model/scale_0.tmp_1";
    assert!(text.contains(name), "{text}");
    let got = depthwise_formats::safetensors::open(&out).unwrap();
    let want = depthwise_formats::safetensors::open(&golden).unwrap();
    let want = want.get(&format!("out/{name}")).unwrap().to_f32().into_owned();
    let got = got.get(name).unwrap().to_f32().into_owned();
    assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 1e-4), "{got:?} {want:?}");
}

#[test]
fn convert_writes_once_unless_forced() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("v3.safetensors");
    let convert = |args: &[&str]| {
        let mut command = depthwise();
        command.args(["convert", "mobilenet-v3-small"]).arg(&out).args(args);
        command
    };
    let text = stdout(&mut convert(&["--half"]));
    assert!(text.contains("safetensors") && text.contains("DepthwiseConv2d"), "{text}");
    let bytes = std::fs::metadata(&out).unwrap().len();
    assert!((5_000_000..6_000_000).contains(&bytes), "2.5 M parameters at 2 bytes, not {bytes}");
    assert!(stderr(&mut convert(&[]), 1).contains("--force"));
    assert_eq!(std::fs::metadata(&out).unwrap().len(), bytes);
    let text = stdout(depthwise().arg("inspect").arg(&out));
    assert!(text.lines().next().unwrap().contains("nodes"), "{text}");
    assert!(stderr(depthwise().args(["convert", "mobilenet-v2", "x.pb"]), 1).contains(".onnx"));
    assert!(stderr(&mut convert(&["--nchw", "--force"]), 1).contains("NHWC"));
}

#[test]
fn an_8_bit_network_names_the_cat() {
    let Some(shared) = depthwise_testkit::shared_dir() else {
        println!("skipped: no ../shared");
        return;
    };
    let mut command = depthwise();
    let model = shared.join("models/tflite/mobilenet_v2_1.0_224_uint8_qat.tflite");
    command.args(["classify", "--json", "--model"]).arg(model);
    let out = stdout(command.arg(shared.join("models/photos/chelsea.png")));
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    let best = &answer["predictions"][0];
    assert!(best["name"].as_str().unwrap().contains("cat"), "{answer}");
    let probability = best["probability"].as_f64().unwrap();
    assert!(probability > 0.2 && probability <= 1.0, "{answer}");
}

#[cfg(feature = "embedded-weights")]
#[test]
fn a_network_quantized_with_three_photos_still_names_the_cat() {
    let folder = tempfile::tempdir().unwrap();
    let (output, empty) = (folder.path().join("small.tflite"), folder.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    let quantize = |pictures: &Path, more: &[&str]| {
        let mut command = depthwise();
        command.args(["quantize", "efficientnet-lite0", "--layers", "0"]).args(more);
        command.arg("--calibrate").arg(pictures).arg("-o").arg(&output);
        command
    };
    assert!(stderr(&mut quantize(&empty, &[]), 1).contains("no pictures"));
    assert!(!output.exists());
    let text = stdout(&mut quantize(&root().join("photos"), &[]));
    assert!(text.contains("TensorFlow Lite") && text.contains("3 calibration samples"), "{text}");
    let mut classify = depthwise();
    classify.args(["classify", "--model"]).arg(&output).arg(root().join("photos/chelsea.png"));
    let text = stdout(&mut classify);
    assert!(text.lines().nth(1).unwrap().contains("cat"), "{text}");
    assert!(stderr(&mut quantize(&root().join("photos"), &[]), 1).contains("--force"));
    let bad = ["--force", "--observer", "percentile", "--percentile", "200"];
    assert!(stderr(&mut quantize(&root().join("photos"), &bad), 1).contains("200"));
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in [
        "classify",
        "detect",
        "segment",
        "landmarks",
        "run",
        "inspect",
        "bench",
        "compare",
        "convert",
        "finetune",
        "evaluate",
        "report",
        "completions",
    ] {
        let text = stdout(depthwise().args([command, "--help"]));
        assert!(text.contains("Example"), "{command}");
    }
    assert!(stdout(depthwise().args(["completions", "bash"])).contains("classify"));
}

/// Two classes of pictures, told apart by their colour: `count` of each.
fn colours(folder: &Path, count: u8) {
    use depthwise_vision::Picture;
    for (class, channel) in [("green", 1), ("red", 0)] {
        std::fs::create_dir_all(folder.join(class)).unwrap();
        for i in 0..count {
            let pixel =
                |p: usize| (0..3).map(move |c| if c == channel { 220 - i } else { (p % 40) as u8 });
            let picture =
                Picture::from_raw(40, 36, (0..40 * 36).flat_map(pixel).collect()).unwrap();
            std::fs::write(folder.join(class).join(format!("{i}.png")), picture.to_png().unwrap())
                .unwrap();
        }
    }
}

#[cfg(feature = "embedded-weights")]
#[test]
fn a_network_is_taught_resumed_evaluated_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    colours(&data, 6);
    std::fs::write(data.join("red/broken.png"), b"no picture").unwrap();
    let model = folder.path().join("colours.safetensors");
    let finetune = |more: &[&str]| {
        let mut command = depthwise();
        command.arg("finetune").arg(&data).arg("-o").arg(&model);
        command.args(["--size", "32", "--epochs", "8", "--lr", "0.01", "--seed", "3"]).args(more);
        command
    };
    let text = stdout(&mut finetune(&["--threads", "2"]));
    assert!(text.contains("accuracy 100.0%") && text.contains("broken.png"), "{text}");
    let first = std::fs::read(&model).unwrap();

    let error = stderr(&mut finetune(&[]), 1);
    assert!(error.contains("--force") && error.contains("--resume"), "{error}");
    // A finished run is only written again; other threads give the same bits.
    stdout(&mut finetune(&["--resume"]));
    assert!(std::fs::read(&model).unwrap() == first);
    stdout(&mut finetune(&["--force", "--threads", "1"]));
    assert!(std::fs::read(&model).unwrap() == first);
    let error = stderr(finetune(&["--resume"]).args(["--batch", "4"]), 1);
    assert!(error.contains("another run"), "{error}");

    let text = stdout(depthwise().arg("evaluate").args([&model, &data]).arg("--json"));
    let metrics: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((metrics["accuracy"].as_f64(), metrics["roc_auc"].as_f64()), (Some(1.0), Some(1.0)));
    assert_eq!(metrics["samples"], 12);
    let text =
        stdout(depthwise().arg("classify").arg("--model").arg(&model).arg(data.join("red/0.png")));
    assert!(text.lines().nth(1).unwrap().contains("red"), "{text}");
    let run = folder.path().join("colours.run");
    std::fs::remove_file(run.join("report.html")).unwrap();
    stdout(depthwise().arg("report").arg(&run));
    assert!(std::fs::read_to_string(run.join("report.html")).unwrap().contains("broken.png"));
}

#[cfg(feature = "embedded-weights")]
#[test]
fn a_small_network_learns_from_scratch_and_from_a_teacher() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    colours(&data, 6);
    let finetune = |output: &str, more: &[&str]| {
        let mut command = depthwise();
        command.arg("finetune").arg(&data).arg("-o").arg(folder.path().join(output));
        command.args(["--size", "32", "--batch", "5", "--seed", "3", "--augment", "flip"]);
        command.args(["--from", "mobilenet-v1:0.25"]).args(more);
        command
    };
    let epochs = ["--tune-epochs", "2", "--tune-lr", "0.01", "--average", "0.5"];
    let epochs = [&epochs[..], &["--adversarial", "4:2", "--schedule", "step=1:0.5"]].concat();
    let text = stdout(finetune("whole.safetensors", &["--threads", "2"]).args(&epochs));
    assert!(text.contains("all layers: 2 epochs") && text.contains("2 epochs;"), "{text}");
    let whole = std::fs::read(folder.path().join("whole.safetensors")).unwrap();
    let error = stderr(
        finetune("whole.safetensors", &["--resume", "--tune-epochs", "1", "--tune-lr", "0.01"])
            .args(["--average", "0.5"]),
        1,
    );
    assert!(error.contains("another run"), "{error}");
    stdout(finetune("whole.safetensors", &["--resume", "--threads", "1"]).args(&epochs));
    assert!(std::fs::read(folder.path().join("whole.safetensors")).unwrap() == whole);

    let teacher = folder.path().join("whole.safetensors");
    let taught = ["--train", "last=2", "--tune-epochs", "1", "--epochs", "1", "--teacher"];
    let text = stdout(finetune("taught.onnx", &taught).arg(&teacher));
    assert!(text.contains("1. the new layer") && text.contains("2. the last 2 layers"), "{text}");
    stdout(depthwise().arg("evaluate").arg(folder.path().join("taught.onnx")).arg(&data));
    let page = std::fs::read_to_string(folder.path().join("taught.run/report.html")).unwrap();
    assert!(page.contains("teacher") && page.contains("last 2 layers"));

    for (args, want) in [
        (&["--teacher", "x.onnx", "--train", "head", "--epochs", "1"][..], "second phase"),
        (&["--train", "nothing.*"], "no parameter is called nothing.*"),
        (&["--init", "nothing=he"], "no weight is called nothing"),
        (&["--train", "head"], "nothing is trained"),
        (&["--from", "mobilenet-v9"], "neither a file nor one of the networks"),
    ] {
        let mut command = depthwise();
        command.arg("finetune").arg(&data).arg("-o").arg(folder.path().join("x.onnx"));
        if !args.contains(&"--from") {
            command.args(["--from", "mobilenet-v1:0.25"]);
        }
        let error = stderr(command.args(["--size", "32"]).args(args), 1);
        assert!(error.contains(want), "{error}");
    }
    let error = stderr(&mut finetune("y.onnx", &["--tune-lr", "1e30", "--optimizer", "sgd"]), 1);
    assert!(error.contains("epoch") && error.contains("lower learning rate"), "{error}");
}

/// Lines of two classes, told apart by a word, and one that is broken.
fn lines(path: &Path, count: usize) {
    let mut text = String::from("no json\n");
    for i in 0..count {
        let (word, label) = if i % 2 == 0 { ("good", "up") } else { ("bad", "down") };
        let fill = ["the film", "a story", "this music", "an end"][i % 4];
        text += &format!("{{\"text\": \"{fill} is {word} {}\", \"label\": \"{label}\"}}\n", i % 3);
    }
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_network_for_text_is_searched_taught_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (folder.path().join("data.jsonl"), folder.path().join("net.safetensors"));
    lines(&data, 40);
    std::fs::write(folder.path().join("words.csv"), "film,movie,picture\n").unwrap();
    let finetune = |output: &str, more: &[&str]| {
        let mut command = depthwise();
        command.arg("finetune").arg(&data).arg("-o").arg(folder.path().join(output));
        command.args(["--length", "6", "--width", "16", "--tune-epochs", "6", "--seed", "1"]);
        command.arg("--synonyms").arg(folder.path().join("words.csv")).args(more);
        command
    };
    let grid = ["--search", "tune-lr=1e-5,0.02:batch=8"];
    let text = stdout(finetune("net.safetensors", &grid).args(["--threads", "2"]));
    assert!(text.contains("1 left out") && text.contains("kept: tune-lr 0.02, batch 8"), "{text}");
    let first = std::fs::read(&model).unwrap();
    stdout(finetune("net.safetensors", &grid).args(["--resume", "--threads", "1"]));
    assert!(std::fs::read(&model).unwrap() == first);
    let page = std::fs::read_to_string(folder.path().join("net.run/report.html")).unwrap();
    assert!(page.contains("line 1") && page.contains("tune-lr 0.00001") | page.contains("1e-5"));

    let text = stdout(depthwise().arg("evaluate").args([&model, &data]).arg("--json"));
    let metrics: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((metrics["accuracy"].as_f64(), metrics["samples"].as_u64()), (Some(1.0), Some(40)));
    // From the model on, and in another format.
    let from = ["--train", "all", "--tune-lr", "0.01", "--batch", "8", "--from"];
    let mut more = depthwise();
    more.arg("finetune").arg(&data).arg("-o").arg(folder.path().join("more.tflite"));
    stdout(more.args(["--epochs", "2", "--tune-epochs", "2"]).args(from).arg(&model));
    for file in ["net.safetensors", "more.tflite"] {
        let mut classify = depthwise();
        classify.arg("classify").arg("--model").arg(folder.path().join(file));
        let text = stdout(classify.args(["--json", "--text", "the movie is bad"]));
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["predictions"][0]["name"], "down", "{text}");
        assert_eq!(answer["text"], "the movie is bad");
    }
    let error = stderr(&mut finetune("x.onnx", &["--adversarial", "8"]), 1);
    assert!(error.contains("texts have none"), "{error}");
    let error = stderr(&mut finetune("x.onnx", &["--search", "seed=1"]), 2);
    assert!(error.contains("cannot be searched"), "{error}");
}

#[cfg(feature = "embedded-weights")]
#[test]
fn data_that_cannot_be_learnt_from_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let finetune = |data: &Path| {
        let mut command = depthwise();
        command.arg("finetune").arg(data).arg("-o").arg(folder.path().join("x.safetensors"));
        stderr(command.args(["--size", "32"]), 1)
    };
    colours(folder.path(), 2);
    let error = finetune(&folder.path().join("red"));
    assert!(error.contains("one per class"), "{error}");
    for i in 0..2 {
        std::fs::write(folder.path().join(format!("green/{i}.png")), b"broken").unwrap();
    }
    let error = finetune(folder.path());
    assert!(error.contains("\"green\" has no readable sample"), "{error}");
}
