//! The last good state on disk, from which a restarted proxy serves without a controller.
//!
//! Two files: the state, written anew when it changes, and a stamp of the last contact that confirmed it, which is
//! small. Both are private, replaced by rename and synced, so that there is always a whole one. A folder that outlives
//! the container and not the pod is the right place.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use evenkeel_api::channel::ReceivedSnapshot;
use serde::{Deserialize, Serialize};

/// The form of the files; another one is not read.
const FORMAT: u32 = 1;
const STATE: &str = "last-good.json";
const STAMP: &str = "last-contact.json";

/// The folder of the last good state.
#[derive(Clone, Debug)]
pub struct LastGood {
    dir: PathBuf,
}

/// What was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The state, with received and active versions.
    pub snapshot: ReceivedSnapshot,
    /// Highest epoch ever seen; above the state's, if a follower answered since.
    pub fence: u64,
    /// When a controller last confirmed it.
    pub contact: SystemTime,
}

/// Why nothing is read or written.
#[derive(Debug, thiserror::Error)]
pub enum LastGoodError {
    /// The folder does not let us.
    #[error("cannot use {}: {source}; it must be a folder that this process may write to", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not what we write.
    #[error("{} is damaged: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Written by another version.
    #[error("{} has format {found}, this program reads {FORMAT}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// Too old to be trusted.
    #[error("the last contact with a controller was {} s ago", .0.as_secs())]
    Expired(Duration),
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct State<S> {
    format: u32,
    contact: u64,
    fence: u64,
    snapshot: S,
}

#[derive(Serialize, Deserialize)]
struct Stamp {
    format: u32,
    contact: u64,
    hash: String,
}

impl LastGood {
    /// The last good state in `dir`, which need not exist yet.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// What was kept, if anything was. Blocks.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, of another format, or confirmed longer than `life` before `now`.
    pub fn load(&self, now: SystemTime, life: Duration) -> Result<Option<Kept>, LastGoodError> {
        let Some(state) = self.read::<State<ReceivedSnapshot>>(STATE)? else { return Ok(None) };
        let stamp = match self.read::<Stamp>(STAMP) {
            Ok(Some(stamp)) if stamp.hash == state.snapshot.hash => stamp.contact,
            Ok(_) => 0,
            Err(error) => {
                tracing::warn!(%error, "cannot tell when a controller was last in contact");
                0
            }
        };
        let contact = SystemTime::UNIX_EPOCH + Duration::from_secs(state.contact.max(stamp));
        // A clock that was set back makes the contact one of the future: as good as now.
        let age = now.duration_since(contact).unwrap_or_default();
        if age > life {
            return Err(LastGoodError::Expired(age));
        }
        Ok(Some(Kept { snapshot: state.snapshot, fence: state.fence, contact }))
    }

    /// Keeps `snapshot` and the highest epoch seen, confirmed at `contact`. Blocks.
    ///
    /// # Errors
    /// If the folder does not let us; what was there stays whole.
    pub fn store(
        &self,
        snapshot: &ReceivedSnapshot,
        fence: u64,
        contact: SystemTime,
    ) -> Result<(), LastGoodError> {
        self.write(STATE, &State { format: FORMAT, contact: seconds(contact), fence, snapshot })
    }

    /// Keeps the time at which the state of `hash` was confirmed. Blocks.
    ///
    /// # Errors
    /// If the folder does not let us.
    pub fn stamp(&self, hash: &str, contact: SystemTime) -> Result<(), LastGoodError> {
        self.write(STAMP, &Stamp { format: FORMAT, contact: seconds(contact), hash: hash.to_owned() })
    }

