//! Makes histories from elsewhere pair.
//!
//! A history of ours pairs as it stands, and one that does not is an error. Others' histories are
//! mended, each kind of mending counted and said:
//!
//! - Jepsen's nemesis marks both ends of an activity `:info`. The first becomes an invocation, the
//!   next of the same function its completion.
//! - A process that begins an operation before its last one ended has not heard of the last one:
//!   it goes on under a new number, and the last operation stays open, as after a crash.
//! - A completion without an open invocation, such as a late answer after `:info`, is left out. That
//!   is the weaker reading: an open operation may have happened, and may not have.

use rustc_hash::FxHashMap;

use crate::event::{Event, EventType, Name, Process};

/// Mends events so that they pair, and says what was done.
pub(super) fn mend(events: Vec<Event>) -> (Vec<Event>, Vec<String>) {
    let mut next_client = 0;
    for event in &events {
        next_client = next_client.max(client_after(event));
    }
    let mut mender = Mender::new(next_client);
    let mended = events
        .into_iter()
        .filter_map(|event| mender.mend(event))
        .collect();
    (mended, mender.notes())
}

/// An invocation for each completion, where there is none.
pub(super) fn begun(events: Vec<Event>) -> Vec<Event> {
    let both = events.into_iter().flat_map(|event| {
        let invoke = Event {
            kind: EventType::Invoke,
            ..event.clone()
        };
        [invoke, event]
    });
    both.collect()
}

/// What is known of a process of the original history.
#[derive(Default)]
struct State {
    /// The name it goes on under, if not its own.
    alias: Option<Process>,
    /// The function of its open operation.
    open: Option<Name>,
    /// The open operation was begun by an `info`, so an `info` ends it well.
    begun_by_info: bool,
}

/// Mends one event after another.
pub struct Mender {
    states: FxHashMap<Process, State>,
    next_client: u64,
    renamed: Count,
    left_out: Count,
}

/// The least number of a client above an event's, where it is a client's: the greatest of them is what a [`Mender`] begins with.
pub fn client_after(event: &Event) -> u64 {
    match event.process {
        Process::Client(n) => n.saturating_add(1),
        Process::Nemesis(_) => 0,
    }
}

/// How often something was done, and where first.
#[derive(Default)]
struct Count {
    times: u64,
    first: Option<(u64, Process)>,
}

impl Count {
    fn add(&mut self, event: &Event) {
        self.times += 1;
        self.first
            .get_or_insert_with(|| (event.index, event.process.clone()));
    }

    fn note(&self, what: &str) -> Option<String> {
        let (index, process) = self.first.as_ref()?;
        Some(format!(
            "{what}: {}, the first at event {index}, process {process}",
            self.times
        ))
    }
}

impl Mender {
    /// Clients of the history have numbers below `next_client`.
    pub fn new(next_client: u64) -> Mender {
        Mender {
            states: FxHashMap::default(),
            next_client,
            renamed: Count::default(),
            left_out: Count::default(),
        }
    }

    /// The next event as it should be, or `None` if it is to be left out.
    pub fn mend(&mut self, mut event: Event) -> Option<Event> {
        if !self.states.contains_key(&event.process) {
            self.states.insert(event.process.clone(), State::default());
        }
        let state = self.states.get_mut(&event.process)?;
        let was_info = event.kind == EventType::Info;
        if !event.is_client() && was_info {
            tell_apart(&mut event, state);
        }
        if event.is_invoke() {
            if state.open.is_some() {
                self.renamed.add(&event);
                state.alias = Some(match &event.process {
                    Process::Client(_) => {
                        self.next_client = self.next_client.saturating_add(1);
                        Process::Client(self.next_client - 1)
                    }
                    Process::Nemesis(name) => {
                        Process::Nemesis(format!("{name}-{}", self.renamed.times + 1).into())
                    }
                });
            }
            state.open = Some(event.f.clone());
            state.begun_by_info = was_info;
        } else if state.open.take().is_none() {
            self.left_out.add(&event);
            return None;
        }
        if let Some(alias) = &state.alias {
            event.process = alias.clone();
        }
        Some(event)
    }

