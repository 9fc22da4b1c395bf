//! `evenkeel local` as a program: what a user sees who makes mistakes, and that they cost nothing that worked.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Longest wait for a condition.
const PATIENCE: Duration = Duration::from_secs(30);

fn evenkeel() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.env_remove("EVENKEEL_SERVER").env_remove("RUST_LOG");
    command
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("evenkeel-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Writes a file as an editor does: whole, by a rename.
    fn write(&self, name: &str, text: &str) {
        let draft = self.0.join(format!(".{name}.draft"));
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.0.join(name)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// `evenkeel local`, until the end of the test.
struct Local {
    child: Child,
    admin: SocketAddr,
    proxy_admin: SocketAddr,
}

impl Local {
    fn start(folder: &Folder) -> Self {
        let (admin, proxy_admin) = (free_address(), free_address());
        let mut command = evenkeel();
        command.arg("local").arg(&folder.0).args(["--admin", &admin.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--proxy-admin", &proxy_admin.to_string()]);
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let local = Self { child, admin, proxy_admin };
        until("the admin pages", || (get(admin, "/readyz").starts_with("HTTP/1.1 200")).then_some(()));
        local
    }

    /// What `evenkeel status` says, and its exit code.
    fn status(&self) -> (String, Option<i32>) {
        let output =
            evenkeel().args(["status", "--server", &format!("http://{}", self.admin)]).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A port that nobody listens at now.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Waits for a condition.
#[track_caller]
fn until<T>(what: &str, mut is_so: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = is_so() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "no {what} within {PATIENCE:?}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// The whole response, or nothing if there is none.
fn get(address: SocketAddr, path: &str) -> String {
    let mut response = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: local\r\nConnection: close\r\n\r\n");
        let _broken =
            stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut response));
    }
    response
}

/// An endpoint that answers everything with its name.
fn endpoint(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let _broken = stream.read(&mut head).and_then(|_| {
                let length = name.len();
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{name}");
                stream.write_all(head.as_bytes())
            });
        }
    });
    address
}

fn pool(port: u16, endpoint: SocketAddr) -> String {
    format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: BalancerPool\nmetadata: {{name: shop}}\nspec:\n  listeners:\n  \
         - {{name: web, port: {port}, protocol: HTTP}}\n  backends:\n  - addresses:\n    \
         - {{address: {}, port: {}}}\n",
        endpoint.ip(),
        endpoint.port()
    )
}

/// Checks that a command fails with one line that says this.
#[track_caller]
fn refused(output: &Output, expect: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("evenkeel: ")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    for expect in expect {
        assert!(lines[0].contains(expect), "{expect:?} is not in {:?}", lines[0]);
    }
}

#[test]
fn a_folder_that_cannot_be_read() {
    let output = evenkeel().args(["local", "/nowhere/at/all"]).output().unwrap();
    refused(&output, &["/nowhere/at/all", "name one with YAML files", "No such file"]);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    refused(
        &evenkeel().arg("local").arg(file).output().unwrap(),
        &["Cargo.toml", "name one with YAML files"],
    );
}

#[test]
fn an_admin_port_in_use() {
    let folder = Folder::new("admin");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = taken.local_addr().unwrap().to_string();
    let output = evenkeel().arg("local").arg(&folder.0).args(["--admin", &admin]).output().unwrap();
    refused(&output, &[&admin, "--admin names another address", "in use"]);
    let output = evenkeel()
        .arg("local")
        .arg(&folder.0)
        .args(["--admin", "127.0.0.1:0", "--proxy-admin", &admin])
        .output()
        .unwrap();
    refused(&output, &[&admin, "--proxy-admin names another address", "in use"]);
}

#[test]
fn a_pick_is_explained() {
    let folder = Folder::new("explain");
    let (address, one) = (free_address(), endpoint("one"));
    folder.write("shop.yaml", &pool(address.port(), one));
    let local = Local::start(&folder);
    until("an answer", || get(address, "/").ends_with("one").then_some(()));
    let server = format!("http://{}", local.proxy_admin);
    let explain =
        |more: &[&str]| evenkeel().args(["explain", "--server", &server]).args(more).output().unwrap();
    let output = explain(&["shop", "--path", "/cart", "-H", "x-user: ann"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.starts_with(&format!("default/shop by LeastRequest: {one}\n")), "{text}");
    assert!(text.contains("Picked") && text.contains("the algorithm's choice"), "{text}");
    let json = explain(&["shop", "-o", "json"]);
    let told: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&told["picked"], &told["candidates"][0]["inFlight"]), (&one.to_string().into(), &0.into()));
    refused(&explain(&["other"]), &["this proxy has no pool default/other"]);
    refused(&explain(&["shop", "--path", "no path"]), &["no request could be like that"]);
}

#[test]
fn a_server_that_is_not_there() {
    let server = format!("http://{}", free_address());
    let output = evenkeel().args(["get", "pools", "--server", &server]).output().unwrap();
    refused(&output, &[&server.replace("http://", "")]);
}

#[test]
fn a_bad_edit_is_told_and_the_last_good_one_stays() {
    let folder = Folder::new("edits");
    let (one, other) = (endpoint("one"), endpoint("other"));
    let address = free_address();
    folder.write("shop.yaml", &pool(address.port(), one));
    let local = Local::start(&folder);
    until("an answer", || get(address, "/").ends_with("one").then_some(()));
    until("a good status", || (local.status().1 == Some(0)).then_some(()));

    folder.write(
        "shop.yaml",
        &pool(address.port(), other).replace("protocol: HTTP", "protocol: HTTP, prot: 1"),
    );
    let told = until("a word on the edit", || Some(local.status()).filter(|(_, code)| *code == Some(3)));
    assert!(told.0.contains("shop.yaml:6") && told.0.contains("unknown field"), "{}", told.0);
    assert!(get(address, "/").ends_with("one"));

    folder.write("shop.yaml", &pool(address.port(), other));
    until("the good edit", || get(address, "/").ends_with("other").then_some(()));
    until("a good status", || (local.status().1 == Some(0)).then_some(()));
}

#[test]
fn a_listener_port_in_use_is_told_and_hurts_no_other_pool() {
    let folder = Folder::new("ports");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (address, one) = (free_address(), endpoint("one"));
    folder.write("a.yaml", &pool(address.port(), one));
    folder.write("b.yaml", &pool(port, one).replace("name: shop", "name: late"));
    let local = Local::start(&folder);
    let told = until("a word on the port", || {
        Some(local.status()).filter(|(text, _)| text.contains(&port.to_string()))
    });
    assert!(told.1 == Some(3) && told.0.contains("late") && told.0.contains("in use"), "{}", told.0);
    until("an answer", || get(address, "/").ends_with("one").then_some(()));
    drop(taken);
    until("a good status", || (local.status().1 == Some(0)).then_some(()));
}
