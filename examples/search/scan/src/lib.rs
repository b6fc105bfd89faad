//! Finds the lines of a directory tree that match a regular expression.

use std::path::{Path, PathBuf};
use std::{fs, io};

use grep_matcher::Matcher;
use grep_regex::RegexMatcher;
use grep_searcher::sinks::UTF8;
use grep_searcher::Searcher;
use ignore::WalkBuilder;
use serde::Serialize;
use template::Template;

/// One matching line.
#[derive(Debug, Serialize, Template)]
#[template("{path}:{line}:{column}: {text}")]
pub struct Hit {
    pub path: String,
    pub line: u64,
    /// Byte offset of the match in its line, from 1.
    pub column: usize,
    pub text: String,
}

/// What one search did.
#[derive(Debug, Default, Serialize, Template)]
#[template("{matches} matches in {files} files, {lines} lines")]
pub struct Summary {
    pub files: usize,
    pub lines: usize,
    pub matches: usize,
}

/// All that one search found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub hits: Vec<Hit>,
    pub summary: Summary,
}

/// Searches every text file below `root` that no ignore file excludes, in path order.
///
/// # Errors
/// The pattern is no regular expression, or a file cannot be read.
pub fn search(pattern: &str, root: &Path) -> io::Result<Report> {
    let matcher = RegexMatcher::new_line_matcher(pattern)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
    let mut report = Report::default();
    for path in files(root)? {
        search_file(&matcher, &path, &mut report)?;
    }
    Ok(report)
}

fn files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in WalkBuilder::new(root).build() {
        let entry =
            entry.map_err(|error| io::Error::new(io::ErrorKind::Other, error.to_string()))?;
        if entry.file_type().map_or(false, |kind| kind.is_file()) {
            found.push(entry.into_path());
        }
    }
    found.sort();
    Ok(found)
}

fn search_file(matcher: &RegexMatcher, path: &Path, report: &mut Report) -> io::Result<()> {
    let content = fs::read(path)?;
    if content.contains(&0) || std::str::from_utf8(&content).is_err() {
        return Ok(());
    }
    report.summary.files += 1;
    report.summary.lines += linecount::count(&content);
    let sink = UTF8(|line, text| {
        let column = matcher
            .find(text.as_bytes())?
            .map_or(1, |found| found.start() + 1);
        report.hits.push(Hit {
            path: path.display().to_string(),
            line,
            column,
            text: text.trim_end().to_owned(),
        });
        report.summary.matches += 1;
        Ok(true)
    });
    Searcher::new().search_slice(matcher, &content, sink)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_itself() {
        let report = search("fn finds_itself", Path::new("src"));
        assert!(report.unwrap().summary.matches >= 1);
    }
}
