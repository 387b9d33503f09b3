//! `landbridge rules check`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::Output;
use crate::sync::activation::{self, ActivationError};
use crate::sync::rule::{RuleSet, RuleSource, parse};

#[derive(Serialize)]
struct Answer {
    files: usize,
    rules: usize,
}

pub(super) fn run(config: &Path, paths: &[PathBuf], output: &Output) -> anyhow::Result<()> {
    let sources = read(config, paths)?;
    let rules = parsed(&sources)?;
    let answer = Answer { files: sources.len(), rules: rules.rules().len() };
    output.show(&answer, |answer| format!("{} rules in {} files are valid", answer.rules, answer.files));
    Ok(())
}

/// The rules in the folder that a settings file names.
pub(in crate::cli) fn of_settings(config: &Path) -> anyhow::Result<RuleSet> {
    parsed(&read(config, &[])?)
}

fn parsed(sources: &[RuleSource]) -> anyhow::Result<RuleSet> {
    parse(sources).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })
}

fn read(config: &Path, paths: &[PathBuf]) -> anyhow::Result<Vec<RuleSource>> {
    let configured;
    let paths = if paths.is_empty() {
        configured = [crate::config::rules_folder(config)?];
        &configured
    } else {
        paths
    };
    let mut sources = Vec::new();
    for path in paths {
        if path.is_dir() {
            let files = activation::read_folder(path).map_err(unreadable)?;
            sources.extend(files.into_iter().map(|source| placed(source, path)));
        } else {
            let source = activation::read_file(path).map_err(unreadable)?;
            sources.push(placed(source, path.parent().unwrap_or(Path::new(""))));
        }
    }
    anyhow::ensure!(!sources.is_empty(), "there is no rule file (*.toml)");
    Ok(sources)
}

/// Faults are told with the path that was given.
fn placed(source: RuleSource, folder: &Path) -> RuleSource {
    RuleSource { file: folder.join(&source.file).display().to_string(), ..source }
}

fn unreadable(error: ActivationError) -> anyhow::Error {
    match error {
        ActivationError::Unreadable { file, source } => anyhow::anyhow!("{file} cannot be read: {source}"),
        other => anyhow::Error::new(other),
    }
}
