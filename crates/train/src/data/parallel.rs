//! Work done ahead by several threads and handed over in order.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

struct State<T> {
    /// The next item that nobody makes yet.
    claimed: usize,
    /// The next item to hand over.
    wanted: usize,
    /// Items that are made but not handed over.
    ready: BTreeMap<usize, T>,
    stopped: bool,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State<T>>) -> MutexGuard<'s, State<T>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }
}

/// Ends the work of all when the thread that holds it panics, so that nobody waits for it.
struct StopOnPanic<'s, T>(&'s Shared<T>);

impl<T> Drop for StopOnPanic<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

/// Makes items `0..count` on `threads` threads and gives them to `take` on this one, in order.
/// At most `ahead` items (and as many as there are threads, at least) are made or waiting at a
/// time, so memory is bounded and a slow item holds up nobody for long. What comes out does not
/// depend on the threads.
///
/// # Errors
/// The first error of `make` (in the order of items) or `take`; work then stops.
///
/// # Panics
/// Where `make` or `take` do.
pub fn in_order<T: Send, E: Send>(
    count: usize,
    threads: usize,
    ahead: usize,
    make: impl Fn(usize) -> Result<T, E> + Sync,
    mut take: impl FnMut(usize, T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.clamp(1, count.max(1));
    let ahead = ahead.max(threads);
    let state = State { claimed: 0, wanted: 0, ready: BTreeMap::new(), stopped: false };
    let shared: Shared<Result<T, E>> = Shared { state: Mutex::new(state), changed: Condvar::new() };
    let work = || {
        let _guard = StopOnPanic(&shared);
        while let Some(item) = claim(&shared, count, ahead) {
            let made = make(item);
            shared.lock().ready.insert(item, made);
            shared.changed.notify_all();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
        let _guard = StopOnPanic(&shared);
        for item in 0..count {
            let Some(made) = receive(&shared, item) else { break };
            if let Err(error) = made.and_then(|made| take(item, made)) {
                shared.stop();
                return Err(error);
            }
        }
        Ok(())
    })
}

/// The next item to make, once there is room for it.
fn claim<T>(shared: &Shared<T>, count: usize, ahead: usize) -> Option<usize> {
    let mut state = shared.lock();
    loop {
        if state.stopped || state.claimed >= count {
            return None;
        }
        if state.claimed < state.wanted + ahead {
            state.claimed += 1;
            return Some(state.claimed - 1);
        }
        state = shared.wait(state);
    }
}

/// Waits for an item; `None` where work has stopped.
fn receive<T>(shared: &Shared<T>, item: usize) -> Option<T> {
    let mut state = shared.lock();
    loop {
        if let Some(made) = state.ready.remove(&item) {
            state.wanted = item + 1;
            shared.changed.notify_all();
            return Some(made);
        }
        if state.stopped {
            return None;
        }
        state = shared.wait(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn items_arrive_in_order_and_few_are_ahead() {
        for threads in [1, 2, 7] {
            let (made, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let mut got = Vec::new();
            let make = |i: usize| {
                made.fetch_add(1, Ordering::SeqCst);
                // Every third item is slow.
                std::thread::sleep(std::time::Duration::from_micros(if i.is_multiple_of(3) {
                    300
                } else {
                    0
                }));
                let ahead = i - taken.load(Ordering::SeqCst).min(i);
                assert!(ahead <= 8, "item {i} is {ahead} ahead");
                Ok::<_, ()>(i * i)
            };
            in_order(100, threads, 8, make, |i, square| {
                assert_eq!(square, i * i);
                taken.fetch_add(1, Ordering::SeqCst);
                got.push(i);
                Ok(())
            })
            .unwrap();
            assert_eq!(got, (0..100).collect::<Vec<_>>());
            assert_eq!(made.into_inner(), 100);
        }
    }

    #[test]
    fn the_first_error_ends_the_work() {
        let made = AtomicUsize::new(0);
        let make = |i: usize| {
            made.fetch_add(1, Ordering::SeqCst);
            if i == 10 { Err(format!("item {i}")) } else { Ok(i) }
        };
        let error = in_order(10_000, 3, 4, make, |_, _| Ok(())).unwrap_err();
        assert_eq!(error, "item 10");
        assert!(made.into_inner() < 30);
        let error = in_order(5, 2, 2, Ok, |i, _| if i == 3 { Err(i) } else { Ok(()) });
        assert_eq!(error, Err(3));
        assert_eq!(in_order(0, 2, 2, Ok::<usize, ()>, |_, _| Err(())), Ok(()));
    }

    #[test]
    fn a_panic_is_passed_on_and_not_waited_for() {
        let result = std::panic::catch_unwind(|| {
            in_order(
                10,
                2,
                2,
                |i| if i == 4 { panic!("lost") } else { Ok::<_, ()>(i) },
                |_, _| Ok(()),
            )
        });
        assert!(result.is_err());
    }
}
