//! `cargo xtask generate [--check]` writes (or compares) what is generated; `cargo xtask tidy` checks conventions.

mod generate;
mod tidy;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

#[derive(Parser)]
#[command(about)]
enum Command {
    /// Write crds/ and api/openapi.yaml.
    Generate {
        /// Change nothing; fail where a file differs.
        #[arg(long)]
        check: bool,
    },
    /// Check the conventions that no lint knows.
    Tidy,
}

fn main() -> ExitCode {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let done = match Command::parse() {
        Command::Generate { check } => generate::run(&root, check),
        Command::Tidy => tidy::run(&root),
    };
    done.map_or_else(|error| complain(&error), |()| ExitCode::SUCCESS)
}

#[expect(clippy::print_stderr, reason = "a command line prints")]
fn complain(error: &anyhow::Error) -> ExitCode {
    eprintln!("xtask: {error:#}");
    ExitCode::FAILURE
}
