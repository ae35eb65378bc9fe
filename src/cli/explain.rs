//! `gainsay explain`: what there is to know of one thing.

use anyhow::Result;
use clap::{Arg, ArgMatches, Command};
use nemeses::FaultInfo;

use super::BadArguments;
use super::output::outln;
use crate::exit::Exit;

pub(super) fn command() -> Command {
    let name = Arg::new("name").value_name("NAME").required(true);
    Command::new("explain")
        .about("Explain a fault")
        .subcommand_required(true)
        .subcommand(
            Command::new("fault")
                .about("What a fault does, its options, what proves that it took effect, how it is undone")
                .arg(name.help("A fault or a preset; see `gainsay list faults`")),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Result<Exit> {
    let Some(("fault", matches)) = matches.subcommand() else {
        return Err(BadArguments("explain what?".to_owned()).into());
    };
    let name = matches.get_one::<String>("name").map_or("", |name| name);
    if let Some(preset) = nemeses::presets().iter().find(|preset| preset.name == name) {
        outln!("{}: {}", preset.name, preset.summary);
        outln!("\nIt stands for --nemesis {}.", preset.nemesis);
        return Ok(Exit::Valid);
    }
    // The error says what there is.
    let known = nemeses::parse(name).map_err(|error| BadArguments(error.to_string()))?;
    for info in known.iter().filter_map(|spec| nemeses::find(&spec.name)) {
        for line in page(info).lines() {
            outln!("{line}");
        }
    }
    Ok(Exit::Valid)
}

/// A fault's page, as Markdown, which reads well as it is.
fn page(info: &FaultInfo) -> String {
    let mut text = format!("## {}\n\n{}\n", info.name, info.summary);
    let mut say = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    if info.synthetic {
        say(
            "\n**Synthetic**: nothing in nature does this. It is in no preset, and the verdict names it.",
        );
    }
    if !info.variants.is_empty() {
        say(&format!(
            "\nVariants (`{}:NAME`; drawn anew for each activity where none is chosen):\n",
            info.name
        ));
        for variant in &info.variants {
            say(&format!("- `{}`: {}", variant.name, variant.summary));
        }
    }
    say("\nOptions (`:name=value`):\n");
    for option in &info.options {
        let default = option.default.as_deref();
        let default = default.map_or(String::new(), |text| format!("; by default `{text}`"));
        let kind = option.kind.to_string();
        let kind = kind.trim_end_matches(',');
        say(&format!(
            "- `{}` ({kind}{default}): {}",
            option.name, option.help
        ));
    }
    say(&format!("\nProof that it took effect: {}", info.evidence));
    say(&format!("\nHow it is undone: {}", info.undo));
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// `docs/faults.md` is made of the same definitions: with `GAINSAY_UPDATE_DOCS=1` it is written anew.
    #[test]
    fn the_documentation_of_faults_is_true() {
        let mut text = String::from(
            "# Faults\n\nWhat `--nemesis` takes, `NAME[:VARIANT][:key=value]…` with commas between faults. Made from the \
             definitions of the faults, as is\n`gainsay explain fault NAME`. How they go together is told in the README.\n",
        );
        text.push_str("\n## Presets\n\n");
        for preset in nemeses::presets() {
            text.push_str(&format!(
                "- `{}`: {} `{}`\n",
                preset.name, preset.summary, preset.nemesis
            ));
        }
        for info in nemeses::catalogue() {
            text.push('\n');
            text.push_str(&page(info));
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md");
        if std::env::var_os("GAINSAY_UPDATE_DOCS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == text,
            "docs/faults.md is not what the definitions say: run this test with GAINSAY_UPDATE_DOCS=1"
        );
    }
}
