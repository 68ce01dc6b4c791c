//! Macros that write down the entries of one instruction set.

/// The functions of [`generic`](super::generic) for one token, in module `$module`, with the
/// attribute that enables its instructions.
macro_rules! bodies {
    ($module:ident, $token:ident $(, $feature:meta)*) => {
        mod $module {
            use super::*;

            /// # Safety
            /// As [`generic::tiles`].
            $(#[$feature])*
            pub(super) unsafe fn tiles<const MR: usize, const NV: usize, const WIDE: bool>(
                args: &TileArgs,
            ) {
                // SAFETY: as the caller promises; the kernel's level is that of the token.
                unsafe { generic::tiles::<$token, MR, NV, WIDE>($token, args) }
            }

            /// # Safety
            /// As [`generic::gather_words`].
            $(#[$feature])*
            pub(super) unsafe fn gather(args: &GatherArgs<'_>, quant: Quant8) {
                // SAFETY: as the caller promises; the kernel's level is that of the token.
                unsafe { generic::gather_words($token, args, quant) }
            }
        }
    };
}

/// As [`bodies`], for rows of bytes.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! byte_bodies {
    ($module:ident, $token:ident $(, $feature:meta)*) => {
        mod $module {
            use super::*;

            pub(super) const FORM: Form =
                Form::Bytes { signed: <$token as crate::arch::dot::SimdDot4>::SIGNED };

            /// # Safety
            /// As [`generic::byte_tiles`].
            $(#[$feature])*
            pub(super) unsafe fn tiles<const MR: usize, const NV: usize>(args: &TileArgs) {
                // SAFETY: as the caller promises; the kernel's level is that of the token.
                unsafe { generic::byte_tiles::<$token, MR, NV>($token, args) }
            }

            /// # Safety
            /// As [`generic::gather_bytes`].
            $(#[$feature])*
            pub(super) unsafe fn gather(args: &GatherArgs<'_>, quant: Quant8) {
                // SAFETY: as the caller promises; the kernel's level is that of the token.
                unsafe { generic::gather_bytes($token, args, quant) }
            }
        }
    };
}

/// One entry of `KERNELS`: name, level, columns, module of [`bodies`] and its vectors per row, and
/// the row counts `1, 2, ..` that it has a tile for.
macro_rules! kernel {
    ($(#[$doc:meta])* $id:ident: $name:literal, $isa:expr, $extension:expr, $nr:literal,
     $module:ident $nv:literal, rows $($mr:literal)*) => {
        $(#[$doc])*
        pub(crate) static $id: Kernel = Kernel {
            name: $name,
            isa: $isa,
            extension: $extension,
            nr: $nr,
            form: super::Form::Words,
            narrow: &[$($module::tiles::<$mr, $nv, false>),*],
            wide: &[$($module::tiles::<$mr, $nv, true>),*],
            gather: $module::gather,
        };
    };
}

/// As [`kernel`], of a module of [`byte_bodies`].
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! byte_kernel {
    ($(#[$doc:meta])* $id:ident: $name:literal, $isa:expr, $extension:expr, $nr:literal,
     $module:ident $nv:literal, rows $($mr:literal)*) => {
        $(#[$doc])*
        pub(crate) static $id: Kernel = Kernel {
            name: $name,
            isa: $isa,
            extension: Some($extension),
            nr: $nr,
            form: $module::FORM,
            narrow: &[$($module::tiles::<$mr, $nv>),*],
            wide: &[],
            gather: $module::gather,
        };
    };
}

pub(super) use {bodies, kernel};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) use {byte_bodies, byte_kernel};
