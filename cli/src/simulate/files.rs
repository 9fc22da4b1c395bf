//! The files that results are written into. They are tried before anything is played, which may take minutes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use evenkeel_simulator::{Results, judge, report, scenario::Page};

use crate::output;

/// Where results go beside what is printed.
#[derive(Debug, PartialEq)]
pub(super) struct Files {
    report: Option<Report>,
    page: Option<PathBuf>,
}

#[derive(Debug, PartialEq)]
enum Report {
    /// The chart of the latency alone.
    Svg(PathBuf),
    Html(PathBuf),
    /// That gets a page for each scenario.
    Folder(PathBuf),
}

impl Files {
    /// Those of the scenarios of these names.
    pub(super) fn new(report: Option<&Path>, page: Option<&Path>, names: &[&str]) -> anyhow::Result<Self> {
        let report = report.map(Report::new).transpose()?;
        if names.len() > 1 && matches!(report, Some(Report::Svg(_) | Report::Html(_))) {
            bail!("one file cannot take the reports of several scenarios; name a folder");
        }
        // They are told apart by the names of their files alone.
        let same = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name));
        if let Some((_, name)) = same.filter(|_| report.is_some() || page.is_some()) {
            bail!("two of the scenarios are named {name}, and would be written over each other");
        }
        for name in names {
            report.as_ref().map_or(Ok(()), |report| try_to_write(&report.file(name)))?;
        }
        page.map_or(Ok(()), |page| try_page(page, names))?;
        Ok(Self { report, page: page.map(Path::to_owned) })
    }

    /// Writes what came of one of the scenarios.
    pub(super) fn write(&self, results: &Results) -> anyhow::Result<()> {
        if let Some(report) = &self.report {
            let svg = matches!(report, Report::Svg(_));
            let text = if svg { report::latency(results) } else { report::html(results) };
            write(&report.file(&results.scenario.name), &text)?;
        }
        self.page.as_ref().map_or(Ok(()), |page| write_page(results, page))
    }
}

impl Report {
    fn new(path: &Path) -> anyhow::Result<Self> {
        let end = path.extension().map(|end| end.to_string_lossy().into_owned());
        Ok(match end.as_deref() {
            _ if path.is_dir() => Self::Folder(path.to_owned()),
            Some("svg") => Self::Svg(path.to_owned()),
            Some("html") => Self::Html(path.to_owned()),
            None => Self::Folder(path.to_owned()),
            Some(_) => bail!(
                "{} is no name of a report: name FILE.html, FILE.svg, or a folder (one whose name has a dot must be there)",
                path.display()
            ),
        })
    }

    /// The file for a scenario.
    fn file(&self, scenario: &str) -> PathBuf {
        match self {
            Self::Svg(file) | Self::Html(file) => file.clone(),
            Self::Folder(folder) => folder.join(format!("{scenario}.html")),
        }
    }
}

/// A page that takes some of the scenarios; says which it does not.
fn try_page(page: &Path, names: &[&str]) -> anyhow::Result<()> {
    let text = read(page)?;
    let marked = |name: &&&str| report::replaced(&text, name, "").is_some();
    let (with, without): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| marked(name));
    let marks = |name: &str| format!("`<!-- simulated {name} -->` and `<!-- end -->`");
    let missing: Vec<_> = without.into_iter().map(marks).collect();
    ensure!(!with.is_empty(), "{} does not have the lines {}", page.display(), missing.join(", or "));
    for marks in missing {
        output::note(&format!("{} is left without what stands between {marks}", page.display()));
    }
    try_to_write(page)?;
    with.into_iter().filter_map(|name| chart(page, &text, name)).try_for_each(|chart| try_to_write(&chart))
}

/// The tables between the page's marks, and the chart beside it if the page links to it.
fn write_page(results: &Results, page: &Path) -> anyhow::Result<()> {
    let name = &results.scenario.name;
    let text = read(page)?;
    if let Some(text) = report::replaced(&text, name, &summary(results)) {
        write(page, &text)?;
    }
    chart(page, &text, name).map_or(Ok(()), |chart| write(&chart, &report::latency(results)))
}

/// What the scenario's page shows, and what must hold.
fn summary(results: &Results) -> String {
    let verdicts = report::markdown(&report::verdicts(&judge(results)));
    let table = |page: &Page| {
        let say = if page.say.is_empty() { String::new() } else { format!("{}\n\n", page.say) };
        format!("\n{say}{}", report::markdown(&report::compact(results, page)))
    };
    let tables: String = results.scenario.page.iter().map(table).collect();
    format!("{tables}\n{verdicts}\n")
}

/// The scenario's chart, if the page links to it.
fn chart(page: &Path, text: &str, scenario: &str) -> Option<PathBuf> {
    let chart = format!("charts/{scenario}.svg");
    text.contains(&chart).then(|| page.with_file_name(&chart))
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    make_folder(path)?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Whether the file could be written; changes none, and leaves none behind.
fn try_to_write(path: &Path) -> anyhow::Result<()> {
    make_folder(path)?;
    let there = path.exists();
    let opened = fs::OpenOptions::new().append(true).create(true).open(path);
    opened.with_context(|| format!("cannot write {}", path.display()))?;
    if !there {
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

fn make_folder(path: &Path) -> anyhow::Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files of a report and a page, relative to a folder that has a page and a folder `v1.2`; or what is said
    /// against them.
    fn check(report: &str, page: &str, names: &[&str], expect: Result<Option<&str>, &str>) {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::create_dir_all(folder.join("v1.2")).unwrap();
        fs::write(folder.join("page.md"), "<!-- simulated a -->\n<!-- end -->\n").unwrap();
        let path = |name: &str| (!name.is_empty()).then(|| folder.join(name));
        let found = Files::new(path(report).as_deref(), path(page).as_deref(), names);
        match (found, expect) {
            (Ok(files), Ok(file)) => {
                assert_eq!(files.report.map(|report| report.file("a")), file.and_then(path));
            }
            (Err(problem), Err(say)) => {
                let problem = format!("{problem:#}");
                assert!(problem.contains(say), "{problem} does not say {say}");
            }
            (found, _) => panic!("{report} {page}: {found:?}"),
        }
    }

    #[test]
    fn reports_have_the_names_of_what_they_are() {
        check("", "", &["a"], Ok(None));
        check("x.html", "", &["a"], Ok(Some("x.html")));
        check("x.svg", "", &["a"], Ok(Some("x.svg")));
        check("new/x", "", &["a", "b"], Ok(Some("new/x/a.html")));
        check("v1.2", "", &["a"], Ok(Some("v1.2/a.html")));
        for name in ["x.HTML", "x.json", "v1.3"] {
            check(name, "", &["a"], Err("name FILE.html, FILE.svg, or a folder"));
        }
        check("x.html", "", &["a", "b"], Err("name a folder"));
        check("new/x", "", &["a", "b", "a"], Err("named a, and would be written over each other"));
        check("", "page.md", &["a", "a"], Err("written over each other"));
        check("", "", &["a", "a"], Ok(None));
    }

    #[test]
    fn what_cannot_be_written_is_known_before() {
        check("page.md/x.html", "", &["a"], Err("cannot make"));
        check("", "page.md", &["a", "b"], Ok(None));
        check(
            "",
            "page.md",
            &["b"],
            Err("does not have the lines `<!-- simulated b -->` and `<!-- end -->`"),
        );
        check("", "none.md", &["a"], Err("cannot read"));
    }
}
