//! What operations come to in the windows of faults, and on which side.

use proptest::prelude::*;

use super::*;

/// Three nodes with a client each, and a partition asked for.
fn three() -> Options {
    Options {
        nodes: ["n1", "n2", "n3"].map(str::to_owned).to_vec(),
        workers: 3,
        ..options()
    }
}

/// The start of a partition with a grudge.
fn cut(grudge: Value) -> String {
    let value = json!({"effective": true, "targets": ["n1"], "leader": true, "grudge": grudge});
    format!("partition invoke start\npartition ok start {value}\n")
}

fn n1_alone() -> Value {
    json!({"n1": ["n2", "n3"], "n2": ["n1"], "n3": ["n1"]})
}

const HEALTHY: &str = "0 invoke write\n1 invoke read\n0 ok@n1 write\n1 ok@n2 read\n";
const STOP: &str = "partition invoke stop\npartition ok stop {\"effective\": true}\n";

fn windows(result: &CheckResult) -> Vec<WindowReport> {
    serde_json::from_value(result.details["windows"].clone()).unwrap()
}

#[test]
fn operations_are_counted_by_window_side_and_function() {
    let text = HEALTHY.to_owned()
        + &cut(n1_alone())
        + "0 invoke write\n1 invoke write\n2 invoke read\n1 ok@n2 write\n2 ok@n3 read\n0 info write\n\
           3 invoke read\n\
           partition invoke stop\n\
           1 invoke read\n\
           3 ok@n1 read\n\
           partition ok stop\n\
           1 ok@n2 read\n\
           2 invoke read\n2 fail read";
    let result = judge(&text, &three());
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    let none = json!({"ok": 0, "ok-in-force": 0, "fail": 0, "info": 0});
    let tally = |fields: &[(&str, u64)]| {
        let mut tally = none.clone();
        for (field, count) in fields {
            tally[*field] = json!(count);
        }
        tally
    };
    let with = |mut tallies: Value, more: Value| {
        let more = more.as_object().unwrap().clone();
        tallies.as_object_mut().unwrap().extend(more);
        tallies
    };
    let acknowledged = tally(&[("ok", 1), ("ok-in-force", 1)]);
    let n1 = json!({"nodes": ["n1"], "by-f": {
        "read": tally(&[("ok", 1)]), "write": tally(&[("info", 1)]),
    }});
    let others = json!({"nodes": ["n2", "n3"], "by-f": {
        "read": acknowledged, "write": acknowledged,
    }});
    let window = json!({
        "fault": "partition", "from": 5, "to": 13, "effective": true, "targets": ["n1"],
        "by-f": {
            "read": tally(&[("ok", 2), ("ok-in-force", 1)]),
            "write": tally(&[("ok", 1), ("ok-in-force", 1), ("info", 1)]),
        },
        "sides": [
            with(tally(&[("ok", 1), ("info", 1)]), n1),
            with(tally(&[("ok", 2), ("ok-in-force", 2)]), others),
        ],
    });
    let all = tally(&[("ok", 3), ("ok-in-force", 2), ("info", 1)]);
    assert_eq!(result.details["windows"], json!([with(all, window)]));
}

#[test]
fn a_side_that_acknowledges_nothing_is_as_it_should_be() {
    let text = HEALTHY.to_owned()
        + &cut(n1_alone())
        + "0 invoke read\n1 invoke read\n1 ok@n2 read\n0 fail read\n"
        + STOP;
    let result = judge(&text, &three());
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
}

#[test]
fn a_partition_of_which_one_side_was_never_asked_for_anything() {
    let one_sided = "1 invoke read\n2 invoke read\n1 ok@n2 read\n2 ok@n3 read\n";
    let text = HEALTHY.to_owned() + &cut(n1_alone()) + one_sided + STOP;
    let problem = problem(&text, &three());
    assert!(
        problem.contains("both sides of a cut (they were on n2, n3 alone in each window); have clients on every node"),
        "{problem}"
    );
    // One window in which both were is enough.
    let both = "0 invoke read\n1 invoke read\n1 ok@n2 read\n0 info read\n";
    let text = text + &cut(n1_alone()) + both + STOP;
    assert_eq!(judge(&text, &three()).valid, Valid::True);
}

