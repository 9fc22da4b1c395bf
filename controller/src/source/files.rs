//! Pools from a folder of YAML files, as kubectl would take them: without Kubernetes, for one machine.
//!
//! A file is good as a whole or not at all: after a bad edit its last good version stays, and what is wrong is told
//! with file, line and reason. Any change of the folder is taken up at once.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use evenkeel_api::{
    channel::file_pool_uid,
    manifest::{self, Manifest, ManifestError},
    object::{BalancerPool, ProxyClassSpec},
};
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::{mpsc, watch::Sender},
    time::{Instant, timeout_at},
};
use tracing::{error, info};

use crate::event::{ClassSeen, Event, ObjectName, Pool};

/// How long the folder has to be quiet before it is read: an editor writes a file in several steps.
const QUIET: Duration = Duration::from_millis(20);
/// How long an edit waits for that at most: a busy file beside it must not hide it.
const AT_LATEST: Duration = Duration::from_millis(200);
/// Largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct FileProblem {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1; 0 if it is the file as a whole.
    pub line: u64,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for FileProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.message),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.message),
        }
    }
}

/// The folder as it was read last.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
    /// The last good version of each file.
    good: BTreeMap<PathBuf, Vec<Manifest>>,
    pools: BTreeMap<ObjectName, BalancerPool>,
    generations: BTreeMap<ObjectName, i64>,
    class: Option<ProxyClassSpec>,
}

impl Files {
    /// A folder that has not been read yet.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            good: BTreeMap::new(),
            pools: BTreeMap::new(),
            generations: BTreeMap::new(),
            class: None,
        }
    }

    /// Reads the folder and says what changed since the last time, and what is wrong now.
    ///
    /// # Errors
    /// If the folder cannot be listed; then nothing has changed.
    pub fn read(&mut self) -> io::Result<(Vec<Event>, Vec<FileProblem>)> {
        let (mut problems, mut emptied) = (Vec::new(), BTreeSet::new());
        let files = manifests_in(&self.folder)?;
        self.good.retain(|file, _| files.contains(file));
        for file in files {
            match read_file(&file) {
                // Whoever saves a file may empty it first.
                Ok(manifests)
                    if manifests.is_empty() && self.good.get(&file).is_some_and(|good| !good.is_empty()) =>
                {
                    let message = "the file is empty: delete it if its objects are to go".to_owned();
                    problems.push(FileProblem { file: file.clone(), line: 0, message });
                    emptied.insert(file);
                }
                Ok(manifests) => drop(self.good.insert(file, manifests)),
                Err(found) => problems.extend(found),
            }
        }
        let events = self.diff(&emptied, &mut problems);
        problems.sort();
        Ok((events, problems))
    }

    /// What an `emptied` file had stays as far as no other file has it now.
    fn diff(&mut self, emptied: &BTreeSet<PathBuf>, problems: &mut Vec<FileProblem>) -> Vec<Event> {
        let (mut pools, mut class, mut of) = (BTreeMap::new(), None, BTreeMap::new());
        let (held, files): (Vec<_>, Vec<_>) = self.good.iter().partition(|(file, _)| emptied.contains(*file));
        for (file, manifests) in files.into_iter().chain(held) {
            for manifest in manifests {
                match manifest {
                    Manifest::Pool(pool) => {
                        let name = object_name(pool);
                        if let Entry::Vacant(place) = pools.entry(name.clone()) {
                            place.insert((**pool).clone());
                            of.insert(name, file);
                        } else if !emptied.contains(file) {
                            let first = of.get(&name).map_or(file, |first| *first).display();
                            let message = format!(
                                "pool {name} is in {first} before, and that one serves: keep one of them"
                            );
                            problems.push(FileProblem { file: file.clone(), line: 0, message });
                        }
                    }
                    Manifest::Class(of) if of.metadata.name.as_deref() == Some("default") => {
                        class.get_or_insert_with(|| of.spec.clone());
                    }
                    Manifest::Class(_) => {
                        let message =
                            "without Kubernetes there is one fleet: name the ProxyClass default".to_owned();
                        problems.push(FileProblem { file: file.clone(), line: 0, message });
                    }
                }
            }
        }
        let class = class.unwrap_or_else(local_class);
        let mut events = Vec::new();
        if self.class.as_ref() != Some(&class) {
            events.push(Event::Class("default".to_owned(), ClassSeen { spec: Ok(class.clone()) }));
            self.class = Some(class);
        }
        let gone = self.pools.keys().filter(|name| !pools.contains_key(*name));
        events.extend(gone.cloned().map(Event::PoolDeleted));
        for (name, pool) in &pools {
            if self.pools.get(name).map(|old| &old.spec) != Some(&pool.spec) {
                let generation = self.generations.entry(name.clone()).or_default();
                *generation += 1;
                events.push(seen(name, *generation, pool));
            }
        }
        self.pools = pools;
        events
    }
}

