//! Macros that write down the entries of one instruction set.

/// The functions of [`generic`](super::generic) for one token, in module `$module`, with the
/// attribute that enables its instructions.
macro_rules! bodies {
    ($module:ident, $token:ident $(, $feature:meta)*) => {
        mod $module {
            use super::*;

            pub(super) type Token = $token;

            /// # Safety
            /// As [`generic::tiles`].
            $(#[$feature])*
            pub(super) unsafe fn tiles<T: Terms<$token>, const MR: usize, const NV: usize>(
                args: &TileArgs,
            ) {
                // SAFETY: as the caller promises; the kernel's level is that of the token.
                unsafe { generic::tiles::<$token, T, MR, NV>($token, args) }
            }

            /// # Safety
            /// As [`generic::gather`].
            $(#[$feature])*
            pub(super) unsafe fn gather<T: Terms<$token>>(args: &GatherArgs<'_>, quant: Quant8) {
                // SAFETY: as the caller promises; the kernel's level is that of the token.
                unsafe { generic::gather::<$token, T>($token, args, quant) }
            }
        }
    };
}

/// One entry of `KERNELS`: name, level, columns, module of [`bodies`] with its vectors per row, what
/// tiles multiply (narrow weights, then wide ones where there are tiles for them), and the row counts
/// `1, 2, ..` that it has a tile for.
macro_rules! kernel {
    ($(#[$doc:meta])* $id:ident: $name:literal, $isa:expr, $extension:expr, $nr:literal,
     $module:ident $nv:literal, $narrow:ident $($wide:ident)?, rows $mr:tt) => {
        $(#[$doc])*
        pub(crate) static $id: Kernel = Kernel {
            name: $name,
            isa: $isa,
            extension: $extension,
            nr: $nr,
            form: <generic::$narrow as Terms<$module::Token>>::FORM,
            narrow: kernel!(@tiles $module $nv $narrow $mr),
            wide: kernel!(@tiles $module $nv $($wide)? $mr),
            gather: $module::gather::<generic::$narrow>,
        };
    };
    (@tiles $module:ident $nv:literal [$($mr:literal)*]) => { &[] };
    (@tiles $module:ident $nv:literal $terms:ident [$($mr:literal)*]) => {
        &[$($module::tiles::<generic::$terms, $mr, $nv>),*]
    };
}

pub(super) use {bodies, kernel};
