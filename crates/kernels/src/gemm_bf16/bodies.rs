//! Macros that write down the entries of one instruction set.

/// The functions of [`gemm_f32`](crate::gemm_f32) for pairs at one vector width: module `$width`, token
/// `$token`, and the attribute that enables the instructions.
macro_rules! bodies {
    ($width:ident, $level:ty, $token:expr $(, $feature:meta)*) => {
        mod $width {
            use super::*;

            /// # Safety
            /// As [`tiles`](crate::gemm_f32::generic::tiles).
            $(#[$feature])*
            pub(super) unsafe fn tiles<const MR: usize, const NV: usize>(args: &TileArgs<Pair>) {
                // SAFETY: as the caller promises; the kernel's level is that of the token.
                unsafe { crate::gemm_f32::generic::tiles::<$level, Pair, MR, NV>($token, args) }
            }

            /// # Safety
            /// As [`row`](crate::gemm_f32::generic::row).
            $(#[$feature])*
            pub(super) unsafe fn row<const NV: usize>(args: &TileArgs<Pair>) {
                // SAFETY: as the caller promises; the kernel's level is that of the token.
                unsafe { crate::gemm_f32::generic::row::<$level, Pair, NV>($token, args) }
            }
        }
    };
}

/// The function that rounds rows.
macro_rules! gather_rounded {
    ($token:expr $(, $feature:meta)*) => {
        /// # Safety
        /// As [`GatherArgs`] says; the CPU has the kernel's level.
        $(#[$feature])*
        unsafe fn gather_rounded(args: &GatherArgs<'_>) {
            // SAFETY: as the caller promises; the kernel's level is that of the token.
            unsafe { gather(Round($token), args) }
        }
    };
}

/// One entry of `KERNELS`: name, level, extension, columns, module of [`bodies`] and its vectors per row,
/// passes over rows, and the row counts `1, 2, ..` that it has a tile for.
macro_rules! kernel {
    ($(#[$doc:meta])* $id:ident: $name:literal, $isa:expr, $extension:expr, $nr:literal,
     $width:ident $nv:literal, $ops:expr, rows $($mr:literal)*) => {
        $(#[$doc])*
        pub(super) static $id: Kernel = Kernel {
            name: $name,
            isa: $isa,
            extension: $extension,
            nr: $nr,
            tiles: &[$($width::tiles::<$mr, $nv>),*],
            row: $width::row::<$nv>,
            gather: gather_rounded,
            ops: $ops,
        };
    };
}

pub(super) use {bodies, gather_rounded, kernel};
