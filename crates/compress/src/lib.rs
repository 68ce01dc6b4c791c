//! Networks of real numbers to networks of 8-bit integers, after training: what `docs/quantization.md`
//! calls calibration.
//!
//! ```no_run
//! use depthwise_compress::{Calibrated, Options, Sample, compare};
//! use depthwise_engine::{Graph, formats};
//!
//! # fn photos() -> Vec<Sample> { Vec::new() }
//! let graph: Graph = formats::open("mobilenet.onnx")?;
//! let samples: Vec<Sample> = photos();
//! let options = Options::default();
//! let calibrated = Calibrated::new(graph.clone(), &samples, options, &mut |_, _, _| {})?;
//! let quantized = calibrated.quantized()?;
//! formats::save(&quantized, "mobilenet.int8.tflite", &Default::default())?;
//! let engine = depthwise_engine::Options::default();
//! let found = compare(&graph, &quantized, &samples, &engine, &mut |_, _, _| {})?;
//! println!("{} of {} answers agree", found.top1.0, found.top1.1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A quantized network is a network of real numbers with a `Quantize` and a `Dequantize` around every
//! value that is to be integers, so that all formats can hold it and the interpreter can run it; the
//! engine's pass `fold-quantized` makes integer layers of it.
#![forbid(unsafe_code)]

mod channels;
mod compare;
mod equalize;
mod error;
mod insert;
mod observe;
mod prepare;
mod quantizer;
mod range;
mod samples;
mod scale;
mod scheme;
#[cfg(test)]
mod tests;

pub use compare::{Agreement, compare};
pub use error::CompressError;
pub use quantizer::{Calibrated, LayerSensitivity, Options, Ports};
pub use range::Observer;
pub use samples::{Sample, Samples};
pub use scale::{Range, Scale};

/// Is told what is going on, how many parts of it are done, and how many there are.
pub type Progress<'a> = dyn FnMut(&'static str, usize, usize) + 'a;
