//! Threads. The only file that names rayon.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The system would not start threads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot start {threads} threads: {reason}")]
pub struct ParError {
    /// Threads asked for.
    pub threads: usize,
    /// What the system said.
    pub reason: String,
}

/// How many threads work on a run, and whose they are. Cheap to clone; clones share the threads.
///
/// The calling thread always takes part. Several sessions may share one `Par`: while its helpers
/// work for one, another's run goes on alone on its own thread.
#[derive(Clone)]
pub struct Par {
    threads: usize,
    helpers: Option<Helpers>,
}

#[derive(Clone)]
enum Helpers {
    /// Threads of our own, parked between runs.
    Own(Arc<OwnPool>),
    /// A pool of the caller's.
    Caller(Arc<ThreadPool>),
}

impl Par {
    /// The calling thread alone.
    pub fn single() -> Par {
        Par { threads: 1, helpers: None }
    }

    /// The calling thread and `threads - 1` helpers, which sleep between runs. 0 means
    /// [`Par::default_threads`].
    ///
    /// # Errors
    /// [`ParError`] where the system does not start the threads.
    pub fn new(threads: usize) -> Result<Par, ParError> {
        let threads = if threads == 0 { Par::default_threads() } else { threads };
        if threads == 1 {
            return Ok(Par::single());
        }
        let own = OwnPool::start(threads - 1)?;
        Ok(Par { threads, helpers: Some(Helpers::Own(Arc::new(own))) })
    }

    /// The calling thread and up to `threads - 1` of a pool that the program has anyway. Each run
    /// spawns one task per helper there, so helpers that are busy are waited for.
    pub fn with_pool(pool: Arc<ThreadPool>, threads: usize) -> Par {
        let threads = threads.clamp(1, pool.current_num_threads() + 1);
        let helpers = (threads > 1).then_some(Helpers::Caller(pool));
        Par { threads, helpers }
    }

    /// The physical cores that this process may use.
    pub fn default_threads() -> usize {
        let allowed = std::thread::available_parallelism().map_or(1, |n| n.get());
        num_cpus::get_physical().clamp(1, allowed)
    }

    /// Threads that take part in a run, the caller included.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `caller` on this thread and `helper(i)`, `0 < i < threads`, on each helper that wakes
    /// up before `caller` returns; comes back once all that began have returned.
    ///
    /// `caller` must be able to do all the work by itself.
    pub(crate) fn enter(&self, caller: &mut dyn FnMut(), helper: &(dyn Fn(usize) + Sync)) {
        match &self.helpers {
            None => caller(),
            Some(Helpers::Own(own)) => own.enter(caller, helper),
            Some(Helpers::Caller(pool)) => pool.in_place_scope(|scope| {
                for i in 1..self.threads {
                    scope.spawn(move |_| helper(i));
                }
                caller();
            }),
        }
    }
}

impl fmt::Debug for Par {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Par({} threads)", self.threads)
    }
}

/// Threads that serve one run after the other without an allocation: each is one task of a private
/// rayon pool that never ends before the pool.
struct OwnPool {
    shared: Arc<Shared>,
    /// Its threads end when `Drop` has raised `State::shutdown`.
    _pool: ThreadPool,
}

struct Shared {
    state: Mutex<State>,
    /// A job was posted, or the pool ends.
    posted: Condvar,
    /// The last helper has left a job, or a helper has begun to serve.
    left: Condvar,
    /// Number of jobs posted; lets helpers watch for the next one without the lock.
    jobs: AtomicU64,
    /// A run uses the helpers.
    busy: AtomicBool,
}

#[derive(Default)]
struct State {
    job: Option<Job>,
    /// Number of the job.
    number: u64,
    /// Helpers inside it.
    inside: usize,
    /// Helpers that have begun to serve.
    serving: usize,
    shutdown: bool,
}

/// A borrowed closure whose lifetime is kept by [`OwnPool::enter`].
#[derive(Clone, Copy)]
struct Job(*const (dyn Fn(usize) + Sync));
// SAFETY: the closure is `Sync`, and `enter` keeps it alive while any thread can see the job.
unsafe impl Send for Job {}

/// Looks for the next job that a helper takes before it sleeps: some 20 us, about what waking it
/// up would cost, so that runs in quick succession find it awake.
const WATCH: u32 = 2000;

