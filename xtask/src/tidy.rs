//! Conventions that no lint knows: which crate may depend on which, how long a file may be, and what no file may say.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context, bail};
use serde_json::Value;

/// Crates of ours that each crate of ours may depend on (beside dev-dependencies): one way only.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("evenkeel-balance", &[]),
    ("evenkeel-api", &["evenkeel-balance"]),
    ("evenkeel-tls", &[]),
    ("evenkeel-controller", &["evenkeel-api", "evenkeel-tls"]),
    ("evenkeel-proxy", &["evenkeel-api", "evenkeel-balance", "evenkeel-tls"]),
    ("evenkeel-simulator", &["evenkeel-balance"]),
    (
        "evenkeel",
        &["evenkeel-api", "evenkeel-controller", "evenkeel-proxy", "evenkeel-simulator", "evenkeel-tls"],
    ),
    ("evenkeel-demo", &[]),
];
/// Crates that the pure core must never meet.
const NOT_IN_BALANCE: &[&str] = &["tokio", "hyper", "kube", "serde_json", "socket2"];
/// Longest file of code, tests included; past it look for the second concept.
const MAX_LINES: usize = 500;

/// Checks all conventions below `root`.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let mut complaints = Vec::new();
    dependencies(root, &mut complaints)?;
    files(root, &mut complaints)?;
    if complaints.is_empty() {
        return Ok(());
    }
    bail!("not tidy:\n  {}", complaints.join("\n  "))
}

fn dependencies(root: &Path, complaints: &mut Vec<String>) -> anyhow::Result<()> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata did not answer")?;
    let allowed: BTreeMap<_, _> = MAY_DEPEND_ON.iter().copied().collect();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(allowed) = allowed.get(name) else { continue };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            let normal = dependency["kind"].is_null();
            if normal && on.starts_with("evenkeel") && !allowed.contains(&on) {
                complaints.push(format!("{name} must not depend on {on}"));
            }
            if normal && name == "evenkeel-balance" && NOT_IN_BALANCE.contains(&on) {
                complaints.push(format!("{name} is pure and must not depend on {on}"));
            }
        }
    }
    Ok(())
}

fn files(root: &Path, complaints: &mut Vec<String>) -> anyhow::Result<()> {
    let output =
        Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().context("cannot run git")?;
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    for name in names.split('\0').filter(|name| Path::new(name).extension().is_some_and(|end| end == "rs")) {
        let Ok(text) = fs::read_to_string(root.join(name)) else { continue };
        let lines = text.lines().count();
        if lines > MAX_LINES {
            complaints.push(format!(
                "{name}: {lines} lines, more than {MAX_LINES}: look for the second concept in it"
            ));
        }
        // The tests of a file need no other purpose than to be that.
        if !text.starts_with("//!") && !name.ends_with("/tests.rs") {
            complaints.push(format!("{name}: does not start with a `//!` that says what it is for"));
        }
        for (number, line) in text.lines().enumerate() {
            let bare_allow =
                line.trim_start().starts_with("#[allow(") || line.trim_start().starts_with("#![allow(");
            if bare_allow && !line.contains("reason") {
                complaints.push(format!("{name}:{}: use #[expect(..., reason = \"...\")]", number + 1));
            }
        }
    }
    Ok(())
}
