//! A program that runs until it is dropped.

use std::{
    fs::{self, File},
    io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A running program, and its log.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program.
    pub(crate) fn start(program: &Path, flags: &[String], log: PathBuf) -> io::Result<Self> {
        let out = File::create(&log)?;
        let child = Command::new(program)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()?;
        Ok(Self { child, log })
    }

    /// The end of the log, if the program has ended.
    pub(crate) fn failure(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(10).collect();
        Some(format!("{status}: {}", lines.into_iter().rev().collect::<Vec<_>>().join("\n")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing of it is kept, so nothing needs an orderly end; an error means that it has ended.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A port of the loopback that was free a moment ago.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
