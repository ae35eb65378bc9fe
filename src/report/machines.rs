//! What a run ran on: the controller, the nodes, and the versions on them.

use harness::node::facts::Facts;
use maud::{Markup, html};

use crate::spec::{NodeFound, TestSpec};

/// A table of machines; nothing for a run of a version that did not keep them.
pub(super) fn machines(spec: &TestSpec) -> Markup {
    html! {
        @if spec.controller.is_some() || !spec.found.is_empty() {
            h3 { "Machines" }
            table {
                thead { tr {
                    th { "Machine" } th { "System under test" } th { "Operating system" }
                    th.n { "CPUs" } th.n { "Memory" } th { "Addresses" } th.n { "Clock ahead (s)" }
                } }
                tbody {
                    @for found in &spec.found { (node(found)) }
                    @if let Some(facts) = &spec.controller {
                        tr { td { "clients" } td { "Gainsay " (spec.gainsay) } (size(facts)) td {} td.n {} }
                    }
                }
            }
            @if let Some(apart) = clocks(&spec.found) { p.soft { (apart) } }
        }
    }
}

fn node(found: &NodeFound) -> Markup {
    let facts = &found.facts;
    let mut addresses: Vec<&str> = vec![&found.address];
    addresses.extend(
        facts
            .addresses
            .iter()
            .map(String::as_str)
            .filter(|it| *it != found.address),
    );
    html! {
        tr {
            td { (found.node) } td { (found.system.as_deref().unwrap_or("did not come to run")) } (size(facts))
            td.mono { (addresses.join(" ")) }
            td.n { @if let Some(clock) = facts.clock { (format!("{:+.3} ± {:.3}", clock.ahead, clock.within)) } }
        }
    }
}

fn size(facts: &Facts) -> Markup {
    let os = [&facts.os, &facts.kernel, &facts.architecture].map(Option::as_deref);
    let os: Vec<&str> = os.into_iter().flatten().collect();
    html! {
        td { (os.join(", ")) }
        td.n { @if let Some(cpus) = facts.cpus { (cpus) } }
        td.n { @if let Some(memory) = facts.memory { (format!("{:.1} GB", memory as f64 / f64::from(1 << 30))) } }
    }
}

/// By how much the nodes' clocks may have differed, in a sentence.
fn clocks(found: &[NodeFound]) -> Option<String> {
    let clocks = || found.iter().filter_map(|found| found.facts.clock);
    if found.len() < 2 || clocks().count() < found.len() {
        return None;
    }
    let latest = clocks()
        .map(|clock| clock.ahead + clock.within)
        .fold(f64::MIN, f64::max);
    let earliest = clocks()
        .map(|clock| clock.ahead - clock.within)
        .fold(f64::MAX, f64::min);
    Some(format!(
        "The nodes' clocks agreed to within {:.3} s before the run. No verdict depends on them: every event is \
         stamped by the clients' machine.",
        latest - earliest
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use harness::node::facts::ClockReading;

    use super::*;

    fn found(node: &str, ahead: f64) -> NodeFound {
        NodeFound {
            node: node.into(),
            address: "10.0.0.1".to_owned(),
            system: Some("etcd 3.5.16".to_owned()),
            facts: Facts {
                os: Some("Debian GNU/Linux 13 (trixie)".to_owned()),
                kernel: Some("Linux 6.12.48".to_owned()),
                architecture: Some("x86_64".to_owned()),
                cpus: Some(2),
                memory: Some(8 << 30),
                addresses: vec!["10.0.0.1".to_owned(), "fd00::1".to_owned()],
                clock: Some(ClockReading {
                    ahead,
                    within: 0.005,
                }),
            },
        }
    }

    #[test]
    fn a_node_in_a_row() {
        let html = node(&found("n1", -0.25)).into_string();
        insta::assert_snapshot!(html.replace("<td", "\n<td"), @r#"
        <tr>
        <td>n1</td>
        <td>etcd 3.5.16</td>
        <td>Debian GNU/Linux 13 (trixie), Linux 6.12.48, x86_64</td>
        <td class="n">2</td>
        <td class="n">8.0 GB</td>
        <td class="mono">10.0.0.1 fd00::1</td>
        <td class="n">-0.250 ± 0.005</td></tr>
        "#);
        let unknown = NodeFound {
            system: None,
            facts: Facts::default(),
            ..found("n1", 0.0)
        };
        let html = node(&unknown).into_string();
        assert!(html.contains("did not come to run"), "{html}");
    }

    #[test]
    fn clocks_are_compared_where_all_are_known() {
        let two = [found("n1", -0.25), found("n2", 0.5)];
        assert!(clocks(&two).unwrap().contains("to within 0.760 s"));
        assert_eq!(clocks(&two[..1]), None);
        let mut unknown = two.to_vec();
        unknown[1].facts.clock = None;
        assert_eq!(clocks(&unknown), None);
    }
}
