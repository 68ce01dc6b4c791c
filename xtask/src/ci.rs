//! `cargo xtask ci`: everything that must pass before a change lands.

use crate::{conformance, counts, tidy, workspace};
use anyhow::{Context, Result, bail, ensure};
use depthwise_kernels::Cpu;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only these steps (may be repeated)
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Leave these steps out (may be repeated)
    #[arg(long, value_name = "STEP")]
    skip: Vec<String>,
    /// Leave out what `cargo test --workspace` has just run
    #[arg(long)]
    after_tests: bool,
    /// Print the steps
    #[arg(long)]
    list: bool,
}

/// What a step comes back with when nothing failed.
enum Outcome {
    Passed,
    /// The machine lacks what the step needs.
    Skipped(String),
}

struct Step {
    name: String,
    what: &'static str,
    run: Box<dyn Fn() -> Result<Outcome>>,
}

impl Step {
    fn new(
        name: impl Into<String>,
        what: &'static str,
        run: impl Fn() -> Result<Outcome> + 'static,
    ) -> Step {
        Step { name: name.into(), what, run: Box::new(run) }
    }

    /// A step that is one cargo command.
    fn cargo(name: impl Into<String>, what: &'static str, args: &'static str) -> Step {
        Step::new(name, what, move || cargo(args, &[]))
    }
}

/// All steps, cheap ones first; those that share build artifacts stand together.
fn steps(after_tests: bool) -> Vec<Step> {
    let mut steps = vec![
        Step::cargo("fmt", "rustfmt changes nothing", "fmt --all --check"),
        Step::new("tidy", "the rules of the house", || {
            tidy::run(&tidy::Args::default()).map(|()| Outcome::Passed)
        }),
    ];
    let best = Cpu::detect();
    let levels = best.levels().filter(|cpu| !after_tests || *cpu != best);
    for level in levels.map(|cpu| cpu.isa().name()) {
        steps.push(Step::new(format!("test-{level}"), "tests with this ISA level", move || {
            cargo("test --workspace --lib --bins --tests", &[("DEPTHWISE_ISA", level)])
        }));
    }
    if !after_tests {
        steps.push(Step::cargo(
            "doctest",
            "examples in the documentation",
            "test --workspace --doc",
        ));
    }
    steps.extend([
        Step::new("examples", "the engine's examples run", examples),
        Step::new("counts", "the hot kernels take no more instructions than before", || {
            if !cfg!(target_arch = "x86_64") {
                return Ok(Outcome::Skipped("the counts are those of x86-64".into()));
            }
            counts::run(&counts::Args::default()).map(|()| Outcome::Passed)
        }),
        Step::new("conformance", "no case of the ONNX package is lost", || {
            conformance::run(&conformance::Args::default()).map(|()| Outcome::Passed)
        }),
        Step::cargo(
            "clippy",
            "no lint of clippy or rustc",
            "clippy --workspace --all-targets -- -D warnings",
        ),
        Step::new("doc", "documentation without a warning", || {
            cargo("doc --workspace --no-deps", &[("RUSTDOCFLAGS", "-D warnings")])
        }),
        Step::new("aarch64", "kernels on NEON, emulated", || {
            aarch64("--package depthwise-kernels --lib")
        }),
        Step::new("aarch64-engine", "networks on NEON, emulated", || {
            // Those tests that run networks: the others are the same on every CPU.
            let tests = "--test cases --test fusion --test oracle --test quantized";
            aarch64(&format!("--package depthwise-engine {tests}"))
        }),
    ]);
    steps
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut steps = steps(args.after_tests);
    if let Some(name) =
        args.only.iter().chain(&args.skip).find(|n| steps.iter().all(|s| s.name != **n))
    {
        bail!("no step {name}; see cargo xtask ci --list");
    }
    steps.retain(|s| args.only.is_empty() || args.only.contains(&s.name));
    steps.retain(|s| !args.skip.contains(&s.name));
    if args.list {
        steps.iter().for_each(|step| println!("{:14} {}", step.name, step.what));
        return Ok(());
    }
    // A machine that is meant to check everything may not lack anything.
    let strict = std::env::var("CI").is_ok_and(|ci| !ci.is_empty() && ci != "false");
    let mut table = workspace::table(&["step", "seconds", "result", ""], &[1]);
    let mut failed = Vec::new();
    let begin = Instant::now();
    for step in &steps {
        eprintln!("\n==> {}: {}", step.name, step.what);
        let start = Instant::now();
        let (result, why) = match (step.run)() {
            Ok(Outcome::Passed) => ("passed", String::new()),
            Ok(Outcome::Skipped(why)) if !strict => ("SKIPPED", why),
            Ok(Outcome::Skipped(why)) => {
                ("FAILED", format!("skipped, which CI=true forbids: {why}"))
            }
            Err(error) => ("FAILED", format!("{error:#}")),
        };
        if result == "FAILED" {
            eprintln!("==> {}: FAILED: {why}", step.name);
            failed.push(step.name.as_str());
        }
        table.add_row([step.name.clone(), seconds(start.elapsed()), result.into(), why]);
    }
    table.add_row(["all".into(), seconds(begin.elapsed()), String::new(), String::new()]);
    println!("\n{}", table.trim_fmt());
    for isa in depthwise_kernels::Isa::ALL {
        if !Cpu::detect().supports(isa) && isa != depthwise_kernels::Isa::Neon {
            println!("not tested: {isa}, which this CPU lacks");
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64())
}

fn cargo(args: &str, env: &[(&str, &str)]) -> Result<Outcome> {
    let mut command = workspace::cargo();
    command.args(args.split(' ')).envs(env.iter().copied());
    check(&mut command)
}

/// Runs a command to its end; a failure names it.
fn check(command: &mut Command) -> Result<Outcome> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(Outcome::Passed)
}

