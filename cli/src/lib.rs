//! The command line: `evenkeel`, also `kubectl evenkeel`.
//!
//! `local` runs a controller and a proxy in this process; `simulate` asks nobody; `explain` asks a proxy, everything
//! else a controller, of a cluster or of `local`.

pub mod args;
pub mod explain;
pub mod get;
pub mod local;
pub mod output;
pub mod server;
pub mod simulate;
pub mod status;
pub mod table;
pub mod top;

use anyhow::Context;

use args::{Args, Command};

/// Runs a command and says with which code to exit.
///
/// # Errors
/// What went wrong, in one line with its causes.
pub fn run(args: Args) -> anyhow::Result<std::process::ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        match args.command {
            Command::Local(local) => local::run(local).await,
            Command::Get(get) => get::run(get).await,
            Command::Top(top) => top::run(top).await,
            Command::Status(status) => status::run(status).await,
            Command::Explain(explain) => explain::run(explain).await,
            Command::Simulate(simulate) => simulate::run(&simulate),
        }
    })
}

/// The program: parses the command line, runs the command, and reports what went wrong in one line.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let args = <Args as clap::Parser>::parse();
    run(args).unwrap_or_else(|error| {
        output::complain(&error);
        std::process::ExitCode::from(1)
    })
}
