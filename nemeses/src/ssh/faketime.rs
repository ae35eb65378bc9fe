//! Clocks of processes that were started under libfaketime, which answers in the place of the C library, and goes by a file.
//!
//! That it does is seen from two sides: each process has loaded it, and a program that has the process's environment is told another time
//! than one that has not.

use harness::capability::{CapabilityError, ClockChange, ClockOffsets, ClockSeen, ClockSetting};
use harness::node::undo::Undo;
use harness::remote::{Command, quote};

use super::journaled::{Journaled, Standing, no_answer, succeeded};
use super::preload::{TRUE_TIME, faked_time};

/// Looks at each process of `$pids`: its pid, whether it has loaded the library, what time a program is told that has its environment,
/// between two looks at the true time, and its name.
const LOOK: &str = r#"
for pid in $pids; do
  read -r name </proc/$pid/comm || continue
  loaded=no; grep -q libfaketime /proc/$pid/maps && loaded=yes
  before=$(date +%s.%N)
  told=$(xargs -0 -a /proc/$pid/environ sh -c 'exec env -i "$@" date +%s.%N' sh)
  after=$(date +%s.%N)
  echo $pid $loaded $before $told $after $name
done
"#;

/// Makes the clocks go so from now on, and looks at them.
pub(super) async fn change(
    standing: &Standing,
    at: &Journaled,
    pids: &str,
    setting: &ClockSetting,
) -> Result<Vec<ClockSeen>, CapabilityError> {
    let ClockChange::Skew { offset_ms } = setting.change else {
        let why = "libfaketime skews, and does nothing else";
        return Err(CapabilityError::NotDone(why.to_owned()));
    };
    let before = look(at, pids, 0).await?;
    let time = faked_time(at);
    let time = quote(&time);
    let undo = Undo {
        fault: "clock".to_owned(),
        undo: format!("[ ! -e {time} ] || {}", tell(&time, TRUE_TIME)),
        verify: format!("[ ! -e {time} ] || [ \"$(cat {time})\" = {TRUE_TIME} ]"),
        survives_reboot: true,
        process: None,
    };
    let seconds = format!("{:+.3}", offset_ms as f64 / 1000.0);
    let there = format!("[ -e {time} ] && {}", tell(&time, &seconds));
    let told = standing.act(at, &undo, Command::new(there)).await?;
    if told.status != 0 {
        let why = "its programs were not started under libfaketime";
        return Err(CapabilityError::Indeterminate(format!(
            "{}: {why}",
            at.node.name
        )));
    }
    let mut seen = look(at, pids, offset_ms).await?;
    for one in &mut seen {
        let earlier = before.iter().find(|it| it.whose == one.whose);
        one.before = earlier.and_then(|it| it.during);
    }
    Ok(seen)
}

/// Makes the clocks tell the true time, and looks at them.
pub(super) async fn restore(
    standing: &Standing,
    at: &Journaled,
    pids: &str,
) -> Result<Vec<ClockSeen>, CapabilityError> {
    let time = faked_time(at);
    let time = quote(&time);
    let told = standing
        .undo(at, Command::new(tell(&time, TRUE_TIME)))
        .await?;
    succeeded(at, &told)?;
    let mut seen = look(at, pids, 0).await?;
    for one in &mut seen {
        one.after = one.during.take();
    }
    Ok(seen)
}

/// Looks at the clocks, which should be ahead by so many milliseconds.
async fn look(
    at: &Journaled,
    pids: &str,
    ahead_ms: i64,
) -> Result<Vec<ClockSeen>, CapabilityError> {
    let look = format!("pids=$({pids})\n{LOOK}");
    let looked = at.node.remote.exec(Command::new(look).idempotent()).await;
    let text = looked.map_err(no_answer)?;
    Ok(text
        .text()
        .lines()
        .filter_map(|line| read(line, ahead_ms))
        .collect())
}

/// All that a program sees at once, or nothing new.
fn tell(file: &str, time: &str) -> String {
    format!("echo {time} >{file}.new && chmod 644 {file}.new && mv {file}.new {file}")
}

fn read(line: &str, ahead_ms: i64) -> Option<ClockSeen> {
    let mut words = line.splitn(6, ' ');
    let (pid, loaded) = (words.next()?, words.next()? == "yes");
    let mut time = || words.next()?.parse::<f64>().ok();
    let (before, told, after) = (time()?, time()?, time()?);
    let name = words.next()?;
    let millis = |seconds: f64| seconds * 1000.0;
    let (least, most) = (millis(told - after), millis(told - before));
    // What is read as a number of seconds since 1970 is read to a few hundred nanoseconds.
    let is = |ahead: f64| least - 0.01 <= ahead && ahead <= most + 0.01;
    Some(ClockSeen {
        whose: format!("{name}[{pid}]"),
        before: None,
        during: Some(ClockOffsets {
            realtime: (least + most) / 2.0,
            monotonic: 0.0,
        }),
        after: None,
        effective: loaded && is(ahead_ms as f64) && (ahead_ms == 0 || !is(0.0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effective(line: &str, ahead_ms: i64) -> Option<bool> {
        read(line, ahead_ms).map(|seen| seen.effective)
    }

    #[test]
    fn what_is_seen_is_judged() {
        let ahead = "12 yes 100.000 103.605 100.010 my daemon";
        assert_eq!(effective(ahead, 3600), Some(true));
        assert_eq!(effective(ahead, 3500), Some(false));
        assert_eq!(effective(ahead, 0), Some(false));
        assert_eq!(
            effective("12 no 100.000 103.605 100.010 d", 3600),
            Some(false)
        );
        // It cannot be told from the true time.
        assert_eq!(
            effective("12 yes 100.000 100.005 100.010 d", 2),
            Some(false)
        );
        assert_eq!(effective("12 yes 100.000 100.005 100.010 d", 0), Some(true));
        assert_eq!(effective("12 yes 100.000  100.010 d", 0), None);
        assert!(read(ahead, 3600).is_some_and(|seen| seen.whose == "my daemon[12]"));
    }
}