impl OwnPool {
    fn start(helpers: usize) -> Result<OwnPool, ParError> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(helpers)
            .thread_name(|i| format!("depthwise-{}", i + 1))
            .build()
            .map_err(|e| ParError { threads: helpers, reason: e.to_string() })?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            posted: Condvar::new(),
            left: Condvar::new(),
            jobs: AtomicU64::new(0),
            busy: AtomicBool::new(false),
        });
        for i in 1..=helpers {
            let shared = Arc::clone(&shared);
            pool.spawn(move || shared.serve(i));
        }
        // What threads allocate when they start is over before the first run.
        let mut state = shared.lock();
        while state.serving < helpers {
            state = shared.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        Ok(OwnPool { shared, _pool: pool })
    }

    fn enter(&self, caller: &mut dyn FnMut(), helper: &(dyn Fn(usize) + Sync)) {
        let shared = &*self.shared;
        if shared.busy.swap(true, Ordering::Acquire) {
            // The helpers serve another session; the work gets done without them.
            return caller();
        }
        // SAFETY: only the lifetime changes; `Leave` takes the job back and waits for every
        // helper to leave it before this function returns, also when `caller` panics.
        let job = Job(unsafe {
            std::mem::transmute::<
                *const (dyn Fn(usize) + Sync + '_),
                *const (dyn Fn(usize) + Sync + 'static),
            >(helper)
        });
        {
            let mut state = shared.lock();
            state.job = Some(job);
            state.number += 1;
            shared.jobs.store(state.number, Ordering::Release);
        }
        shared.posted.notify_all();
        let _leave = Leave(shared);
        caller();
    }
}

/// Closes the job on the way out of [`OwnPool::enter`].
struct Leave<'a>(&'a Shared);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.job = None;
        while state.inside > 0 {
            state = self.0.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        self.0.busy.store(false, Ordering::Release);
    }
}

impl Shared {
    /// The life of helper `i`.
    fn serve(&self, i: usize) {
        let mut seen = 0;
        self.lock().serving += 1;
        self.left.notify_one();
        loop {
            self.watch(seen);
            let mut state = self.lock();
            while state.number == seen && !state.shutdown {
                state = self.posted.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.shutdown {
                return;
            }
            seen = state.number;
            let Some(job) = state.job else { continue };
            state.inside += 1;
            drop(state);
            // A panic is the caller's to report: its own wait finds the run poisoned.
            // SAFETY: `inside` was raised under the lock while the job was open, so `Leave` waits.
            let run = std::panic::AssertUnwindSafe(|| unsafe { (*job.0)(i) });
            let _ = std::panic::catch_unwind(run);
            let mut state = self.lock();
            state.inside -= 1;
            if state.inside == 0 {
                self.left.notify_one();
            }
        }
    }

    fn watch(&self, seen: u64) {
        for _ in 0..WATCH {
            if self.jobs.load(Ordering::Acquire) != seen {
                return;
            }
            std::hint::spin_loop();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OwnPool {
    fn drop(&mut self) {
        self.shared.lock().shutdown = true;
        self.shared.jobs.store(u64::MAX, Ordering::Release);
        self.shared.posted.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// Work that any participant can do: counts to `n`.
    fn count_to(par: &Par, n: usize) -> usize {
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |_| {
            while next.fetch_add(1, Ordering::Relaxed) < n {
                done.fetch_add(1, Ordering::Relaxed);
            }
        };
        par.enter(&mut || work(0), &work);
        done.into_inner()
    }

    #[test]
    fn all_work_is_done_whoever_comes() {
        for threads in 1..=4 {
            let par = Par::new(threads).unwrap();
            for _ in 0..200 {
                assert_eq!(count_to(&par, 100), 100);
            }
        }
    }

    #[test]
    fn a_pool_of_the_caller_serves() {
        let pool = Arc::new(ThreadPoolBuilder::new().num_threads(2).build().unwrap());
        let par = Par::with_pool(Arc::clone(&pool), 8);
        assert_eq!(par.threads(), 3);
        assert_eq!(count_to(&par, 1000), 1000);
        assert_eq!(pool.install(|| count_to(&par, 1000)), 1000, "from inside the pool");
    }

    #[test]
    fn sessions_that_share_helpers_do_not_wait_for_each_other() {
        let par = Par::new(2).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        assert_eq!(count_to(&par, 50), 50);
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_of_the_caller_leaves_the_helpers_usable() {
        let par = Par::new(2).unwrap();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            par.enter(&mut || panic!("on purpose"), &|_| {});
        }));
        assert!(result.is_err());
        assert_eq!(count_to(&par, 10), 10);
    }
}