#[test]
fn a_side_is_that_of_who_answers() {
    // The client of n1's worker was sent on to n2.
    let sent_on = "0 invoke read\n1 invoke read\n1 ok@n2 read\n0 ok@n2 read\n";
    let text = HEALTHY.to_owned() + &cut(n1_alone()) + sent_on + STOP;
    assert!(problem(&text, &three()).contains("they were on n2 alone"));
}

#[test]
fn a_history_that_does_not_know_its_nodes() {
    let text = HEALTHY.replace("@n1", "").replace("@n2", "")
        + &cut(n1_alone())
        + "0 invoke read\n1 invoke read\n1 ok read\n0 ok read\n"
        + STOP;
    assert!(problem(&text, &options()).contains("does not say on which nodes"));
}

#[test]
fn nodes_that_see_each_other_are_not_two_sides() {
    let bridge = || cut(json!({"n1": ["n3"], "n3": ["n1"]}));
    let see_each_other = "0 invoke read\n1 invoke read\n1 ok@n2 read\n0 ok@n1 read\n";
    let text = HEALTHY.to_owned() + &bridge() + see_each_other + STOP;
    assert!(problem(&text, &three()).contains("they were on n1, n2 alone"));
    let cut_off = "0 invoke read\n2 invoke read\n2 ok@n3 read\n0 ok@n1 read\n";
    let text = HEALTHY.to_owned() + &bridge() + cut_off + STOP;
    let result = judge(&text, &three());
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    let sides = &windows(&result)[0].sides;
    let nodes: Vec<&[String]> = sides.iter().map(|side| side.nodes.as_slice()).collect();
    assert_eq!(nodes, [["n1"], ["n2"], ["n3"]]);
    assert_eq!(sides[0].sees, ["n2"]);
    assert_eq!(sides[1].sees, ["n1", "n3"]);
}

#[test]
fn a_fault_that_cuts_nothing_has_those_struck_and_the_others() {
    let kill = Options {
        faults: vec!["kill".into()],
        ..three()
    };
    let text = HEALTHY.to_owned()
        + "kill invoke start\n\
           kill ok start {\"effective\": true, \"targets\": [\"n2\"], \"leader\": true}\n\
           1 invoke read\n0 invoke read\n0 ok@n1 read\n1 fail read\n\
           kill invoke stop\nkill ok stop";
    let result = judge(&text, &kill);
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    let window = &windows(&result)[0];
    let [struck, others] = window.sides.as_slice() else {
        panic!("{window:?}");
    };
    assert!(struck.struck && !others.struck);
    assert_eq!(struck.nodes, ["n2"]);
    assert_eq!(
        (struck.operations.all.fail, others.operations.all.ok),
        (1, 1)
    );
}

#[test]
fn a_window_that_was_stopped_is_not_opened_by_a_stop_that_had_nothing_to_do() {
    let text = HEALTHY.to_owned()
        + &cut(n1_alone())
        + "0 invoke read\n1 invoke read\n1 ok@n2 read\n0 info read\n"
        + STOP
        + "partition invoke start\npartition fail start\npartition invoke stop\npartition fail stop\n\
           1 invoke read\n1 ok@n2 read\n";
    let result = judge(&text, &three());
    assert_eq!(result.details["faults"][0]["ok"], 1);
    assert_eq!(result.details["faults"][0]["skipped"], 1);
}

#[test]
fn healing_ends_a_window() {
    let text = HEALTHY.to_owned()
        + &cut(n1_alone())
        + "0 invoke read\n1 invoke read\n1 ok@n2 read\n0 info read\n\
           partition invoke heal\npartition ok heal\n\
           1 invoke read\n1 ok@n2 read\n";
    let result = judge(&text, &three());
    let window = &windows(&result)[0];
    assert_eq!((window.from, window.to), (5, Some(10)));
    assert_eq!(window.operations.all.ok, 1);
}

#[test]
fn what_never_ended_is_unknown_in_every_window_in_which_it_was_open() {
    let text = HEALTHY.to_owned()
        + "0 invoke write\n"
        + &cut(n1_alone())
        + STOP
        + &cut(n1_alone())
        + "1 invoke read\n1 ok@n2 read\n";
    let result = judge(&text, &three());
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    let windows = windows(&result);
    let infos: Vec<u64> = windows.iter().map(|it| it.operations.all.info).collect();
    assert_eq!(infos, [1, 1]);
    assert_eq!(windows[1].to, None);
}

