//! What a comparison needs: the other engines in an environment of their own, the networks as files,
//! and our worker.

use crate::bench::done;
use crate::workspace;
use anyhow::{Context, Result, ensure};
use depthwise_benches::shapes::Net;
use depthwise_kernels::{Cpu, Isa};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The other engines, as `pip` finds them.
pub(super) const PACKAGES: [&str; 5] = [
    "onnxruntime==1.32.0",
    "ai-edge-litert==2.3.0",
    "openvino==2026.4.1",
    "numpy==2.4.6",
    "onnx==1.23.2",
];
/// What the generator of `.tflite` files needs beyond them.
const TENSORFLOW: &str = "tensorflow-cpu==2.21.0";

#[derive(clap::Args)]
pub(crate) struct PeerArgs {
    /// Compare with ONNX Runtime, LiteRT and OpenVINO, which pip installs below target/
    #[arg(long)]
    pub(crate) peers: bool,
    /// With --peers: the networks in 8-bit integers; ONNX Runtime and OpenVINO read ONNX files with
    /// activations of u8 or i8, LiteRT and this engine TFLite files, this engine also the former
    #[arg(long, requires = "peers")]
    pub(crate) int8: bool,
    /// With --peers: a folder of NAME.onnx and NAME.tflite (8 bits: NAME_qdq_u8s8.onnx,
    /// NAME_qdq_s8s8.onnx, NAME_int8.tflite); made by ../shared/tools/peers unless given
    #[arg(long, value_name = "DIR", requires = "peers")]
    models: Option<PathBuf>,
    /// With --peers: a Python that has ONNX Runtime and OpenVINO already
    #[arg(long, value_name = "FILE", requires = "peers")]
    python: Option<PathBuf>,
    /// With --peers: a Python that has LiteRT already; --python unless given
    #[arg(long, value_name = "FILE", requires = "peers")]
    litert_python: Option<PathBuf>,
}

/// How to start an engine on a model; the number of threads comes last.
pub(super) struct Engine {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(&'static str, &'static str)>,
}

pub(super) struct Setup {
    /// Networks in 8-bit integers.
    pub(super) int8: bool,
    models: PathBuf,
    python: PathBuf,
    litert_python: PathBuf,
    worker: PathBuf,
    ours: PathBuf,
}

impl Setup {
    pub(super) fn new(args: &PeerArgs, nets: &[Net]) -> Result<Setup> {
        let target = workspace::root().join("target/peers");
        std::fs::create_dir_all(&target).with_context(|| target.display().to_string())?;
        let python = match &args.python {
            Some(python) => python.clone(),
            None => environment(&target.join("engines"), &PACKAGES)?,
        };
        let litert_python = args.litert_python.clone().unwrap_or_else(|| python.clone());
        let models = match &args.models {
            Some(models) => models.clone(),
            None => generated_models(&target, &python, nets, args.int8)?,
        };
        let worker = workspace::root().join("xtask/peers/worker.py");
        let int8 = args.int8;
        Ok(Setup { int8, models, python, litert_python, worker, ours: our_worker()? })
    }

    /// The engines that have a file of this network; ours first, at AVX2 as well where the CPU has
    /// more.
    pub(super) fn engines(&self, net: &str) -> Vec<Engine> {
        let file = |ending: &str| self.models.join(format!("{net}{ending}"));
        let python = |engine: &str, of: &str, python: &Path, model: &Path| Engine {
            name: format!("{engine}{of}"),
            program: python.to_owned(),
            args: vec![self.worker.clone().into(), engine.into(), model.into()],
            env: Vec::new(),
        };
        let ours = |name: &str, model: PathBuf, env: Vec<(&'static str, &'static str)>| Engine {
            name: name.to_owned(),
            program: self.ours.clone(),
            args: vec![model.into()],
            env,
        };
        let (tflite, onnx, own) = match self.int8 {
            true => (file("_int8.tflite"), file("_qdq_u8s8.onnx"), file("_int8.tflite")),
            false => (file(".tflite"), file(".onnx"), file(".onnx")),
        };
        let mut engines = vec![ours("depthwise", own.clone(), Vec::new())];
        if Cpu::detect().isa() == Isa::Avx512 {
            engines.push(ours("depthwise avx2", own, vec![("DEPTHWISE_ISA", "avx2")]));
        }
        if tflite.is_file() {
            engines.push(python("litert", "", &self.litert_python, &tflite));
        } else {
            done(&format!("litert: skipped, there is no {}", tflite.display()));
        }
        if self.int8 {
            engines.push(ours("depthwise u8s8", onnx.clone(), Vec::new()));
            let signed = file("_qdq_s8s8.onnx");
            engines.push(python("onnxruntime", " s8s8", &self.python, &signed));
        }
        let of = if self.int8 { " u8s8" } else { "" };
        for engine in ["onnxruntime", "openvino"] {
            engines.push(python(engine, of, &self.python, &onnx));
        }
        engines
    }
}

/// A Python environment with these packages, made where it is not there yet.
pub(crate) fn environment(folder: &Path, packages: &[&str]) -> Result<PathBuf> {
    let python = folder.join("bin/python");
    let stamp = folder.join("packages");
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(python);
    }
    done(&format!("pip: installing {} into {}", packages.join(", "), folder.display()));
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages))?;
    std::fs::write(&stamp, wanted).with_context(|| stamp.display().to_string())?;
    Ok(python)
}

/// The networks as files, from the generator beside the repository.
fn generated_models(target: &Path, python: &Path, nets: &[Net], int8: bool) -> Result<PathBuf> {
    let models = target.join("models");
    let complete = |ending: &str| {
        nets.iter().all(|net| models.join(format!("{}{ending}", net.name)).is_file())
    };
    let quantized = || !int8 || complete("_qdq_u8s8.onnx") && complete("_qdq_s8s8.onnx");
    let generator = workspace::root().join("../shared/tools/peers/gen_models.py");
    if !complete(".onnx") || !complete(".tflite") || !quantized() {
        ensure!(
            generator.is_file(),
            "there is no ../shared/tools/peers to make the networks with; give a folder of NAME.onnx \
             and NAME.tflite with --models"
        );
    }
    if !complete(".onnx") {
        done("making the networks as ONNX files");
        run(Command::new(python).arg(&generator).arg(&models).arg("--onnx"))?;
    }
    if !quantized() {
        done("making the networks as quantized ONNX files");
        run(Command::new(python).arg(&generator).arg(&models).arg("--qdq"))?;
    }
    if !complete(".tflite") {
        let tensorflow =
            environment(&target.join("tensorflow"), &[TENSORFLOW, PACKAGES[1], PACKAGES[4]])?;
        done("making the networks as TFLite files");
        run(Command::new(tensorflow).arg(&generator).arg(&models).arg("--tflite"))?;
    }
    Ok(models)
}

/// Builds the example of the engine that speaks the workers' protocol.
fn our_worker() -> Result<PathBuf> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--release", "--quiet", "--package", "depthwise-engine"]);
    run(cargo.args(["--example", "peer_worker"]))?;
    // Beside this program: xtask was built by the same profile.
    let here = std::env::current_exe()?;
    let worker = here.with_file_name("examples").join("peer_worker");
    ensure!(worker.is_file(), "cargo built no {}", worker.display());
    Ok(worker)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {:?}", command.get_program()))?;
    let text = [output.stdout, output.stderr].concat();
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&text).trim()
    );
    Ok(())
}

/// Whether a process can be bound to a core.
pub(super) fn has_taskset() -> bool {
    let mut command = Command::new("taskset");
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
