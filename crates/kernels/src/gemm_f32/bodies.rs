//! Macros that write down the entries of one instruction set.

/// The functions of [`generic`](super::generic) at one vector width: module `$width`, token
/// `$token`, and the attribute that enables the instructions.
macro_rules! bodies {
    ($width:ident, $level:ty, $token:expr $(, $feature:meta)*) => {
        mod $width {
            use super::*;

            /// # Safety
            /// As [`generic::tiles`].
            $(#[$feature])*
            pub(super) unsafe fn tiles<const MR: usize, const NV: usize>(args: &TileArgs) {
                // SAFETY: as the caller promises; the kernel's level is that of the token.
                unsafe { generic::tiles::<$level, f32, MR, NV>($token, args) }
            }

            /// # Safety
            /// As [`generic::indirect`].
            $(#[$feature])*
            pub(super) unsafe fn indirect<const MR: usize, const NV: usize>(args: &IndirectArgs) {
                // SAFETY: as the caller promises; the kernel's level is that of the token.
                unsafe { generic::indirect::<$level, MR, NV>($token, args) }
            }

            /// # Safety
            /// As [`generic::row`].
            $(#[$feature])*
            pub(super) unsafe fn row<const NV: usize>(args: &TileArgs) {
                // SAFETY: as the caller promises; the kernel's level is that of the token.
                unsafe { generic::row::<$level, f32, NV>($token, args) }
            }
        }
    };
}

/// The passes over whole rows.
macro_rules! row_ops {
    ($token:expr $(, $feature:meta)*) => {
        pub(crate) static OPS: RowOps = RowOps { scale, mean, add_bias, activate };

        /// # Safety
        /// As [`generic::scale`].
        $(#[$feature])*
        unsafe fn scale(args: &RowsArgs) {
            // SAFETY: as the caller promises; the kernel's level is that of the token.
            unsafe { generic::scale($token, args) }
        }

        /// # Safety
        /// As [`generic::mean`].
        $(#[$feature])*
        unsafe fn mean(args: &RowsArgs) {
            // SAFETY: as the caller promises; the kernel's level is that of the token.
            unsafe { generic::mean($token, args) }
        }

        /// # Safety
        /// As [`generic::add_bias`].
        $(#[$feature])*
        unsafe fn add_bias(args: &RowsArgs) {
            // SAFETY: as the caller promises; the kernel's level is that of the token.
            unsafe { generic::add_bias($token, args) }
        }

        /// # Safety
        /// As [`generic::activate`].
        $(#[$feature])*
        unsafe fn activate(args: &RowsArgs, act: Activation) {
            // SAFETY: as the caller promises; the kernel's level is that of the token.
            unsafe { generic::activate($token, args, act) }
        }
    };
}

/// One entry of `KERNELS`: name, level, columns, module of [`bodies`] and its vectors per row, and
/// the row counts `1, 2, ..` that it has a tile for.
macro_rules! kernel {
    ($(#[$doc:meta])* $id:ident: $name:literal, $isa:expr, $nr:literal,
     $width:ident $nv:literal, rows $($mr:literal)*) => {
        $(#[$doc])*
        pub(crate) static $id: Kernel = Kernel {
            name: $name,
            isa: $isa,
            nr: $nr,
            tiles: &[$($width::tiles::<$mr, $nv>),*],
            indirect: &[$($width::indirect::<$mr, $nv>),*],
            row: $width::row::<$nv>,
            ops: &OPS,
        };
    };
}

pub(super) use {bodies, kernel, row_ops};