    fn read<T: for<'a> Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, LastGoodError> {
        let path = self.dir.join(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LastGoodError::Io { path, source }),
        };
        let parsed = serde_json::from_slice::<Format>(&bytes).and_then(|Format { format }| {
            if format == FORMAT { serde_json::from_slice(&bytes).map(Ok) } else { Ok(Err(format)) }
        });
        match parsed {
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(found)) => Err(LastGoodError::Format { path, found }),
            Err(source) => Err(LastGoodError::Damaged { path, source }),
        }
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), LastGoodError> {
        let (path, aside) = (self.dir.join(name), self.dir.join(format!(".{name}.new")));
        let bytes = serde_json::to_vec(value).map_err(|source| {
            let path = path.clone();
            LastGoodError::Damaged { path, source }
        })?;
        self.replace(&path, &aside, &bytes).map_err(|source| LastGoodError::Io { path, source })
    }

    fn replace(&self, path: &Path, aside: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        // Made anew, so that it is private whatever lay there.
        drop(fs::remove_file(aside));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(aside, path)?;
        File::open(&self.dir)?.sync_all()
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const LIFE: Duration = Duration::from_secs(100);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn snapshot(hash: &str) -> ReceivedSnapshot {
        ReceivedSnapshot { epoch: 3, revision: 7, hash: hash.to_owned(), ..ReceivedSnapshot::default() }
    }

    fn kept() -> (tempfile::TempDir, LastGood) {
        let dir = tempfile::tempdir().unwrap();
        let kept = LastGood::new(&dir.path().join("made"));
        kept.store(&snapshot("a"), 3, at(1000)).unwrap();
        (dir, kept)
    }

    #[test]
    fn what_is_stored_is_loaded_until_it_is_too_old() {
        let (_dir, kept) = kept();
        let expect = Kept { snapshot: snapshot("a"), fence: 3, contact: at(1000) };
        assert_eq!(kept.load(at(1100), LIFE).unwrap(), Some(expect.clone()));
        assert_eq!(kept.load(at(5), LIFE).unwrap(), Some(expect));
        assert!(matches!(kept.load(at(1101), LIFE), Err(LastGoodError::Expired(_))));
    }

    #[test]
    fn a_stamp_counts_for_its_own_state_alone() {
        let (_dir, kept) = kept();
        kept.stamp("a", at(1050)).unwrap();
        assert_eq!(kept.load(at(1150), LIFE).unwrap().unwrap().contact, at(1050));
        kept.stamp("b", at(2000)).unwrap();
        assert_eq!(kept.load(at(1100), LIFE).unwrap().unwrap().contact, at(1000));
        kept.store(&snapshot("b"), 3, at(1500)).unwrap();
        assert_eq!(kept.load(at(2100), LIFE).unwrap().unwrap().contact, at(2000));
    }

    #[test]
    fn nobody_else_may_read_it() {
        let (_dir, kept) = kept();
        kept.stamp("a", at(1)).unwrap();
        for name in [STATE, STAMP] {
            let mode = fs::metadata(kept.dir.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn what_is_not_ours_is_an_error_and_absence_is_none() {
        let (dir, kept) = kept();
        fs::write(kept.dir.join(STATE), b"{\"format\":1,\"conta").unwrap();
        assert!(matches!(kept.load(at(1000), LIFE), Err(LastGoodError::Damaged { .. })));
        fs::write(kept.dir.join(STATE), b"{\"format\":2,\"else\":1}").unwrap();
        assert!(matches!(kept.load(at(1000), LIFE), Err(LastGoodError::Format { found: 2, .. })));
        assert_eq!(LastGood::new(&dir.path().join("absent")).load(at(0), LIFE).unwrap(), None);
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(matches!(
            LastGood::new(&file).store(&snapshot("a"), 3, at(0)),
            Err(LastGoodError::Io { .. })
        ));
    }

    #[test]
    fn a_damaged_stamp_only_loses_its_time() {
        let (_dir, kept) = kept();
        fs::write(kept.dir.join(STAMP), b"half").unwrap();
        assert_eq!(kept.load(at(1100), LIFE).unwrap().unwrap().contact, at(1000));
    }
}
