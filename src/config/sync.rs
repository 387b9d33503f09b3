//! `[sync]`: when the engine runs, what its runs are made of, and when they wait.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::instance::{self, InstanceTable};
use super::reader::{Table, TextOrTable};
use super::words::setting_words;
use crate::calendar::{Day, TimeOfDay, WeeklyWindow, Zone};
use crate::identity::ConnectorName;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Steps of a profile: more is a mistake.
const MOST_STEPS: usize = 64;

#[derive(Clone, Debug)]
pub struct SyncSettings {
    /// The folder of the sync rule files.
    pub rules: PathBuf,
    /// Whether the engine runs by itself; `sync run` works either way.
    pub scheduled: bool,
    pub interval: Duration,
    /// The name of the run profile that scheduled cycles take.
    pub scheduled_profile: String,
    /// Between two passes of the password channel.
    pub password_interval: Duration,
    /// How long the engine lease holds without renewal: another node takes over within this time.
    pub lease: Duration,
    /// Nothing is exported.
    pub staging: bool,
    /// How long runs are remembered.
    pub run_retention: Duration,
    /// A suspension that lasts longer raises an alert.
    pub suspension_alert: Duration,
    pub profiles: Vec<RunProfileSettings>,
    pub windows: Vec<WindowSettings>,
    /// Engines beside the active one, which export nothing.
    pub instances: Vec<InstanceTable>,
}

/// A run profile of the operator's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunProfileSettings {
    pub name: String,
    pub steps: Vec<RunStep>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStep {
    pub kind: RunStepKind,
    pub connector: Option<ConnectorName>,
}

setting_words! {
    RunStepKind {
        DeltaImport = "delta-import",
        FullImport = "full-import",
        DeltaSync = "delta-sync",
        FullSync = "full-sync",
        Export = "export",
        Confirm = "confirm",
    }
    "delta-import, full-import, delta-sync, full-sync, export, confirm"
}

/// A maintenance window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowSettings {
    pub name: String,
    pub holds: WindowHolds,
    pub when: WeeklyWindow,
}

setting_words! {
    /// What a maintenance window holds back.
    WindowHolds { Exports = "exports", Cycles = "cycles" }
    "exports, cycles"
}

/// The name of a run profile or window: told in tables, typed in commands.
struct Word(String);

impl std::str::FromStr for Word {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fit = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        match (1..=64).contains(&text.len()) && text.chars().all(fit) {
            true => Ok(Self(text.to_owned())),
            false => Err("the name is not made of 1 to 64 letters, digits, `-`, `_` or `.`"),
        }
    }
}

/// The shipped run profiles, and what the field calls the full one.
const SHIPPED: [&str; 6] = ["delta", "cycle", "full", "initial", "staging", "import"];

impl SyncSettings {
    pub(super) fn read(table: Table<'_>) -> Self {
        let folder = table.source().folder();
        let profiles = profiles(&table);
        let settings = Self {
            rules: table.path("rules").unwrap_or_else(|| folder.join("rules")),
            scheduled: table.flag("scheduled").unwrap_or(true),
            interval: table.duration("interval", SECOND..=DAY).unwrap_or(2 * MINUTE),
            scheduled_profile: table.text("scheduled_profile").map_or_else(|| "delta".to_owned(), Into::into),
            password_interval: table.duration("password_interval", SECOND..=DAY).unwrap_or(2 * MINUTE),
            lease: table.duration("lease", 5 * SECOND..=10 * MINUTE).unwrap_or(10 * SECOND),
            staging: table.flag("staging").unwrap_or(false),
            run_retention: table.duration("run_retention", HOUR..=3650 * DAY).unwrap_or(7 * DAY),
            suspension_alert: table.duration("suspension_alert", MINUTE..=365 * DAY).unwrap_or(DAY),
            windows: table.tables("maintenance").into_iter().filter_map(window).collect(),
            profiles,
            instances: instance::tables(&table),
        };
        let known = |name: &str| SHIPPED.contains(&name) || settings.profiles.iter().any(|own| own.name == name);
        if !known(&settings.scheduled_profile) {
            let what = format!("there is no run profile `{}`", settings.scheduled_profile);
            table.complain(
                "scheduled_profile",
                what,
                "name a [[sync.profile]], or delta, cycle, full, staging or import",
            );
        }
        if !settings.rules.is_dir() {
            let what = format!("there is no folder {}", settings.rules.display());
            table.complain("rules", what, "create it; config/rules in the source tree has the shipped rules");
        }
        table.finish();
        settings
    }

