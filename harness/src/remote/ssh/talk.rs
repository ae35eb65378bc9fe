//! A script that is talked to while it runs, over a session of its own.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ssh2::ExtendedData;

use super::exchange::{Attempt, Exchange};
use super::frame;
use super::pool::Profile;
use super::pump::Pump;
use super::worker::open_connection;
use super::{Failure, refused};
use crate::remote::{Command, RemoteError};

/// How long it may take to open a channel and send the script.
const SENDING: Duration = Duration::from_secs(10);

/// Starts a script, and returns the other half of its standard streams. It ends with the stream: the
/// script then reads the end of its input.
pub(super) fn talk(profile: &Arc<Profile>, command: &Command) -> Result<UnixStream, RemoteError> {
    let cannot = |failure: Failure| failure.into_error(&profile.node);
    let deadline = Instant::now() + profile.target.connect_timeout;
    let connection = open_connection(profile, deadline).map_err(cannot)?;
    let exchange = Exchange {
        connection: &connection,
        deadline: Instant::now() + SENDING,
        cancelled: &|| false,
    };
    let token = frame::token();
    let (elevation, password) = profile.elevation(command.root);
    let framed = frame::once(&command.script, &token, elevation, password);
    let mut channel = exchange
        .open(&framed.command)
        .map_err(|attempt| match attempt {
            Attempt::Refused(said) => refused(profile, &said),
            Attempt::NotStarted(why) => {
                cannot(Failure::new(why, "sshd's log on the node says more"))
            }
            other => cannot(Failure::new(
                format!("{other:?}"),
                "sshd's log on the node says more",
            )),
        })?;
    let local = |error: io::Error| {
        cannot(Failure::new(
            format!("cannot talk to a program: {error}"),
            "this machine may be out of threads or file descriptors (ulimit -n)",
        ))
    };
    connection
        .until(exchange.deadline, || {
            channel.handle_extended_data(ExtendedData::Merge)
        })
        .map_err(|stall| local(io::Error::other(format!("{stall:?}"))))?;
    let (ours, mut theirs) = UnixStream::pair().map_err(local)?;
    // The script itself goes first; the pair holds that much.
    theirs.write_all(&framed.prologue).map_err(local)?;
    let pump = Pump::new(connection, channel, ours).map_err(local)?;
    std::thread::Builder::new()
        .name(format!("ssh-{}-talk", profile.node))
        .spawn(move || pump.run())
        .map_err(local)?;
    Ok(theirs)
}
