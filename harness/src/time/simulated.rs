//! Virtual time: a deterministic single-threaded executor.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use rustc_hash::FxHashMap;
use thiserror::Error;

use super::{Clock, Nanos, Task};

/// Every task waits for another, and no timer is set: nothing can ever happen again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("simulation stalled at {at} ns: every task waits and no timer is set")]
pub struct Stalled {
    /// The virtual time at which it stalled.
    pub at: Nanos,
}

type TaskId = u64;

/// The task that `block_on` itself drives.
const MAIN: TaskId = 0;

#[derive(Default)]
struct State {
    now: Nanos,
    ready: VecDeque<TaskId>,
    spawned: Vec<(TaskId, Task)>,
    next_task: TaskId,
    next_timer: u64,
    timers: BinaryHeap<Reverse<Timer>>,
}

struct Timer {
    at: Nanos,
    /// Ties are broken by the order of setting.
    sequence: u64,
    waker: Waker,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// The clock of a [`VirtualRuntime`].
#[derive(Clone)]
pub struct VirtualClock(Arc<Mutex<State>>);

impl VirtualClock {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Nanos {
        self.state().now
    }

    fn sleep_until(&self, at: Nanos) -> Task {
        Box::pin(Sleep {
            clock: self.clone(),
            at,
            set: false,
        })
    }

    fn spawn(&self, task: Task) {
        let mut state = self.state();
        state.next_task += 1;
        let id = state.next_task;
        state.spawned.push((id, task));
        state.ready.push_back(id);
    }

    fn is_virtual(&self) -> bool {
        true
    }
}

struct Sleep {
    clock: VirtualClock,
    at: Nanos,
    set: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.clock.state();
        if state.now >= self.at {
            return Poll::Ready(());
        }
        // One timer per sleep: a sleep is only ever polled by the task that owns it.
        if !self.set {
            state.next_timer += 1;
            let timer = Timer {
                at: self.at,
                sequence: state.next_timer,
                waker: cx.waker().clone(),
            };
            state.timers.push(Reverse(timer));
            drop(state);
            self.set = true;
        }
        Poll::Pending
    }
}

struct TaskWaker {
    id: TaskId,
    clock: VirtualClock,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.clock.state().ready.push_back(self.id);
    }
}

/// Tasks that have not ended, each with the waker made for it.
type Tasks = FxHashMap<TaskId, (Task, Waker)>;

/// Runs futures on virtual time, in one thread, in an order that depends on nothing but the futures.
#[derive(Default)]
pub struct VirtualRuntime {
    state: Arc<Mutex<State>>,
    /// Where tasks wait between two calls of `block_on`.
    tasks: Mutex<Tasks>,
}

impl VirtualRuntime {
    /// A runtime at time 0.
    pub fn new() -> VirtualRuntime {
        VirtualRuntime::default()
    }

    /// Its clock.
    pub fn clock(&self) -> VirtualClock {
        VirtualClock(self.state.clone())
    }

