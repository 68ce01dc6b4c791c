//! What the machine can do at most: multiply-adds per level, and bytes per size of the data.

use super::{done, progress};
use crate::workspace;
use depthwise_kernels::{Cpu, Par, roofline};
use serde::Serialize;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

/// Multiply-adds in registers, on so many threads at once.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Peak {
    pub level: &'static str,
    pub threads: usize,
    pub gflops: f64,
}

/// Bytes moved over data of one size per thread, on so many threads at once.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Bandwidth {
    pub threads: usize,
    pub kibibytes: usize,
    /// Gigabytes a second that are read in order.
    pub read: f64,
    /// Gigabytes a second that are read or written where one half is copied to the other.
    pub copy: f64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Roofline {
    pub peaks: Vec<Peak>,
    pub bandwidths: Vec<Bandwidth>,
}

/// Sizes of data, in KiB: inside the L1 cache of any CPU up to beyond its last one.
const SIZES: [usize; 9] = [16, 64, 256, 512, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 128 << 10];

impl Roofline {
    /// Measures the peak of each level and number of threads, and keeps the higher of this and
    /// what was seen before.
    pub(super) fn update_peaks(&mut self, cpu: &Cpu, pars: &[Par]) {
        for cpu in cpu.levels() {
            for par in pars {
                let (level, threads) = (cpu.isa().name(), par.threads());
                let gflops = measure_peak(&cpu, threads);
                match self.peaks.iter_mut().find(|p| p.level == level && p.threads == threads) {
                    Some(peak) => peak.gflops = peak.gflops.max(gflops),
                    None => self.peaks.push(Peak { level, threads, gflops }),
                }
            }
        }
    }

    /// Measures memory at the highest level of the CPU, all sizes and numbers of threads.
    pub(super) fn measure_bandwidths(&mut self, cpu: &Cpu, pars: &[Par]) {
        for par in pars {
            for kibibytes in SIZES {
                progress(&format!("bandwidth: {kibibytes} KiB, {} thread(s)", par.threads()));
                let (read, copy) = measure_bandwidth(cpu, par.threads(), kibibytes);
                let threads = par.threads();
                self.bandwidths.push(Bandwidth { threads, kibibytes, read, copy });
            }
        }
        done(&format!("bandwidth: {} measurements", self.bandwidths.len()));
    }

    /// The share of the peak in percent; `None` where no arithmetic is counted.
    pub(super) fn percent_of_peak(&self, level: &str, threads: usize, gflops: f64) -> Option<f64> {
        let peak = self.peaks.iter().find(|p| p.level == level && p.threads == threads)?;
        (gflops > 0.0).then_some(100.0 * gflops / peak.gflops)
    }

    /// Microseconds that a layer takes at least, by arithmetic or by memory, and which it is.
    ///
    /// Memory counts at the speed that data of this size has when it is used again and again:
    /// what is read and written at the speed of a copy, the rest at that of reading.
    pub(super) fn roof(&self, level: &str, threads: usize, work: Work) -> Option<Roof> {
        let peak = self.peaks.iter().find(|p| p.level == level && p.threads == threads)?;
        let share = (work.read + work.written).div_ceil(threads) as f64;
        let sizes = || self.bandwidths.iter().filter(|b| b.threads == threads);
        let memory =
            sizes().find(|b| share <= 1024.0 * b.kibibytes as f64).or(sizes().next_back())?;
        let copied = 2 * work.read.min(work.written) + work.written.saturating_sub(work.read);
        let read = work.read.saturating_sub(work.written);
        let bytes = 1e-3 * (copied as f64 / memory.copy + read as f64 / memory.read);
        let arithmetic = 2e-3 * work.macs as f64 / peak.gflops;
        let bound = if arithmetic >= bytes { Bound::Arithmetic } else { Bound::Memory };
        Some(Roof { us: arithmetic.max(bytes), bound })
    }

    pub(super) fn print(&self) {
        let mut table = workspace::table(&["multiply-add peak", "threads", "GFLOP/s"], &[1, 2]);
        for peak in &self.peaks {
            let gflops = format!("{:.1}", peak.gflops);
            table.add_row([peak.level.into(), peak.threads.to_string(), gflops]);
        }
        println!("\n{}", table.trim_fmt());
        if self.bandwidths.is_empty() {
            return;
        }
        let caches = caches();
        let header = ["memory", "KiB each", "threads", "read GB/s", "copy GB/s"];
        let mut table = workspace::table(&header, &[1, 2, 3, 4]);
        for row in &self.bandwidths {
            table.add_row([
                home(&caches, row.kibibytes).to_owned(),
                row.kibibytes.to_string(),
                row.threads.to_string(),
                format!("{:.1}", row.read),
                format!("{:.1}", row.copy),
            ]);
        }
        println!("\n{}", table.trim_fmt());
    }
}

/// What a run of a layer does at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub macs: u64,
    /// Bytes of operands and packed weights.
    pub read: usize,
    /// Bytes of results.
    pub written: usize,
}

/// The least time of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Roof {
    pub us: f64,
    pub bound: Bound,
}

/// What a layer cannot be faster than.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Bound {
    Arithmetic,
    Memory,
}

impl Bound {
    pub(super) fn name(self) -> &'static str {
        match self {
            Bound::Arithmetic => "arithmetic",
            Bound::Memory => "memory",
        }
    }
}

