//! The only place that prints.
#![expect(clippy::print_stderr, reason = "a command line prints")]

use std::io::{IsTerminal, Write};

use anyhow::Context;
use serde::Serialize;

use crate::args::Format;

/// Prints a line. A reader that has gone away (`| head`) is no error.
pub fn line(text: &str) {
    _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints `value` as JSON or YAML.
///
/// # Errors
/// If it cannot be written as such.
pub fn data(value: &impl Serialize, format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Yaml => {
            serde_saphyr::to_string(&serde_json::to_value(value)?).context("cannot write YAML")?
        }
        _ => serde_json::to_string_pretty(value).context("cannot write JSON")?,
    };
    line(text.trim_end());
    Ok(())
}

/// Prints lines in place of those printed last; one after the other where there is no terminal.
pub fn screen(lines: &[String]) {
    let clear = if std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
    line(&format!("{clear}{}\n", lines.join("\n")));
}

/// Says what went wrong, in one line with its causes.
pub fn complain(error: &anyhow::Error) {
    eprintln!("evenkeel: {error:#}");
}

/// Says something that does not belong to the output.
pub fn note(text: &str) {
    eprintln!("{text}");
}
