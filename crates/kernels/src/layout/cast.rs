//! Change of element type.

use super::view::View;
use super::walk::Walk;
use crate::operator::{Io, KernelError, Operator};
use bytemuck::{Pod, Zeroable};
use depthwise_tensor::DType;
use half::{bf16, f16};

/// Converts `len` elements.
type CastRun = unsafe fn(usize, *mut u8, *const u8);

/// Every element converted to another type.
///
/// Floats to integers truncate toward zero and saturate, NaN gives 0; integers to narrower ones
/// keep the low bits; to truth values non-zero is true; to narrower floats rounds to nearest even.
#[derive(Debug)]
pub struct CastOp {
    run: CastRun,
    sizes: [usize; 2],
    walk: Walk<2>,
    chunks: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

impl CastOp {
    /// The operator for views of the same shape.
    ///
    /// # Errors
    /// [`KernelError`] where the shapes differ, a view cannot be, or for a type without a
    /// conversion.
    pub fn new(
        from: DType,
        to: DType,
        input: View,
        out: View,
        threads: usize,
    ) -> Result<CastOp, KernelError> {
        let kernel = "cast";
        if input.shape != out.shape {
            let reason = format!("{} cannot become {}", input.shape, out.shape);
            return Err(KernelError::Invalid { kernel, reason });
        }
        let Some(run) = cast_run(from, to) else {
            let reason = format!("{from} to {to}");
            return Err(KernelError::Unsupported { kernel, reason });
        };
        let walk = Walk::broadcast(kernel, [&out, &input])?;
        let sizes = [to.size_bytes(), from.size_bytes()];
        Ok(CastOp {
            run,
            sizes,
            chunks: walk.chunks(sizes[0] + sizes[1], threads),
            walk,
            input_bytes: [input.len() * sizes[1]],
            output_bytes: [out.len() * sizes[0]],
        })
    }
}

// SAFETY: a walk stays inside its views, whose lengths are declared, and its chunks are apart.
unsafe impl Operator for CastOp {
    fn kernel(&self) -> &'static str {
        "cast"
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn chunks(&self) -> usize {
        self.chunks
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        let (y, x) = (io.output::<u8>(0), io.input::<u8>(0));
        self.walk.chunk(self.chunks, chunk, |piece| {
            for row in 0..piece.rows as isize {
                let at = |i: usize| {
                    (piece.offsets[i] + row * self.walk.rows.strides[i]) * self.sizes[i] as isize
                };
                // SAFETY: the row lies in both views. Without broadcasting its elements follow
                // each other in both.
                unsafe { (self.run)(piece.run, y.offset(at(0)), x.offset(at(1))) };
            }
        });
    }
}

/// The loop from one type to another.
fn cast_run(from: DType, to: DType) -> Option<CastRun> {
    macro_rules! with_type {
        ($dtype:expr, $T:ident => $body:expr) => {
            match $dtype {
                DType::F64 => {
                    type $T = f64;
                    $body
                }
                DType::F32 => {
                    type $T = f32;
                    $body
                }
                DType::F16 => {
                    type $T = f16;
                    $body
                }
                DType::Bf16 => {
                    type $T = bf16;
                    $body
                }
                DType::I64 => {
                    type $T = i64;
                    $body
                }
                DType::I32 => {
                    type $T = i32;
                    $body
                }
                DType::I16 => {
                    type $T = i16;
                    $body
                }
                DType::I8 => {
                    type $T = i8;
                    $body
                }
                DType::U8 => {
                    type $T = u8;
                    $body
                }
                DType::Bool => {
                    type $T = Truth;
                    $body
                }
                _ => return None,
            }
        };
    }
    Some(with_type!(from, A => with_type!(to, B => convert_run::<A, B> as CastRun)))
}

/// # Safety
/// `x` has `len` elements of `A`, `y` room for as many of `B`; they do not overlap.
unsafe fn convert_run<A: Number, B: Number>(len: usize, y: *mut u8, x: *const u8) {
    let (y, x) = (y.cast::<B>(), x.cast::<A>());
    for i in 0..len {
        // SAFETY: `i < len`.
        unsafe { y.add(i).write_unaligned(B::from_wide(x.add(i).read_unaligned().wide())) };
    }
}

/// A value of any type, without loss.
#[derive(Clone, Copy)]
enum Wide {
    Int(i64),
    Single(f32),
    Double(f64),
}

/// The storage of an element that is a number.
trait Number: Pod {
    fn wide(self) -> Wide;
    fn from_wide(value: Wide) -> Self;
}

macro_rules! numbers {
    ($wide:ident: $($t:ty),*) => {
        $(impl Number for $t {
            #[inline(always)]
            fn wide(self) -> Wide {
                Wide::$wide(self.into())
            }
            #[inline(always)]
            fn from_wide(value: Wide) -> $t {
                match value {
                    Wide::Int(value) => value as $t,
                    Wide::Single(value) => value as $t,
                    Wide::Double(value) => value as $t,
                }
            }
        })*
    };
}
numbers!(Double: f64);
numbers!(Single: f32);
numbers!(Int: i64, i32, i16, i8, u8);

macro_rules! halves {
    ($($t:ty),*) => {
        $(impl Number for $t {
            #[inline(always)]
            fn wide(self) -> Wide {
                Wide::Single(self.to_f32())
            }
            #[inline(always)]
            fn from_wide(value: Wide) -> $t {
                <$t>::from_f32(match value {
                    Wide::Int(value) => round_to_odd(value as f64),
                    Wide::Single(value) => value,
                    Wide::Double(value) => round_to_odd(value),
                })
            }
        })*
    };
}
halves!(f16, bf16);

/// A truth value: one byte.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(transparent)]
struct Truth(u8);

impl Number for Truth {
    #[inline(always)]
    fn wide(self) -> Wide {
        Wide::Int((self.0 != 0).into())
    }
    #[inline(always)]
    fn from_wide(value: Wide) -> Truth {
        Truth(match value {
            Wide::Int(value) => value != 0,
            Wide::Single(value) => value != 0.0,
            Wide::Double(value) => value != 0.0,
        } as u8)
    }
}

/// The `f32` to which rounding a second time does no harm (Boldo and Melquiond 2008): toward zero,
/// with the last bit set where anything was lost.
fn round_to_odd(x: f64) -> f32 {
    let near = x as f32;
    let back = f64::from(near);
    if back == x || x.is_nan() {
        return near;
    }
    let toward_zero = if back.abs() > x.abs() { near.to_bits() - 1 } else { near.to_bits() };
    f32::from_bits(toward_zero | 1)
}