/// Sizes in KiB of the caches that hold data, the first level first, where the system tells.
fn caches() -> Vec<usize> {
    let folder = "/sys/devices/system/cpu/cpu0/cache";
    let read = |i: usize, what: &str| std::fs::read_to_string(format!("{folder}/index{i}/{what}"));
    let mut caches = Vec::new();
    for i in 0.. {
        let (Ok(kind), Ok(size)) = (read(i, "type"), read(i, "size")) else { break };
        if kind.trim() != "Instruction" {
            caches.extend(size.trim().strip_suffix('K').and_then(|k| k.parse::<usize>().ok()));
        }
    }
    caches
}

/// The nearest memory that holds so many KiB.
fn home(caches: &[usize], kibibytes: usize) -> &'static str {
    const NAMES: [&str; 4] = ["L1", "L2", "L3", "L4"];
    if caches.is_empty() {
        return "-";
    }
    let level = caches.iter().position(|&size| kibibytes <= size);
    level.and_then(|i| NAMES.get(i)).copied().unwrap_or("DRAM")
}

/// Billions of floating-point operations a second that `threads` threads reach together.
fn measure_peak(cpu: &Cpu, threads: usize) -> f64 {
    const STEPS: usize = 400_000;
    together(threads, || {
        black_box(roofline::multiply_add(cpu, STEPS / 10));
        move || roofline::multiply_add(cpu, black_box(STEPS))
    })
}

/// Gigabytes a second of reading and of copying that `threads` threads reach together.
fn measure_bandwidth(cpu: &Cpu, threads: usize, kibibytes: usize) -> (f64, f64) {
    /// Bytes per try: some milliseconds.
    const BYTES: usize = 128 << 20;
    let passes = (BYTES / (kibibytes << 10)).max(1);
    let data = || vec![1.0f32; (kibibytes << 10) / size_of::<f32>()];
    let read = together(threads, || {
        let data = data();
        move || roofline::read(cpu, black_box(&data), passes)
    });
    let copy = together(threads, || {
        let mut data = data();
        move || roofline::copy(cpu, black_box(&mut data), passes)
    });
    (read, copy)
}

/// Billions of units a second that `threads` threads reach together: the best of a few tries. Each
/// thread prepares work once, and does it once per try, all at the same time.
fn together<W: FnMut() -> f64>(threads: usize, prepare: impl Fn() -> W + Sync) -> f64 {
    const TRIES: usize = 5;
    let barrier = Barrier::new(threads);
    let tries = || {
        let mut work = prepare();
        let tries = (0..TRIES).map(|_| {
            barrier.wait();
            let start = Instant::now();
            let units = work();
            units / start.elapsed().as_secs_f64() / 1e9
        });
        tries.collect::<Vec<f64>>()
    };
    let all: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(tries)).collect();
        let own = tries();
        // A helper that failed counts as one that did nothing.
        let others = helpers.into_iter().map(|helper| helper.join().unwrap_or_default());
        others.chain([own]).collect()
    });
    let sum = |i: usize| all.iter().map(|tries| tries.get(i).unwrap_or(&0.0)).sum::<f64>();
    (0..TRIES).map(sum).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Roofline {
        let peaks = vec![Peak { level: "avx2", threads: 2, gflops: 80.0 }];
        let near = Bandwidth { threads: 2, kibibytes: 16, read: 100.0, copy: 50.0 };
        let far = Bandwidth { threads: 2, kibibytes: 1024, read: 10.0, copy: 8.0 };
        Roofline { peaks, bandwidths: vec![near, far] }
    }

    #[test]
    fn share_of_the_peak_needs_arithmetic() {
        assert_eq!(sample().percent_of_peak("avx2", 2, 20.0), Some(25.0));
        assert_eq!(sample().percent_of_peak("avx2", 2, 0.0), None);
        assert_eq!(sample().percent_of_peak("avx2", 1, 20.0), None);
    }

    #[test]
    fn roof_is_the_slower_of_arithmetic_and_memory() {
        let roof = |macs, read, written| sample().roof("avx2", 2, Work { macs, read, written });
        // 8 000 000 operations at 80 GFLOP/s.
        let arithmetic = Roof { us: 100.0, bound: Bound::Arithmetic };
        assert_eq!(roof(4_000_000, 1000, 1000), Some(arithmetic));
        // 10 kB in and out at 50 GB/s, and 5 kB more in at 100 GB/s.
        assert_eq!(roof(0, 15_000, 10_000), Some(Roof { us: 0.45, bound: Bound::Memory }));
        // 1 MB in and out at 8 GB/s, no cache being near enough.
        assert_eq!(roof(0, 1_000_000, 1_000_000).unwrap().us, 250.0);
        assert_eq!(sample().roof("avx2", 1, Work { macs: 1, read: 1, written: 1 }), None);
    }

    #[test]
    fn home_is_the_first_cache_that_holds_the_data() {
        let caches = [32, 512, 32 << 10];
        let homes = [16, 64, 4096, 128 << 10].map(|size| home(&caches, size));
        assert_eq!(homes, ["L1", "L2", "L3", "DRAM"]);
        assert_eq!(home(&[], 16), "-");
    }

    #[test]
    fn work_of_all_threads_is_summed() {
        let rate = together(2, || {
            || {
                std::thread::sleep(std::time::Duration::from_millis(5));
                1e9
            }
        });
        assert!(rate > 0.0 && rate <= 400.0, "{rate}");
    }
}