/// Watches a folder until nobody takes its events any more. The first read is told before `Event::Synced`.
///
/// # Errors
/// If the folder cannot be read or watched at the start; later on that is only told.
pub async fn watch(
    folder: &Path,
    events: mpsc::Sender<Event>,
    problems: Sender<Vec<FileProblem>>,
) -> io::Result<()> {
    let (tell, mut told) = mpsc::channel(1);
    let mut watcher = RecommendedWatcher::new(
        move |event: notify::Result<notify::Event>| {
            // Reading is no change, and we read ourselves; an error may hide one.
            let access =
                event.is_ok_and(|event| matches!(event.kind, EventKind::Access(kind) if !closes_write(kind)));
            if !access {
                _ = tell.try_send(()); // one unread word is enough
            }
        },
        notify::Config::default(),
    )
    .map_err(io::Error::other)?;
    watcher.watch(folder, RecursiveMode::NonRecursive).map_err(io::Error::other)?;
    let mut files = Files::new(folder.to_owned());
    let (first, found) = files.read()?;
    report(&found, &[]);
    problems.send_replace(found);
    for event in first.into_iter().chain([Event::Synced]) {
        if events.send(event).await.is_err() {
            return Ok(());
        }
    }
    while told.recv().await.is_some() {
        let latest = Instant::now() + AT_LATEST;
        while let Ok(Some(())) = timeout_at(latest.min(Instant::now() + QUIET), told.recv()).await {}
        match files.read() {
            Ok((changes, found)) => {
                report(&found, &problems.borrow());
                problems.send_replace(found);
                for event in changes {
                    if events.send(event).await.is_err() {
                        return Ok(());
                    }
                }
            }
            Err(error) => {
                error!(folder = %folder.display(), %error, "cannot read the folder; what was read stays")
            }
        }
    }
    Ok(())
}

fn closes_write(kind: AccessKind) -> bool {
    kind == AccessKind::Close(AccessMode::Write)
}

/// Says what is newly wrong, and when all is well again.
fn report(found: &[FileProblem], known: &[FileProblem]) {
    for problem in found.iter().filter(|problem| !known.contains(problem)) {
        let line = (problem.line > 0).then_some(problem.line);
        error!(file = %problem.file.display(), line, reason = problem.message, "bad file; what serves stays");
    }
    if found.is_empty() && !known.is_empty() {
        info!("every file is good again");
    }
}

/// The class without a ProxyClass in the folder: everything that makes sense on one machine.
fn local_class() -> ProxyClassSpec {
    let everywhere = vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()];
    ProxyClassSpec { static_addresses: everywhere, ..ProxyClassSpec::permissive_default() }
}

fn seen(name: &ObjectName, generation: i64, pool: &BalancerPool) -> Event {
    let uid = file_pool_uid(&name.namespace, &name.name);
    let spec = Ok(pool.spec.clone());
    Event::Pool(name.clone(), Box::new(Pool { uid, generation, created: 0, spec, status: None }))
}

fn object_name(pool: &BalancerPool) -> ObjectName {
    let namespace = pool.metadata.namespace.as_deref().unwrap_or("default");
    ObjectName::new(namespace, pool.metadata.name.as_deref().unwrap_or_default())
}

