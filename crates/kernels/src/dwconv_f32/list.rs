//! The list of depthwise kernels, and the choice among them.

use super::task::{PostFn, Task};
use crate::isa::{Cpu, Isa};
use crate::operator::KernelInfo;
use depthwise_tensor::{ConvGeometry, Hw};

/// An entry of [`KERNELS`].
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    pub(super) name: &'static str,
    pub(super) isa: Isa,
    /// Taps and stride that the kernel is made for; any where `None`.
    pub(super) window: Option<Window>,
    /// Outputs of the register tile.
    pub(super) tile: Hw,
    /// Time per tile output, relative to the other kernels of the level and window.
    pub(super) cost: usize,
    pub(super) run: unsafe fn(&Task),
    pub(super) post: PostFn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) kernel: Hw,
    pub(super) stride: usize,
}

impl Kernel {
    /// Name and level.
    pub const fn info(&self) -> KernelInfo {
        KernelInfo::new(self.name, self.isa)
    }

    /// Outputs of the register tile.
    pub const fn tile(&self) -> Hw {
        self.tile
    }

    /// Whether the kernel computes this convolution.
    pub fn fits(&self, geometry: &ConvGeometry) -> bool {
        let Some(window) = self.window else { return true };
        let g = geometry;
        let cols = g.cols();
        window.kernel == g.kernel
            && g.stride == Hw::square(window.stride)
            && g.dilation == Hw::ONE
            && g.output.h >= self.tile.h
            && g.output.w >= self.tile.w
            && g.pad.left < g.kernel.w
            // The last window begins inside the picture.
            && (cols.output - 1) * cols.stride < cols.pad_before + cols.input
    }

    /// Cost of the tiles that cover a picture of outputs.
    fn cost_of(&self, output: Hw) -> usize {
        let covered =
            output.h.next_multiple_of(self.tile.h) * output.w.next_multiple_of(self.tile.w);
        covered.saturating_mul(self.cost)
    }
}

/// All kernels, best level first.
pub const KERNELS: &[Kernel] = &concat();

const fn concat() -> [Kernel; COUNT] {
    let mut all = [super::scalar::KERNELS[0]; COUNT];
    let (mut list, mut at) = (0, 0);
    while list < LISTS.len() {
        let mut i = 0;
        while i < LISTS[list].len() {
            all[at] = LISTS[list][i];
            at += 1;
            i += 1;
        }
        list += 1;
    }
    all
}

const LISTS: &[&[Kernel]] = &[
    #[cfg(target_arch = "x86_64")]
    super::avx512::KERNELS,
    #[cfg(target_arch = "x86_64")]
    super::avx2::KERNELS,
    #[cfg(target_arch = "aarch64")]
    super::neon::KERNELS,
    super::scalar::KERNELS,
];

const COUNT: usize = {
    let (mut list, mut count) = (0, 0);
    while list < LISTS.len() {
        count += LISTS[list].len();
        list += 1;
    }
    count
};

/// The kernel for a convolution: of the best level that the CPU has, the one whose tiles cover the
/// output at the least cost.
pub fn select(cpu: &Cpu, geometry: &ConvGeometry) -> &'static Kernel {
    let fitting = || KERNELS.iter().filter(|k| cpu.supports(k.isa) && k.fits(geometry));
    let best = fitting().map(|k| k.isa).max();
    fitting()
        .filter(|k| Some(k.isa) == best)
        .min_by_key(|k| k.cost_of(geometry.output.hw()))
        .expect("the scalar list has a kernel for every convolution")
}

/// Entries of one instruction set: a `KERNELS` list, and a function for each line.
macro_rules! kernels {
    (
        isa: $isa:expr, token: $token:expr, attribute: $attribute:meta;
        $(tiled $tiled:ident: $kh:literal x $kw:literal, $st:literal, $th:literal x $tw:literal,
            $cost:literal;)*
        $(any $any:ident: $width:literal, $any_cost:literal;)*
    ) => {
        /// The entries of this instruction set.
        pub(super) const KERNELS: &[super::list::Kernel] = &[
            $(super::list::Kernel {
                name: stringify!($tiled),
                isa: $isa,
                window: Some(super::list::Window {
                    kernel: depthwise_tensor::Hw { h: $kh, w: $kw },
                    stride: $st,
                }),
                tile: depthwise_tensor::Hw { h: $th, w: $tw },
                cost: $cost,
                run: $tiled,
                post,
            },)*
            $(super::list::Kernel {
                name: stringify!($any),
                isa: $isa,
                window: None,
                tile: depthwise_tensor::Hw { h: 1, w: $width },
                cost: $any_cost,
                run: $any,
                post,
            },)*
        ];

        $(
            /// # Safety
            /// - The CPU has the instruction set.
            /// - As [`super::generic::tiled`].
            #[$attribute]
            unsafe fn $tiled(task: &super::task::Task) {
                // SAFETY: the CPU has the instruction set, which this function enables for the
                // token; the task is the caller's duty.
                unsafe { super::generic::tiled::<_, $kh, $kw, $st, $th, $tw>($token, task) }
            }
        )*
        $(
            /// # Safety
            /// - The CPU has the instruction set.
            /// - As [`super::generic::any`].
            #[$attribute]
            unsafe fn $any(task: &super::task::Task) {
                // SAFETY: the CPU has the instruction set, which this function enables for the
                // token; the task is the caller's duty.
                unsafe { super::generic::any::<_, $width>($token, task) }
            }
        )*

        /// # Safety
        /// - The CPU has the instruction set.
        /// - As [`super::generic::post`].
        #[$attribute]
        unsafe fn post(
            act: depthwise_tensor::Activation,
            y: (*mut f32, usize),
            residual: (*const f32, usize),
            count: usize,
        ) {
            // SAFETY: the CPU has the instruction set, which this function enables for the token;
            // the vectors are the caller's duty.
            unsafe { super::generic::post($token, act, y, residual, count) }
        }
    };
}
pub(super) use kernels;
