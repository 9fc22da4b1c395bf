//! Where the programs are.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The folder that holds etcd and kube-apiserver: `$KUBEBUILDER_ASSETS`, or what hack/tools.sh builds.
///
/// # Panics
/// Where there is none and CI=true.
pub(crate) fn folder() -> Option<&'static Path> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOLDER.get_or_init(find) {
        Ok(folder) => Some(folder),
        Err(reason) => {
            assert!(env::var("CI").as_deref() != Ok("true"), "no API server: {reason}");
            None
        }
    }
}

fn find() -> Result<PathBuf, String> {
    if let Some(folder) = env::var_os("KUBEBUILDER_ASSETS") {
        return Ok(folder.into());
    }
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hack/tools.sh");
    let output = Command::new(&tools)
        .args(["etcd", "kube-apiserver"])
        .output()
        .map_err(|error| format!("cannot run {}: {error}", tools.display()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().into())
}
