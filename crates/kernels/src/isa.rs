//! What the CPU can do. The only file that asks it.

use std::fmt;
use std::sync::OnceLock;

/// An instruction set level, worst first. Kernels of a lower level run on every CPU of a higher
/// one (of the same architecture).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// What every CPU of the target has; SSE2 on x86-64, NEON through the compiler on AArch64.
    Scalar,
    /// AArch64 Advanced SIMD.
    Neon,
    /// AVX2 and FMA, with the rest of x86-64-v3.
    Avx2,
    /// AVX-512 F, BW, CD, DQ, VL: x86-64-v4.
    Avx512,
}

impl Isa {
    /// All levels, worst first.
    pub const ALL: [Isa; 4] = [Isa::Scalar, Isa::Neon, Isa::Avx2, Isa::Avx512];

    /// Lower-case name, as in `DEPTHWISE_ISA` and in kernel names.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Neon => "neon",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// Lanes of `f32` in one vector register.
    pub const fn lanes_f32(self) -> usize {
        match self {
            Isa::Scalar | Isa::Neon => 4,
            Isa::Avx2 => 8,
            Isa::Avx512 => 16,
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is none of [`Isa::ALL`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown instruction set \"{0}\"; one of scalar, neon, avx2, avx512")]
pub struct UnknownIsa(pub String);

impl std::str::FromStr for Isa {
    type Err = UnknownIsa;
    fn from_str(s: &str) -> Result<Isa, UnknownIsa> {
        Isa::ALL.into_iter().find(|isa| isa.name() == s).ok_or_else(|| UnknownIsa(s.to_owned()))
    }
}

/// Instructions beyond the level, that single kernels ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// AVX-512 VNNI: `vpdpbusd` on zmm.
    pub avx512_vnni: bool,
    /// AVX512_BF16: `vdpbf16ps`.
    pub avx512_bf16: bool,
    /// AVX-VNNI: `vpdpbusd` on ymm without AVX-512.
    pub avx_vnni: bool,
    /// Armv8.2 dot product.
    pub dotprod: bool,
    /// Armv8.6 int8 matrix product.
    pub i8mm: bool,
}

/// One of [`Extensions`] that a kernel needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extension {
    /// AVX-VNNI.
    AvxVnni,
    /// AVX-512 VNNI.
    Avx512Vnni,
    /// AVX512_BF16.
    Avx512Bf16,
    /// Armv8.2 dot product.
    DotProd,
    /// Armv8.6 int8 matrix product, on a CPU that has the dot product too.
    I8mm,
}

/// The CPU as kernels see it: a level, extensions. Asked once, then carried as a value.
///
/// A value above [`Isa::Scalar`] is proof that the instructions are there: it only comes from
/// [`Cpu::detect`] and from lowering that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    isa: Isa,
    ext: Extensions,
}

impl Cpu {
    /// The CPU that this runs on, lowered to the level named in `DEPTHWISE_ISA` if that is set.
    /// Asked once per process.
    ///
    /// # Errors
    /// [`UnknownIsa`] where the variable holds no name of a level.
    pub fn from_env() -> Result<Cpu, UnknownIsa> {
        static CAPPED: OnceLock<Result<Cpu, UnknownIsa>> = OnceLock::new();
        let capped = CAPPED.get_or_init(|| match std::env::var("DEPTHWISE_ISA") {
            Ok(name) if !name.is_empty() => Ok(Cpu::detect().capped(name.parse()?)),
            _ => Ok(Cpu::detect()),
        });
        capped.clone()
    }

    /// The CPU that this runs on. Asked once per process.
    pub fn detect() -> Cpu {
        static CPU: OnceLock<Cpu> = OnceLock::new();
        *CPU.get_or_init(detect)
    }

    /// The same CPU without what lies above `isa`. Never raises the level; a level of another
    /// architecture gives [`Isa::Scalar`].
    pub fn capped(self, isa: Isa) -> Cpu {
        if isa >= self.isa {
            return self;
        }
        // A level of another architecture supports nothing here.
        let isa = if cfg!(target_arch = "x86_64") && isa == Isa::Neon { Isa::Scalar } else { isa };
        let keep_avx = isa >= Isa::Avx2;
        let ext = Extensions { avx_vnni: keep_avx && self.ext.avx_vnni, ..Extensions::default() };
        Cpu { isa, ext }
    }