/// Runs every example of the engine without arguments and without input: each must do something
/// useful with what the repository holds, and end well.
fn examples() -> Result<Outcome> {
    let folder = workspace::root().join("crates/engine/examples");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let source = path.extension()? == "rs";
            source.then(|| path.file_stem()?.to_str().map(str::to_owned))?
        })
        .collect();
    names.sort();
    ensure!(!names.is_empty(), "no example in {}", folder.display());
    // Built with the rest of the workspace, as the tests were: `run --package` would choose other
    // features for the dependencies, and compile them again.
    cargo("build --workspace --examples", &[])?;
    for name in names {
        let mut command = Command::new(workspace::target().join("debug/examples").join(name));
        check(command.current_dir(workspace::root()).stdin(Stdio::null()))?;
    }
    Ok(Outcome::Passed)
}

/// Tests built for AArch64 by Debian's toolchain and run by qemu.
fn aarch64(tests: &str) -> Result<Outcome> {
    for tool in ["apt-get", "dpkg-deb"] {
        if Command::new(tool).arg("--version").stdout(Stdio::null()).status().is_err() {
            return Ok(Outcome::Skipped(format!("no {tool} on this machine")));
        }
    }
    if !cfg!(target_arch = "x86_64") {
        return Ok(Outcome::Skipped("the tools are for amd64".into()));
    }
    let target = workspace::target();
    let tools = target.join("aarch64-tools");
    check(
        Command::new("bash")
            .arg("tools/setup-aarch64.sh")
            .arg(&tools)
            .current_dir(workspace::root()),
    )?;
    let script = ". \"$1/env.sh\"; shift; exec \"$@\"";
    let mut command = Command::new("bash");
    command.current_dir(workspace::root()).args(["-c", script, "bash"]).arg(&tools);
    // A target folder of its own: another rustc would throw away what is in the other one.
    command.arg(workspace::cargo().get_program()).env("CARGO_TARGET_DIR", target.join("aarch64"));
    command.args("test --target aarch64-unknown-linux-gnu".split(' '));
    command.args(tests.split(' '));
    // Emulated, the tests of kernels wait for the compiler more than for themselves.
    command.args(["--config", "profile.dev.package.depthwise-kernels.opt-level=1"]);
    check(command.env_remove("RUSTFLAGS").env_remove("DEPTHWISE_ISA"))
}