    /// Complains of steps whose connector is none of `connectors`.
    pub(super) fn check_connectors(&self, root: &Table<'_>, connectors: &[ConnectorName]) {
        for profile in &self.profiles {
            let named = profile.steps.iter().filter_map(|step| step.connector.as_ref());
            for unknown in named.filter(|name| name.as_str() != "tenant" && !connectors.contains(name)) {
                let what =
                    format!("the run profile {} names the connector {unknown}, which there is not", profile.name);
                root.complain("sync", what, "name one of [[connectors]], or tenant");
            }
        }
    }
}

fn profiles(table: &Table<'_>) -> Vec<RunProfileSettings> {
    let mut profiles: Vec<RunProfileSettings> = Vec::new();
    for entry in table.tables("profile") {
        let name: Option<Word> = entry.required("name", "give the profile a name");
        if let Some(Word(name)) = &name
            && (SHIPPED.contains(&name.as_str()) || profiles.iter().any(|other| other.name == *name))
        {
            entry.complain("name", format!("there is a run profile `{name}` already"), "choose another name");
        }
        let steps = steps(&entry);
        entry.finish();
        if let Some(Word(name)) = name {
            profiles.push(RunProfileSettings { name, steps });
        }
    }
    profiles
}

fn steps(entry: &Table<'_>) -> Vec<RunStep> {
    const REMEDY: &str = "list steps such as \"delta-import\" or { step = \"export\", connector = \"tenant\" }";
    let mut steps = Vec::new();
    for item in entry.texts_or_tables("steps", REMEDY) {
        match item {
            TextOrTable::Text(text) => match text.parse() {
                Ok(kind) => steps.push(RunStep { kind, connector: None }),
                Err(error) => entry.complain("steps", format!("`{text}`: {error}"), REMEDY),
            },
            TextOrTable::Table(table) => {
                let kind: Option<RunStepKind> = table.required("step", REMEDY);
                let connector = table.parsed("connector", "give the name of a connector");
                if let (Some(RunStepKind::DeltaSync | RunStepKind::FullSync), Some(_)) = (kind, &connector) {
                    let what = "a synchronisation concerns all connectors";
                    table.complain("connector", what, "leave the connector out");
                }
                table.finish();
                steps.extend(kind.map(|kind| RunStep { kind, connector }));
            }
        }
    }
    if steps.is_empty() || steps.len() > MOST_STEPS {
        entry.complain("steps", format!("a run profile has 1 to {MOST_STEPS} steps"), REMEDY);
    }
    steps
}

fn window(table: Table<'_>) -> Option<WindowSettings> {
    let name: Option<Word> = table.required("name", "give the window a name");
    let days: Vec<Day> = table.list("days", "list days such as [\"sat\", \"sun\"]; every day when absent");
    let from: Option<TimeOfDay> = table.required("from", "give a time such as \"22:00\"");
    let to: Option<TimeOfDay> = table.required("to", "give a time such as \"04:00\"");
    let zone: Option<Zone> = table.parsed("time_zone", "give a name such as \"Europe/Berlin\"; UTC when absent");
    let holds = table.parsed("holds", "write \"exports\" or \"cycles\"").unwrap_or(WindowHolds::Exports);
    let every_day = days.is_empty();
    table.finish();
    let days: BTreeSet<Day> = if every_day { Day::ALL.into() } else { days.into_iter().collect() };
    let when = WeeklyWindow { days, from: from?, to: to?, zone: zone.unwrap_or_else(Zone::utc) };
    Some(WindowSettings { name: name?.0, holds, when })
}