    /// Runs a future until it is done, and meanwhile all that was spawned. Tasks still running then go
    /// on with the next call, and are dropped with the runtime.
    pub fn block_on<F: Future>(&self, main: F) -> Result<F::Output, Stalled> {
        let mut tasks = std::mem::take(&mut *self.tasks());
        let result = self.clock().run(main, &mut tasks);
        *self.tasks() = tasks;
        result
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tasks and timers hold the clock, which holds them: left alone they would keep each other for ever.
impl Drop for VirtualRuntime {
    fn drop(&mut self) {
        drop(std::mem::take(&mut *self.tasks()));
        // Out of the lock before they are dropped: a destructor may ask for the time.
        let clock = self.clock();
        let mut state = clock.state();
        let rest = (
            std::mem::take(&mut state.timers),
            std::mem::take(&mut state.spawned),
        );
        drop(state);
        drop(rest);
    }
}

impl VirtualClock {
    fn waker(&self, id: TaskId) -> Waker {
        Waker::from(Arc::new(TaskWaker {
            id,
            clock: self.clone(),
        }))
    }

    fn run<F: Future>(&self, main: F, tasks: &mut Tasks) -> Result<F::Output, Stalled> {
        let mut main = pin!(main);
        let main_waker = self.waker(MAIN);
        self.state().ready.push_back(MAIN);
        loop {
            let next = self.state().ready.pop_front();
            // New tasks are taken in before anything runs, so that a task may be woken at once.
            let spawned = std::mem::take(&mut self.state().spawned);
            for (id, task) in spawned {
                tasks.insert(id, (task, self.waker(id)));
            }
            match next {
                Some(MAIN) => {
                    let polled = main.as_mut().poll(&mut Context::from_waker(&main_waker));
                    if let Poll::Ready(output) = polled {
                        return Ok(output);
                    }
                }
                Some(id) => {
                    // A task that has ended may still be woken; that means nothing.
                    if let Some((task, waker)) = tasks.get_mut(&id) {
                        let mut context = Context::from_waker(waker);
                        if task.as_mut().poll(&mut context).is_ready() {
                            tasks.remove(&id);
                        }
                    }
                }
                None => self.advance()?,
            }
        }
    }

    /// Jumps to the next timer.
    fn advance(&self) -> Result<(), Stalled> {
        let mut state = self.state();
        let Some(Reverse(timer)) = state.timers.pop() else {
            return Err(Stalled { at: state.now });
        };
        state.now = state.now.max(timer.at);
        drop(state);
        timer.waker.wake();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::time::{sleep, timeout};
    use std::time::Duration;

    #[test]
    fn tasks_interleave_by_time_and_then_by_order() {
        let runtime = VirtualRuntime::new();
        let log = Arc::new(Mutex::new(Vec::new()));
        let clock = runtime.clock();
        for (name, wait) in [("a", 30), ("b", 10), ("c", 30)] {
            let (clock2, log) = (clock.clone(), log.clone());
            clock.spawn(Box::pin(async move {
                sleep(&clock2, Duration::from_nanos(wait)).await;
                log.lock().unwrap().push((name, clock2.now()));
            }));
        }
        runtime
            .block_on(sleep(&clock, Duration::from_nanos(50)))
            .unwrap();
        assert_eq!(*log.lock().unwrap(), [("b", 10), ("a", 30), ("c", 30)]);
        assert_eq!(clock.now(), 50);
    }

    #[test]
    fn timeouts_and_stalls() {
        let runtime = VirtualRuntime::new();
        let clock = runtime.clock();
        let limit = Duration::from_secs(3600);
        let gone = runtime.block_on(timeout(&clock, limit, std::future::pending::<()>()));
        assert_eq!(gone, Ok(None));
        assert_eq!(clock.now(), 3_600_000_000_000);
        assert!(runtime.block_on(std::future::pending::<()>()).is_err());
    }

    #[test]
    fn tasks_go_on_with_the_next_call() {
        let runtime = VirtualRuntime::new();
        let clock = runtime.clock();
        let done = Arc::new(Mutex::new(false));
        let (clock2, done2) = (clock.clone(), done.clone());
        clock.spawn(Box::pin(async move {
            sleep(&clock2, Duration::from_nanos(20)).await;
            *done2.lock().unwrap() = true;
        }));
        let nap = || sleep(&clock, Duration::from_nanos(15));
        runtime.block_on(nap()).unwrap();
        assert!(!*done.lock().unwrap());
        runtime.block_on(nap()).unwrap();
        assert!(*done.lock().unwrap());
    }

    #[test]
    fn a_dropped_runtime_frees_everything() {
        let runtime = VirtualRuntime::new();
        let clock = runtime.clock();
        let held = Arc::new(());
        for wait in [10, 20] {
            let (clock2, held) = (clock.clone(), held.clone());
            clock.spawn(Box::pin(async move {
                sleep(&clock2, Duration::from_nanos(wait)).await;
                std::future::pending::<()>().await;
                drop(held);
            }));
        }
        runtime
            .block_on(sleep(&clock, Duration::from_nanos(15)))
            .unwrap();
        let state = Arc::downgrade(&clock.0);
        drop((runtime, clock));
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(state.upgrade().is_none());
    }
}