#[test]
fn only_so_many_windows_are_told_one_by_one() {
    let mut text = HEALTHY.to_owned();
    for _ in 0..250 {
        text += &cut(n1_alone());
        text += "0 invoke read\n1 invoke read\n1 ok@n2 read\n0 fail read\n";
        text += STOP;
    }
    let result = judge(&text, &three());
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    assert_eq!(windows(&result).len(), 200);
    assert_eq!(
        result.details["windows-left-out"],
        json!({
            "windows": 50,
            "operations": {"ok": 50, "ok-in-force": 50, "fail": 50, "info": 0},
        })
    );
}

/// An operation or an activity of the oracle: indexes of its beginning and its end.
#[derive(Clone, Copy)]
struct Span {
    from: usize,
    to: usize,
}

proptest! {
    /// Against a count over all pairs of operations and windows.
    #[test]
    fn windows_hold_what_overlaps_them(
        steps in proptest::collection::vec((0usize..7, 0usize..3), 0..300),
    ) {
        let kinds = ["ok", "fail", "info"];
        let mut text = String::new();
        let mut next = 0;
        let mut say = |line: String| {
            text += &line;
            text.push('\n');
            next += 1;
            next - 1
        };
        let mut open: [Option<(u64, usize)>; 6] = [None; 6];
        let mut process: [u64; 6] = [0, 1, 2, 3, 4, 5];
        let mut operations: Vec<(Span, usize, u64)> = Vec::new();
        let mut standing: Option<usize> = None;
        let mut spans: Vec<Span> = Vec::new();
        for (who, how) in steps {
            let Some(slot) = open.get_mut(who) else {
                match standing.take() {
                    None => {
                        say("partition invoke start".into());
                        let value = json!({"effective": true, "grudge": n1_alone()});
                        standing = Some(say(format!("partition ok start {value}")));
                    }
                    Some(from) => {
                        let to = say("partition invoke stop".into());
                        say("partition ok stop".into());
                        spans.push(Span { from, to });
                    }
                }
                continue;
            };
            match slot.take() {
                None => *slot = Some((process[who], say(format!("{} invoke read", process[who])))),
                Some((number, from)) => {
                    let to = say(format!("{number} {} read", kinds[how]));
                    operations.push((Span { from, to }, how, number));
                    if how == 2 {
                        process[who] += 6;
                    }
                }
            }
        }
        operations.extend(open.iter().flatten().map(|(number, from)| (Span { from: *from, to: usize::MAX }, 2, *number)));
        spans.extend(standing.map(|from| Span { from, to: usize::MAX }));

        let six = Options { workers: 6, ..three() };
        let result = judge(&text, &six);
        let windows = windows(&result);
        prop_assert_eq!(windows.len(), spans.len());
        for (window, span) in windows.iter().zip(&spans) {
            for (side, nodes) in window.sides.iter().zip([&[0_u64][..], &[1, 2]]) {
                let within = |kind: usize, before: usize| {
                    let inside = operations.iter().filter(|(operation, how, number)| {
                        *how == kind && nodes.contains(&(number % 6 % 3))
                            && operation.to > span.from && operation.from < span.to && operation.to < before
                    });
                    inside.count() as u64
                };
                let all = side.operations.all;
                prop_assert_eq!(all.ok, within(0, usize::MAX));
                prop_assert_eq!(all.ok_in_force, within(0, span.to));
                prop_assert_eq!(all.fail, within(1, usize::MAX));
                let never = operations.iter().filter(|(operation, _, number)| {
                    operation.to == usize::MAX && nodes.contains(&(number % 6 % 3)) && operation.from < span.to
                });
                prop_assert_eq!(all.info, within(2, usize::MAX) + never.count() as u64);
            }
        }
    }
}

#[test]
fn what_was_done_to_packets_is_added_up() {
    let start = json!({"effective": true, "targets": ["n1"], "leader": true, "delayed": {"n1": 3}});
    let stop =
        json!({"effective": true, "delayed": {"n1": 5, "n2": 6}, "lost": {"n2": 1}, "delay-ms": 7});
    let activity = format!(
        "partition invoke start\npartition ok start {start}\n{HEALTHY}partition invoke stop\npartition ok stop {stop}\n"
    );
    let result = judge(&activity.repeat(2), &three());
    let seen = windows(&result);
    let each = json!({"delayed": 11, "lost": 1});
    assert_eq!(json!(seen[0].packets), each);
    assert_eq!(json!(seen[1].packets), each);
    let all = json!({"delayed": 22, "lost": 2});
    assert_eq!(result.details["faults"][0]["packets"], all);
}
