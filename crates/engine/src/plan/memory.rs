//! Where every buffer lies in the arena.

use std::ops::RangeInclusive;

/// A buffer and the steps that it lives through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Size.
    pub bytes: usize,
    /// From the step that writes it to the last that reads it.
    pub live: RangeInclusive<usize>,
}

/// A place per record, and the size of the arena that holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub offsets: Vec<usize>,
    pub arena_bytes: usize,
}

/// Buffers start on a cache line.
const LINE: usize = 64;
/// Two buffers of one step whose addresses agree modulo this can look like a store followed by a
/// load of the same address, which costs up to 4 times the run time of a small tile.
const ALIAS: usize = 4096;
/// Least distance modulo [`ALIAS`] of buffers that live at the same time.
const SKEW: usize = 1088;
/// Buffers below this size are not worth a skew.
const SMALL: usize = 4096;

/// Places records, largest first, each at the lowest offset where nothing that lives at the same
/// time overlaps it (greedy by size: Pisarchyk and Lee 2020, "Efficient Memory Management for Deep
/// Neural Net Inference"), moved on a little where it would alias a neighbour of its steps.
pub(crate) fn place(records: &[Record]) -> Layout {
    let mut order: Vec<usize> = (0..records.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(records[i].bytes), *records[i].live.start(), i));
    let mut offsets = vec![0; records.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(records.len());
    let mut arena_bytes = 0;
    for i in order {
        let record = &records[i];
        if record.bytes == 0 {
            continue;
        }
        let mut rivals: Vec<usize> =
            placed.iter().copied().filter(|&p| lives_with(&records[p], record)).collect();
        rivals.sort_by_key(|&p| offsets[p]);
        offsets[i] = lowest_fit(i, records, &offsets, &rivals);
        arena_bytes = arena_bytes.max(offsets[i] + record.bytes);
        placed.push(i);
    }
    Layout { offsets, arena_bytes: arena_bytes.next_multiple_of(LINE) }
}

fn lives_with(a: &Record, b: &Record) -> bool {
    a.live.start() <= b.live.end() && b.live.start() <= a.live.end()
}

fn lowest_fit(i: usize, records: &[Record], offsets: &[usize], rivals: &[usize]) -> usize {
    let bytes = records[i].bytes;
    let close: Vec<usize> = rivals
        .iter()
        .copied()
        .filter(|&p| bytes >= SMALL && records[p].bytes >= SMALL)
        .map(|p| offsets[p])
        .collect();
    let mut start = 0;
    for &p in rivals {
        let at = skewed(start, &close);
        if at + bytes <= offsets[p] {
            return at;
        }
        start = start.max((offsets[p] + records[p].bytes).next_multiple_of(LINE));
    }
    skewed(start, &close)
}

/// The first line from `start` on that aliases none of `close`; `start` itself where every line
/// aliases one.
fn skewed(start: usize, close: &[usize]) -> usize {
    let aliases = |at: usize| {
        close.iter().any(|&other| {
            let distance = (at % ALIAS).abs_diff(other % ALIAS);
            distance.min(ALIAS - distance) < SKEW
        })
    };
    (start..start + ALIAS).step_by(LINE).find(|&at| !aliases(at)).unwrap_or(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(bytes: usize, live: RangeInclusive<usize>) -> Record {
        Record { bytes, live }
    }

    fn check(records: &[Record], layout: &Layout) {
        for (i, a) in records.iter().enumerate() {
            assert_eq!(layout.offsets[i] % LINE, 0);
            assert!(layout.offsets[i] + a.bytes <= layout.arena_bytes);
            for (j, b) in records.iter().enumerate().take(i) {
                let (x, y) = (layout.offsets[i], layout.offsets[j]);
                let apart = x + a.bytes <= y || y + b.bytes <= x;
                assert!(apart || !lives_with(a, b), "{i} and {j} overlap");
            }
        }
    }

    #[test]
    fn a_chain_needs_two_buffers() {
        let records: Vec<Record> = (0..10).map(|i| record(100_000, i..=i + 1)).collect();
        let layout = place(&records);
        check(&records, &layout);
        assert!(layout.arena_bytes < 2 * 100_000 + 2 * ALIAS, "{}", layout.arena_bytes);
    }

    #[test]
    fn neighbours_do_not_alias() {
        let records = [record(8192, 0..=1), record(8192, 1..=2)];
        let layout = place(&records);
        let distance = layout.offsets[0].abs_diff(layout.offsets[1]) % ALIAS;
        assert!((SKEW..=ALIAS - SKEW).contains(&distance), "{distance}");
    }

    #[test]
    fn random_lifetimes_never_overlap() {
        let mut seed = 1u64;
        let mut next = |n: usize| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) as usize % n
        };
        for _ in 0..200 {
            let records: Vec<Record> = (0..next(40))
                .map(|_| {
                    let start = next(30);
                    record(next(20_000), start..=start + next(8))
                })
                .collect();
            check(&records, &place(&records));
        }
    }

    #[test]
    fn empty_buffers_take_no_place() {
        assert_eq!(place(&[record(0, 0..=5)]).arena_bytes, 0);
        assert_eq!(place(&[]).arena_bytes, 0);
    }
}
