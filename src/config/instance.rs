//! `[[sync.instance]]`: engines that run beside the active one and export nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::problem::{Problem, Problems};
use super::reader::Table;
use super::settings::Settings;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// Characters of a name: PostgreSQL cuts longer names of schemas off.
const LONGEST: usize = 32;

/// The name of a staging instance: typed in commands, and a part of the name of its database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstanceName(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name is not made of 1 to 32 small letters, digits or `_`, the first one a letter")]
pub struct InstanceNameError;

impl InstanceName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InstanceName {
    type Err = InstanceNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let first = text.chars().next().is_some_and(|c| c.is_ascii_lowercase());
        match first && text.len() <= LONGEST && text.chars().all(fit) {
            true => Ok(Self(text.to_owned())),
            false => Err(InstanceNameError),
        }
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A table of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceTable {
    name: InstanceName,
    settings: Option<PathBuf>,
    rules: Option<PathBuf>,
    interval: Option<Duration>,
}

/// A staging instance with the settings that it follows.
#[derive(Clone, Debug)]
pub struct InstanceSettings {
    pub name: InstanceName,
    /// Between two runs; on request alone when absent.
    pub interval: Option<Duration>,
    /// Its connectors, their order, its rule folder and its run profiles count; nothing else of it does.
    pub settings: Settings,
}

pub(super) fn tables(sync: &Table<'_>) -> Vec<InstanceTable> {
    let mut tables: Vec<InstanceTable> = Vec::new();
    for entry in sync.tables("instance") {
        let name: Option<InstanceName> = entry.required("name", "give the instance a name");
        if let Some(name) = &name
            && tables.iter().any(|other| other.name == *name)
        {
            entry.complain("name", format!("there is an instance `{name}` already"), "choose another name");
        }
        let (settings, rules) = (entry.path("settings"), entry.path("rules"));
        if settings.is_none() && rules.is_none() {
            let remedy = "write `settings`, a settings file, or `rules`, a folder of rule files";
            entry.complain("name", "the instance would be the same as the active one", remedy);
        }
        if let Some(folder) = rules.as_ref().filter(|folder| !folder.is_dir()) {
            entry.complain("rules", format!("there is no folder {}", folder.display()), "create it");
        }
        let interval = entry.duration("interval", SECOND..=DAY);
        entry.finish();
        tables.extend(name.map(|name| InstanceTable { name, settings, rules, interval }));
    }
    tables
}

/// The instances of `active`, each with its own settings file, which `read` reads.
pub(super) fn resolved(
    active: &Settings,
    read: impl Fn(&Path) -> Result<Settings, Problems>,
) -> Result<Vec<InstanceSettings>, Problems> {
    let mut problems: Vec<Problem> = Vec::new();
    let mut instances = Vec::new();
    for table in &active.sync.instances {
        let own = match &table.settings {
            Some(file) => read(file).map(|settings| Settings { file: file.clone(), ..settings }),
            None => Ok(active.clone()),
        };
        match own {
            Ok(mut settings) => {
                settings.sync.rules = table.rules.clone().unwrap_or(settings.sync.rules);
                let (name, interval) = (table.name.clone(), table.interval);
                instances.push(InstanceSettings { name, interval, settings });
            }
            Err(more) => problems.extend(more.0),
        }
    }
    if problems.is_empty() { Ok(instances) } else { Err(Problems(problems)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_into_the_name_of_a_file_and_of_a_schema() {
        for good in ["next", "a", "rules_2026", &"a".repeat(LONGEST)] {
            assert_eq!(good.parse::<InstanceName>().expect(good).as_str(), good);
        }
        for bad in ["", "Next", "2026", "_a", "../next", "a b", "a\"b", "näxt", &"a".repeat(LONGEST + 1)] {
            assert_eq!(bad.parse::<InstanceName>(), Err(InstanceNameError), "{bad}");
        }
    }
}
