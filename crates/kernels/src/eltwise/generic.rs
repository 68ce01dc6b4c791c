//! Loops over rows at any vector width.

use super::functions::{BinaryOp, Function1, Function2, UnaryOp, Visit1, Visit2, visit_activation};
use depthwise_tensor::Activation;
use pulp::Simd;

/// Elements that the scalar bodies take at a time: a local array, so that the compiler can
/// vectorise although output and input may be the same memory.
const BLOCK: usize = 16;

/// Elements after which a second pass goes over what the first has just written: half of L1.
const PASS: usize = 4096;

/// Rows to go over: how many, how long, and from one to the next in elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowSpan<const N: usize> {
    pub(crate) rows: usize,
    pub(crate) len: usize,
    /// Output first, then the inputs.
    pub(crate) strides: [isize; N],
}

/// `y[r][i] = f(x[r][i])`
///
/// # Safety
/// - Row `r` of `y` and of `x` has `len` valid elements from `r * strides` on.
/// - `y` overlaps nothing else, but may be `x` with the same stride.
/// - `simd` is a token of instructions that the caller is compiled for.
#[inline(always)]
pub(crate) unsafe fn unary<S: Simd>(
    simd: S,
    op: UnaryOp,
    span: RowSpan<2>,
    y: *mut f32,
    x: *const f32,
) {
    op.visit(UnaryRows { simd, span, y, x });
}

struct UnaryRows<S> {
    simd: S,
    span: RowSpan<2>,
    y: *mut f32,
    x: *const f32,
}

impl<S: Simd> Visit1 for UnaryRows<S> {
    #[inline(always)]
    fn visit<F: Function1>(self, f: F) {
        let UnaryRows { simd, span, y, x } = self;
        for row in 0..span.rows as isize {
            // SAFETY: rows lie in the operands, as `unary` and `activate` ask for.
            unsafe {
                let (y, x) = (y.offset(row * span.strides[0]), x.offset(row * span.strides[1]));
                map_run(simd, f, span.len, y, x);
            }
        }
    }
}

/// `y = f(x)`, `len` elements. No reads or writes outside them; `y` may be `x`.
///
/// # Safety
/// As [`unary`], for one row.
#[inline(always)]
unsafe fn map_run<S: Simd, F: Function1>(simd: S, f: F, len: usize, y: *mut f32, x: *const f32) {
    let lanes = S::F32_LANES;
    if S::IS_SCALAR {
        let blocks = len / BLOCK;
        for i in 0..blocks {
            let mut block = [0f32; BLOCK];
            // SAFETY: block `i` ends at or before `len`.
            unsafe {
                x.add(i * BLOCK).copy_to_nonoverlapping(block.as_mut_ptr(), BLOCK);
                for lane in &mut block {
                    *lane = lane_of::<S>(f.call(simd, simd.splat_f32s(*lane)));
                }
                y.add(i * BLOCK).copy_from_nonoverlapping(block.as_ptr(), BLOCK);
            }
        }
        for i in blocks * BLOCK..len {
            // SAFETY: `i < len`.
            unsafe { *y.add(i) = lane_of::<S>(f.call(simd, simd.splat_f32s(*x.add(i)))) };
        }
    } else if len >= lanes {
        // SAFETY: all vectors lie in `len`. The last one may overlap the one before it; it is
        // computed first, so that also in place every element is read before it is written.
        unsafe {
            let last = f.call(simd, load::<S>(x.add(len - lanes)));
            for i in 0..len / lanes {
                store::<S>(y.add(i * lanes), f.call(simd, load::<S>(x.add(i * lanes))));
            }
            store::<S>(y.add(len - lanes), last);
        }
    } else {
        let mut buffer = [0f32; BLOCK];
        // SAFETY: `len` is below the length of the buffer.
        unsafe {
            x.copy_to_nonoverlapping(buffer.as_mut_ptr(), len);
            let v = f.call(simd, load::<S>(buffer.as_ptr()));
            store::<S>(buffer.as_mut_ptr(), v);
            y.copy_from_nonoverlapping(buffer.as_ptr(), len);
        }
    }
}

/// `y[r][i] = activation(f(a[r][i], b[r][i]))`; an operand whose flag in `vector` is false has one
/// element per row.
///
/// # Safety
/// - Row `r` of `y` and of operands with `vector` has `len` valid elements from `r * strides` on,
///   other operands one.
/// - `y` overlaps nothing else, but may be an operand with `vector` and the same stride.
/// - `simd` is a token of instructions that the caller is compiled for.
#[inline(always)]
pub(crate) unsafe fn binary<S: Simd>(
    simd: S,
    op: BinaryOp,
    activation: Activation,
    span: RowSpan<3>,
    vector: [bool; 2],
    y: *mut f32,
    [a, b]: [*const f32; 2],
) {
    if activation == Activation::Identity {
        return op.visit(BinaryRows { simd, span, vector, y, a, b });
    }
    // The activation goes over what still lies in L1.
    let (rows, len) = if span.len >= PASS { (1, PASS) } else { (PASS / span.len.max(1), span.len) };
    for row in (0..span.rows).step_by(rows) {
        for start in (0..span.len).step_by(len) {
            let part =
                RowSpan { rows: rows.min(span.rows - row), len: len.min(span.len - start), ..span };
            let at = |i: usize, vector: bool| {
                row as isize * span.strides[i] + if vector { start as isize } else { 0 }
            };
            // SAFETY: the part lies in the rows of the operands.
            unsafe {
                let y = y.offset(at(0, true));
                let (a, b) = (a.offset(at(1, vector[0])), b.offset(at(2, vector[1])));
                op.visit(BinaryRows { simd, span: part, vector, y, a, b });
                let stride = span.strides[0];
                let span = RowSpan { rows: part.rows, len: part.len, strides: [stride, stride] };
                visit_activation(activation, UnaryRows { simd, span, y, x: y });
            }
        }
    }
}

