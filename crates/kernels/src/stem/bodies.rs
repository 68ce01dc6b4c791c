//! Macros that write down the entries of one instruction set.

/// [`generic::tile`](super::generic::tile) and [`bytes::convert`](super::bytes::convert) at one vector
/// width: module `$width`, token `$token`,
/// and the attribute that enables the instructions.
macro_rules! bodies {
    ($width:ident, $level:ty, $token:expr $(, $feature:meta)*) => {
        mod $width {
            use super::*;

            /// # Safety
            /// As [`generic::tile`].
            $(#[$feature])*
            pub(super) unsafe fn tile<const MR: usize, const NV: usize, const STEP: usize>(
                args: &TileArgs,
            ) {
                // SAFETY: as the caller promises; the kernel's level is that of the token.
                unsafe { generic::tile::<$level, MR, NV, STEP>($token, args) }
            }

            /// # Safety
            /// As [`bytes::convert`].
            $(#[$feature])*
            pub(super) unsafe fn convert(args: &LineArgs<'_>) {
                // SAFETY: as the caller promises.
                unsafe { bytes::convert(args) }
            }
        }
    };
}

/// One entry of `KERNELS`: name, level, pixels, columns, module of [`bodies`] and its vectors per
/// pixel.
macro_rules! kernel {
    ($id:ident: $name:literal, $isa:expr, $mr:literal x $nr:literal, $width:ident $nv:literal) => {
        pub(super) const $id: Kernel = Kernel {
            name: $name,
            isa: $isa,
            mr: $mr,
            nr: $nr,
            tiles: [
                $width::tile::<$mr, $nv, { STEPS[0] }>,
                $width::tile::<$mr, $nv, { STEPS[1] }>,
                $width::tile::<$mr, $nv, { STEPS[2] }>,
                $width::tile::<$mr, $nv, { STEPS[3] }>,
            ],
            convert: $width::convert,
        };
    };
}

pub(super) use {bodies, kernel};
