//! docs/config-channel.md as it is written, with curl, jq and sha256sum, against a running proxy.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::SocketAddr, path::Path, process::Output};

use evenkeel_conformance::{Install, control, proxy};
use evenkeel_tls::Role;
use tokio::process::Command;

const DOCUMENT: &str = include_str!("../../../docs/config-channel.md");
const MARK: &str = "=== next";

/// A command of the documentation, and what it says that it prints.
struct Example {
    command: String,
    output: String,
}

fn examples() -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut lines = DOCUMENT.lines();
    while let Some(line) = lines.next() {
        let mut block = || {
            let body = lines.by_ref().take_while(|line| *line != "```");
            body.map(|line| format!("{line}\n")).collect::<String>()
        };
        match line {
            "```sh" => examples.push(Example { command: block(), output: String::new() }),
            "```text" => examples.last_mut().unwrap().output = block(),
            _ => {}
        }
    }
    examples
}

async fn bash(script: &str, tls: &Path, proxy: SocketAddr, cwd: &Path) -> Output {
    Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .env("tls", tls)
        .env("proxy", proxy.to_string())
        .current_dir(cwd)
        .output()
        .await
        .unwrap()
}

/// curl, jq and bash are there, or the test says so; in CI they must be.
fn tools() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |tool: &str| std::env::split_paths(&path).any(|dir| dir.join(tool).is_file());
    let missing: Vec<_> =
        ["bash", "curl", "jq", "sha256sum"].into_iter().filter(|tool| !there(tool)).collect();
    assert!(missing.is_empty() || std::env::var_os("CI").is_none(), "CI lacks {missing:?}");
    if !missing.is_empty() {
        let skipped = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("NOT TESTED: docs/config-channel.md, for lack of {missing:?}\n"),
        );
        skipped.unwrap();
    }
    missing.is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_commands_answer_what_is_documented() {
    if !tools() {
        return;
    }
    let examples = examples();
    let install = Install::default();
    let address = install.serve(control());
    let script: String = examples.iter().map(|it| format!("{}echo '{MARK}'\n", it.command)).collect();
    let output = bash(&script, &install.folder(&Role::Controller), address, install.path()).await;
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let mark = format!("{MARK}\n");
    for (printed, example) in stdout.split(&mark).zip(&examples) {
        assert_eq!(printed, example.output, "{}\n{stderr}", example.command);
    }
    assert!(output.status.success(), "{stderr}");
    assert!(examples.len() > 8, "{} examples", examples.len());
}

/// The first example: it defines `ask`.
fn with_ask(command: &str) -> String {
    format!("{}{command}", examples().remove(0).command.replace("ask \"https://$name:9443/v1/pools\"\n", ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_a_controller_is_refused() {
    if !tools() {
        return;
    }
    let (install, foreign) = (Install::default(), Install::default());
    let address = install.serve(control());
    let get = with_ask("ask \"https://$name:9443/v1/pools\"");
    let answer = bash(&get, &install.folder(&proxy()), address, install.path()).await;
    let answer = String::from_utf8(answer.stdout).unwrap();
    assert!(answer.contains("notController") && answer.ends_with("403\n"), "{answer}");

    let ours = install.folder(&Role::Controller);
    let bare = get.replace("--cert \"$tls/tls.crt\" --key \"$tls/tls.key\"", "");
    assert!(!bash(&bare, &ours, address, install.path()).await.status.success());

    let theirs = foreign.folder(&Role::Controller);
    let trusting = get.replace("\"$tls/ca.crt\"", &ours.join("ca.crt").display().to_string());
    assert!(!bash(&trusting, &theirs, address, install.path()).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_answered_so() {
    if !tools() {
        return;
    }
    let install = Install::default();
    let address = install.serve(control());
    let tls = install.folder(&Role::Controller);
    // With its length said, and without.
    for how in ["", "-H 'Transfer-Encoding: chunked'"] {
        let put = with_ask(&format!(
            "head -c $((64 * 1024 * 1024 + 1)) /dev/zero > large
             ask -X PUT -H 'Content-Type: application/json' {how} -T large \"https://$name:9443/v1/snapshot\""
        ));
        let answer = bash(&put, &tls, address, install.path()).await;
        let (text, error) =
            (String::from_utf8(answer.stdout).unwrap(), String::from_utf8_lossy(&answer.stderr));
        assert!(text.contains("tooLarge") && text.ends_with("413\n"), "{how}: {text}{error}");
    }
}