struct BinaryRows<S> {
    simd: S,
    span: RowSpan<3>,
    vector: [bool; 2],
    y: *mut f32,
    a: *const f32,
    b: *const f32,
}

impl<S: Simd> Visit2 for BinaryRows<S> {
    #[inline(always)]
    fn visit<F: Function2>(self, f: F) {
        // SAFETY: rows lie in the operands, as `binary` asks for.
        unsafe {
            match self.vector {
                [true, true] => self.rows::<F, true, true>(f),
                [true, false] => self.rows::<F, true, false>(f),
                [false, true] => self.rows::<F, false, true>(f),
                [false, false] => self.rows::<F, false, false>(f),
            }
        }
    }
}

impl<S: Simd> BinaryRows<S> {
    /// # Safety
    /// As [`binary`].
    #[inline(always)]
    unsafe fn rows<F: Function2, const A: bool, const B: bool>(self, f: F) {
        let strides = self.span.strides;
        for row in 0..self.span.rows as isize {
            // SAFETY: rows lie in the operands.
            unsafe {
                let y = self.y.offset(row * strides[0]);
                let a = self.a.offset(row * strides[1]);
                let b = self.b.offset(row * strides[2]);
                zip_run::<S, F, A, B>(self.simd, f, self.span.len, y, a, b);
            }
        }
    }
}

/// `y = f(a, b)`, `len` elements; `A` and `B` tell vectors from single elements.
///
/// # Safety
/// As [`binary`], for one row.
#[inline(always)]
unsafe fn zip_run<S: Simd, F: Function2, const A: bool, const B: bool>(
    simd: S,
    f: F,
    len: usize,
    y: *mut f32,
    a: *const f32,
    b: *const f32,
) {
    let lanes = S::F32_LANES;
    if len == 0 {
        return;
    }
    // SAFETY: there is at least one element. Read now: in place, it may be overwritten below.
    let (first_a, first_b) = unsafe { (simd.splat_f32s(*a), simd.splat_f32s(*b)) };
    if S::IS_SCALAR {
        let blocks = len / BLOCK;
        for i in 0..blocks {
            let (mut left, mut right) = ([0f32; BLOCK], [0f32; BLOCK]);
            // SAFETY: block `i` ends at or before `len`.
            unsafe {
                if A {
                    a.add(i * BLOCK).copy_to_nonoverlapping(left.as_mut_ptr(), BLOCK);
                }
                if B {
                    b.add(i * BLOCK).copy_to_nonoverlapping(right.as_mut_ptr(), BLOCK);
                }
                for (left, right) in left.iter_mut().zip(right) {
                    let a = if A { simd.splat_f32s(*left) } else { first_a };
                    let b = if B { simd.splat_f32s(right) } else { first_b };
                    *left = lane_of::<S>(f.call(simd, a, b));
                }
                y.add(i * BLOCK).copy_from_nonoverlapping(left.as_ptr(), BLOCK);
            }
        }
        for i in blocks * BLOCK..len {
            // SAFETY: `i < len`.
            unsafe {
                let a = if A { simd.splat_f32s(*a.add(i)) } else { first_a };
                let b = if B { simd.splat_f32s(*b.add(i)) } else { first_b };
                *y.add(i) = lane_of::<S>(f.call(simd, a, b));
            }
        }
    } else if len >= lanes {
        // SAFETY: as in `map_run`.
        unsafe {
            let at = |i: usize| {
                let a = if A { load::<S>(a.add(i)) } else { first_a };
                let b = if B { load::<S>(b.add(i)) } else { first_b };
                (a, b)
            };
            let (last_a, last_b) = at(len - lanes);
            let last = f.call(simd, last_a, last_b);
            for i in 0..len / lanes {
                let (a, b) = at(i * lanes);
                store::<S>(y.add(i * lanes), f.call(simd, a, b));
            }
            store::<S>(y.add(len - lanes), last);
        }
    } else {
        let (mut left, mut right) = ([0f32; BLOCK], [0f32; BLOCK]);
        // SAFETY: `len` is below the length of the buffers.
        unsafe {
            a.copy_to_nonoverlapping(left.as_mut_ptr(), if A { len } else { 1 });
            b.copy_to_nonoverlapping(right.as_mut_ptr(), if B { len } else { 1 });
            let a = if A { load::<S>(left.as_ptr()) } else { first_a };
            let b = if B { load::<S>(right.as_ptr()) } else { first_b };
            store::<S>(left.as_mut_ptr(), f.call(simd, a, b));
            y.copy_from_nonoverlapping(left.as_ptr(), len);
        }
    }
}

/// # Safety
/// `from` has a vector of valid elements.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd>(from: *const f32) -> S::f32s {
    // SAFETY: as the caller promises; any alignment.
    unsafe { from.cast::<S::f32s>().read_unaligned() }
}

/// # Safety
/// `to` has room for a vector.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd>(to: *mut f32, v: S::f32s) {
    // SAFETY: as the caller promises; any alignment.
    unsafe { to.cast::<S::f32s>().write_unaligned(v) }
}

/// The first lane; of a scalar token, the only one.
#[inline(always)]
fn lane_of<S: Simd>(v: S::f32s) -> f32 {
    bytemuck::cast_slice::<S::f32s, f32>(&[v])[0]
}