    /// What was done, a sentence each, for a person.
    pub fn notes(&self) -> Vec<String> {
        let renamed =
            "operations begun while their process had another open, and given to a new process";
        let left_out = "completions of operations that were not open, and left out";
        [self.renamed.note(renamed), self.left_out.note(left_out)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Makes a nemesis' `info` the beginning or the end that it is.
fn tell_apart(event: &mut Event, state: &State) {
    match &state.open {
        Some(open) if *open == event.f => {
            if state.begun_by_info {
                event.kind = EventType::Ok;
            }
        }
        // An activity that was begun by an invocation ends by this; else this begins another.
        Some(_) if !state.begun_by_info => {}
        _ => event.kind = EventType::Invoke,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::event;
    use crate::{History, Outcome};
    use proptest::prelude::*;
    use serde_json::Value;

    fn events(text: &str) -> Vec<Event> {
        let step = |(at, word): (usize, &str)| {
            let (process, rest) = word.split_once(':').unwrap();
            let (kind, f) = rest.split_once(':').unwrap_or((rest, "w"));
            let kind = match kind {
                "invoke" => EventType::Invoke,
                "ok" => EventType::Ok,
                "fail" => EventType::Fail,
                _ => EventType::Info,
            };
            let mut event = event(at as u64, 0, kind, f, Value::Null);
            event.process = match process.parse() {
                Ok(n) => Process::Client(n),
                Err(_) => Process::Nemesis(process.into()),
            };
            event
        };
        text.split_whitespace().enumerate().map(step).collect()
    }

    #[track_caller]
    fn check(before: &str, after: &str, notes: &[&str]) {
        let (mended, said) = mend(events(before));
        let show = |event: &Event| {
            let process = event.process.to_string();
            let process = process
                .strip_prefix("nemesis/")
                .unwrap_or(&process)
                .to_owned();
            format!("{process}:{}:{}", event.kind.as_str(), event.f)
        };
        assert_eq!(mended.iter().map(show).collect::<Vec<_>>().join(" "), after);
        assert_eq!(said, notes);
        assert!(History::new(mended).is_ok());
    }

    #[test]
    fn a_history_that_pairs_is_left_alone() {
        let good =
            "0:invoke:w 1:invoke:r kill:invoke:start 0:info:w kill:info:start 1:ok:r 2:invoke:w";
        check(good, good, &[]);
    }

    #[test]
    fn the_two_infos_of_a_nemesis_are_a_pair() {
        check(
            "n:info:start n:info:start 0:invoke 0:ok n:info:stop n:info:stop n:info:start",
            "n:invoke:start n:ok:start 0:invoke:w 0:ok:w n:invoke:stop n:ok:stop n:invoke:start",
            &[],
        );
        check(
            "n:info:start n:info:stop n:info:stop",
            "n:invoke:start n-2:invoke:stop n-2:ok:stop",
            &[
                "operations begun while their process had another open, and given to a new process: 1, \
               the first at event 1, process nemesis/n",
            ],
        );
    }

    #[test]
    fn an_operation_that_a_process_left_behind_stays_open() {
        let (mended, notes) = mend(events(
            "0:invoke:w 1:invoke:r 0:invoke:r 0:ok:r 1:ok:r 0:invoke:w 0:ok:w",
        ));
        assert_eq!(notes.len(), 1);
        let history = History::new(mended).unwrap();
        let outcomes: Vec<_> = history
            .client_operations()
            .map(|op| (op.invoke.process.to_string(), op.outcome()))
            .collect();
        let expected = [
            ("0", Outcome::Info),
            ("1", Outcome::Ok),
            ("2", Outcome::Ok),
            ("2", Outcome::Ok),
        ];
        assert_eq!(
            outcomes,
            expected.map(|(process, outcome)| (process.to_owned(), outcome))
        );
    }

    #[test]
    fn a_late_or_second_completion_is_left_out() {
        check(
            "0:invoke 0:info 0:ok 1:fail 0:invoke 0:ok",
            "0:invoke:w 0:info:w 0:invoke:w 0:ok:w",
            &[
                "completions of operations that were not open, and left out: 2, the first at event 2, process 0",
            ],
        );
    }

    proptest! {
        #[test]
        fn whatever_comes_pairs_in_the_end(steps in prop::collection::vec("(0|1|2|n):(invoke|ok|fail|info):(r|w)", 0..40)) {
            let (mended, _) = mend(events(&steps.join(" ")));
            prop_assert!(History::new(mended).is_ok());
        }
    }
}
