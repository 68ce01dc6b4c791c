//! Times one model for a driver that compares engines.
//!
//! `peer_worker MODEL THREADS`: prints `READY {json}` once the model has run, then answers lines
//! on standard input: `run WARM N` with N latencies in nanoseconds, `out` with the first 8 outputs,
//! `mem` with memory figures; anything else ends it. `DEPTHWISE_ISA` caps the kernels. The input
//! is a fixed ramp over NHWC positions, turned to NCHW where the model has three channels first, and
//! to integers where the model takes those.

use depthwise_engine::{DType, Model, Options, Session};
use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(path), Some(threads)) = (args.next(), args.next()) else {
        println!("usage: peer_worker MODEL THREADS");
        return Ok(());
    };
    let threads = threads.parse()?;
    let start = Instant::now();
    let model = Model::open_with(path, Options::with_threads(threads))?;
    let mut session = model.session()?;
    let load = start.elapsed().as_secs_f64() * 1e3;
    let loaded_kb = status_kb("VmRSS:");
    fill(&model, &mut session)?;
    let start = Instant::now();
    session.run();
    let first = start.elapsed().as_secs_f64() * 1e3;
    let (rss, peak) = (status_kb("VmRSS:"), status_kb("VmHWM:"));
    println!(
        "READY {{\"load_ms\":{load:.3},\"first_ms\":{first:.3},\"rss_loaded_kb\":{loaded_kb},\
         \"rss_kb\":{rss},\"hwm_kb\":{peak}}}"
    );
    std::io::stdout().flush()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["run", warm, runs] => {
                for _ in 0..warm.parse()? {
                    session.run();
                }
                let times: Vec<String> = (0..runs.parse::<usize>()?)
                    .map(|_| {
                        let start = Instant::now();
                        session.run();
                        start.elapsed().as_nanos().to_string()
                    })
                    .collect();
                println!("[{}]", times.join(","));
            }
            ["out"] => {
                let text: Vec<String> =
                    first_outputs(&model, &session)?.iter().map(f32::to_string).collect();
                println!("[{}]", text.join(","));
            }
            ["mem"] => {
                let (rss, peak) = (status_kb("VmRSS:"), status_kb("VmHWM:"));
                println!("{{\"rss_kb\":{rss},\"hwm_kb\":{peak}}}");
            }
            _ => break,
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Fills the first input with the ramp.
fn fill(model: &Model, session: &mut Session) -> Result<(), Box<dyn Error>> {
    let (_, ty) = session.plan().inputs().next().ok_or("the model has no input")?;
    let (dims, dtype) = (ty.shape, ty.dtype);
    let nchw = dims.rank() == 4 && dims[1] == 3 && dims[3] != 3;
    let [h, w, c] = if nchw { [dims[2], dims[3], dims[1]] } else { [dims[1], dims[2], dims[3]] };
    let ramp = (0..h * w * c).map(|i| {
        let (pixel, channel) = (i / c, i % c);
        let at = if nchw { channel * h * w + pixel } else { i };
        (at, (i * 7919 % 1009) as f32 / 504.5 - 1.0)
    });
    let scale = || model.input_quantization(0).ok_or("the input has no scale");
    match dtype {
        DType::I8 => {
            let (scale, data) = (scale()?, session.input_mut::<i8>(0)?);
            ramp.for_each(|(at, x)| data[at] = scale.nearest_i8(x));
        }
        DType::U8 => {
            let (scale, data) = (scale()?, session.input_mut::<u8>(0)?);
            ramp.for_each(|(at, x)| data[at] = scale.nearest_u8(x));
        }
        _ => {
            let data = session.input_mut::<f32>(0)?;
            ramp.for_each(|(at, x)| data[at] = x);
        }
    }
    Ok(())
}

/// The first elements of the first output, as real numbers.
fn first_outputs(model: &Model, session: &Session) -> Result<Vec<f32>, Box<dyn Error>> {
    let (_, ty) = session.plan().outputs().next().ok_or("the model has no output")?;
    let integers: Vec<i32> = match ty.dtype {
        DType::I8 => session.output::<i8>(0)?.iter().take(8).map(|&q| q.into()).collect(),
        DType::U8 => session.output::<u8>(0)?.iter().take(8).map(|&q| q.into()).collect(),
        _ => return Ok(session.output::<f32>(0)?.iter().take(8).copied().collect()),
    };
    let scale = model.output_quantization(0).ok_or("the output has no scale")?;
    Ok(integers.into_iter().map(|q| scale.real(q)).collect())
}

/// A line of the process's status in KiB; 0 where the system has no such file.
fn status_kb(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with(key)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}