    /// The level.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Instructions beyond the level.
    pub fn extensions(&self) -> Extensions {
        self.ext
    }

    /// Whether the CPU has these instructions.
    pub fn has(&self, extension: Extension) -> bool {
        match extension {
            Extension::AvxVnni => self.ext.avx_vnni,
            Extension::Avx512Vnni => self.ext.avx512_vnni,
            Extension::Avx512Bf16 => self.ext.avx512_bf16,
            Extension::DotProd => self.ext.dotprod,
            Extension::I8mm => self.ext.i8mm,
        }
    }

    /// Whether kernels of this level run here.
    pub fn supports(&self, isa: Isa) -> bool {
        isa == self.isa
            || isa == Isa::Scalar
            || (isa < self.isa && cfg!(target_arch = "x86_64") && isa != Isa::Neon)
    }

    /// The levels that this CPU supports, worst first, each as a capped [`Cpu`].
    pub fn levels(self) -> impl Iterator<Item = Cpu> {
        Isa::ALL.into_iter().filter(move |&isa| self.supports(isa)).map(move |isa| self.capped(isa))
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.isa)?;
        let ext = self.ext;
        for (name, has) in [
            ("vnni", ext.avx512_vnni || ext.avx_vnni),
            ("bf16", ext.avx512_bf16),
            ("dotprod", ext.dotprod),
            ("i8mm", ext.i8mm),
        ] {
            if has {
                write!(f, "+{name}")?;
            }
        }
        Ok(())
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Cpu {
    use std::arch::is_x86_feature_detected as has;
    cpufeatures::new!(v3, "avx2", "fma", "bmi1", "bmi2");
    cpufeatures::new!(v4, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl");
    // What pulp's tokens ask for beyond the names that cpufeatures knows.
    let avx2 = v3::get() && has!("lzcnt") && has!("popcnt") && has!("fxsr") && has!("f16c");
    let avx512 = avx2 && v4::get();
    let ext = Extensions {
        avx512_vnni: avx512 && has!("avx512vnni"),
        avx512_bf16: avx512 && has!("avx512bf16"),
        avx_vnni: avx2 && has!("avxvnni"),
        ..Extensions::default()
    };
    let isa = match (avx2, avx512) {
        (_, true) => Isa::Avx512,
        (true, false) => Isa::Avx2,
        _ => Isa::Scalar,
    };
    Cpu { isa, ext }
}

#[cfg(target_arch = "aarch64")]
fn detect() -> Cpu {
    use std::arch::is_aarch64_feature_detected as has;
    let ext = Extensions {
        dotprod: has!("dotprod"),
        i8mm: has!("i8mm") && has!("dotprod"),
        ..Extensions::default()
    };
    Cpu { isa: if has!("neon") { Isa::Neon } else { Isa::Scalar }, ext }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detect() -> Cpu {
    Cpu { isa: Isa::Scalar, ext: Extensions::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capping_only_lowers() {
        let cpu = Cpu::detect();
        assert_eq!(cpu.capped(Isa::Avx512), cpu.capped(cpu.isa()));
        for isa in Isa::ALL {
            let capped = cpu.capped(isa);
            assert!(capped.isa() <= cpu.isa());
            assert!(cpu.supports(capped.isa()));
        }
        assert_eq!(cpu.capped(Isa::Scalar).extensions(), Extensions::default());
    }

    #[test]
    fn levels_start_at_scalar_and_end_at_the_cpu() {
        let levels: Vec<Cpu> = Cpu::detect().levels().collect();
        assert_eq!(levels.first().map(Cpu::isa), Some(Isa::Scalar));
        assert_eq!(levels.last(), Some(&Cpu::detect()));
    }

    #[test]
    fn names_parse_back() {
        for isa in Isa::ALL {
            assert_eq!(isa.name().parse(), Ok(isa));
        }
        assert!("sse9".parse::<Isa>().is_err());
    }
}
