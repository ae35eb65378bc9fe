//! What only a node with a kernel of its own can do: a clock that is set, a reboot, `tc netem`. On local nodes of user-mode Linux, over
//! real SSH. Needs root and user-mode Linux.
//!
//! It has its own `main`, since the test executable is started again as the nodes' processes. Arguments that are not options select tests
//! by parts of their names. All use the same nodes, one after another.

#![allow(clippy::unwrap_used, missing_docs)]

mod clocks;
#[path = "../common/conformance.rs"]
mod conformance;
mod cuts;
mod memory;
mod netem;
mod outside;
#[path = "../common/part.rs"]
mod part;
mod reboots;
#[path = "../common/skip.rs"]
mod skip;
#[path = "../common/ssh.rs"]
mod ssh;
mod stage;

use std::time::Instant;

use harness::local::{self, Config, Kernel, run_helper_if_asked};

use outside::Machines;

type Test = fn(&Machines);

const TESTS: &[(&str, Test)] = &[
    (
        "clocks_step_and_come_back",
        clocks::clocks_step_and_come_back,
    ),
    ("clocks_strobe", clocks::clocks_strobe),
    ("clocks_drift", clocks::clocks_drift),
    ("clocks_freeze", clocks::clocks_freeze),
    (
        "systems_are_started_with_what_keeps_their_waits_true",
        clocks::systems_are_started_with_what_keeps_their_waits_true,
    ),
    (
        "a_clock_comes_back_when_the_controller_is_gone",
        clocks::a_clock_comes_back_when_the_controller_is_gone,
    ),
    (
        "heal_brings_back_a_clock_that_nobody_keeps",
        clocks::heal_brings_back_a_clock_that_nobody_keeps,
    ),
    (
        "an_orderly_reboot_loses_nothing",
        reboots::an_orderly_reboot_loses_nothing,
    ),
    (
        "a_hard_reboot_loses_what_was_not_synced",
        reboots::a_hard_reboot_loses_what_was_not_synced,
    ),
    (
        "power_is_cut_until_the_end",
        reboots::power_is_cut_until_the_end,
    ),
    (
        "what_stood_on_a_machine_is_gone_with_it",
        reboots::what_stood_on_a_machine_is_gone_with_it,
    ),
    (
        "a_node_that_shares_its_kernel_is_refused",
        reboots::a_node_that_shares_its_kernel_is_refused,
    ),
    (
        "one_that_was_not_ended_is_there",
        reboots::one_that_was_not_ended_is_there,
    ),
    (
        "memory_is_taken_until_the_kernel_kills",
        memory::memory_is_taken_until_the_kernel_kills,
    ),
    (
        "a_kernel_without_a_firewall_cuts_by_filters",
        cuts::a_kernel_without_a_firewall_cuts_by_filters,
    ),
    (
        "filters_find_the_traffic_that_is_meant",
        cuts::filters_find_the_traffic_that_is_meant,
    ),
    (
        "filters_are_gone_with_their_controller",
        cuts::filters_are_gone_with_their_controller,
    ),
    (
        "what_filters_cannot_do_is_refused",
        cuts::what_filters_cannot_do_is_refused,
    ),
    (
        "netem_does_what_every_means_does",
        netem::netem_does_what_every_means_does,
    ),
    ("netem_loses_in_bursts", netem::netem_loses_in_bursts),
    (
        "netem_finds_the_traffic_that_is_meant",
        netem::netem_finds_the_traffic_that_is_meant,
    ),
    (
        "netem_is_gone_with_its_controller",
        netem::netem_is_gone_with_its_controller,
    ),
    (
        "what_netem_cannot_do_is_refused",
        netem::what_netem_cannot_do_is_refused_or_left_to_the_queue,
    ),
    (
        "the_queue_does_what_every_means_does",
        netem::the_queue_does_what_every_means_does,
    ),
    (
        "heal_starts_what_a_dead_controller_ended",
        reboots::heal_starts_what_a_dead_controller_ended,
    ),
];

fn main() {
    run_helper_if_asked();
    if !nix::unistd::geteuid().is_root() || !local::missing_for_own_kernels().is_empty() {
        return skip::skip_own_kernel(
            "all tests on nodes with kernels of their own",
            "they need root and user-mode-linux",
        );
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted: Vec<&String> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
    let mut tests = TESTS.to_vec();
    tests.retain(|(name, _)| {
        wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()))
    });
    if tests.is_empty() {
        return;
    }
    let mut config = Config::new(3);
    config.kernel = Kernel::Own;
    let began = Instant::now();
    let cluster = local::up(&config, &mut |line| eprintln!("  {line}")).unwrap();
    eprintln!("3 nodes up in {:.1} s", began.elapsed().as_secs_f64());
    cluster.enter_switch_netns().unwrap();
    let machines = Machines::new(cluster);
    for (name, test) in tests {
        let began = Instant::now();
        eprint!("test {name} ... ");
        test(&machines);
        eprintln!("ok ({:.1} s)", began.elapsed().as_secs_f64());
    }
    machines.down();
}