fn manifests_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if yaml && !hidden {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(file: &Path) -> Result<Vec<Manifest>, Vec<FileProblem>> {
    let whole = |message: String| vec![FileProblem { file: file.to_owned(), line: 0, message }];
    let size = std::fs::metadata(file).map_err(|error| whole(error.to_string()))?.len();
    if size > MAX_FILE_BYTES {
        return Err(whole(format!("{size} bytes, and at most {MAX_FILE_BYTES} are read: split the file")));
    }
    let text = std::fs::read_to_string(file).map_err(|error| whole(error.to_string()))?;
    let problem = |error: ManifestError| {
        let message = if error.field.is_empty() {
            error.message
        } else {
            format!("{}: {}", error.field, error.message)
        };
        FileProblem { file: file.to_owned(), line: error.line, message }
    };
    manifest::parse(&text).map_err(|errors| errors.into_iter().map(problem).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(name: &str, port: u16) -> String {
        format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: BalancerPool\nmetadata: {{name: {name}}}\nspec:\n  listeners:\n  \
             - {{name: web, port: {port}, protocol: HTTP}}\n  backends:\n  - addresses:\n    - {{address: 127.0.0.1, port: 9001}}\n"
        )
    }

    fn words(events: &[Event]) -> Vec<String> {
        let word = |event: &Event| match event {
            Event::Pool(name, pool) => format!("{name} {}", pool.generation),
            Event::PoolDeleted(name) => format!("{name} gone"),
            Event::Class(name, _) => format!("class {name}"),
            other => format!("{other:?}"),
        };
        events.iter().map(word).collect()
    }

    #[test]
    fn tells_what_changed_and_keeps_the_last_good_version() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).unwrap();
        let mut files = Files::new(folder.path().to_owned());
        write("a.yaml", &pool("a", 8001));
        write("b.yaml", &format!("{}---\n{}", pool("b", 8002), pool("c", 8003)));
        write(".hidden.yaml", "nonsense");
        write("readme.txt", "nonsense");
        let (events, problems) = files.read().unwrap();
        assert_eq!(words(&events), ["class default", "default/a 1", "default/b 1", "default/c 1"]);
        assert_eq!(problems, []);

        write("b.yaml", &pool("b", 0));
        let (events, problems) = files.read().unwrap();
        assert_eq!(words(&events), Vec::<String>::new());
        assert_eq!((problems[0].line, problems.len()), (6, 1));
        assert!(problems[0].to_string().contains("b.yaml:6: spec.listeners[0].port: "), "{}", problems[0]);

        write("b.yaml", &pool("b", 8004));
        let (events, problems) = files.read().unwrap();
        assert_eq!(words(&events), ["default/c gone", "default/b 2"]);
        assert_eq!(problems, []);

        for emptied in ["", "# soon\n"] {
            write("b.yaml", emptied);
            let (events, problems) = files.read().unwrap();
            assert_eq!(words(&events), Vec::<String>::new());
            assert!(
                problems[0]
                    .to_string()
                    .ends_with("b.yaml: the file is empty: delete it if its objects are to go")
            );
        }
        write("c.yaml", &pool("b", 8005));
        assert_eq!(words(&files.read().unwrap().0), ["default/b 3"], "moved to another file");
        std::fs::remove_file(folder.path().join("c.yaml")).unwrap();
        write("b.yaml", &pool("b", 8004));
        files.read().unwrap();

        write("z.yaml", &pool("a", 8009));
        let (events, problems) = files.read().unwrap();
        assert_eq!((words(&events).len(), problems.len()), (0, 1));
        assert!(problems[0].message.contains("a.yaml before"), "{}", problems[0]);
        std::fs::remove_file(folder.path().join("a.yaml")).unwrap();
        assert_eq!(words(&files.read().unwrap().0), ["default/a 2"]);
    }

    #[tokio::test]
    async fn an_edit_is_taken_up_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (events, mut told) = mpsc::channel(16);
        let (problems, _) = tokio::sync::watch::channel(Vec::new());
        let path = folder.path().to_owned();
        let watching = tokio::spawn(async move { watch(&path, events, problems).await });
        while told.recv().await.unwrap() != Event::Synced {}
        std::fs::write(folder.path().join("a.yaml"), pool("a", 8001)).unwrap();
        assert_eq!(words(&[told.recv().await.unwrap()]), ["default/a 1"]);
        drop(told);
        std::fs::write(folder.path().join("a.yaml"), pool("a", 8002)).unwrap();
        watching.await.unwrap().unwrap();
    }
}
