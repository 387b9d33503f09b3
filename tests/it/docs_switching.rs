//! The commands of `docs/switching-methods.md`, run in their order on a domain of a thousand users; what they print is
//! what the page says.

use std::path::Path;
use std::process::{Command, Output};

use landbridge::identity::{Clock as _, EntityId, SystemClock};
use landbridge::saml::SigningKey;
use landbridge::saml::key::KeyKind;
use landbridge::saml::metadata::identity_provider_metadata;

use crate::support::directory::{Directory, People};
use crate::support::gateway::{Gateway, binary};
use crate::support::process::output;
use crate::support::slapd::Slapd;
use crate::support::tab::{self, Tab};

const DOMAIN: &str = "example.org";
const PILOTS: &str = "Pilot users";

/// A command of the page, and what the page says it prints.
struct Example {
    command: String,
    printed: Option<String>,
}

fn examples(page: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for block in page.split("\n```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').expect("a block has lines");
        match language {
            "sh" => examples.push(Example { command: text.to_owned(), printed: None }),
            "text" => examples.last_mut().expect("a command comes first").printed = Some(text.to_owned()),
            other => panic!("a block of the page is `{other}`"),
        }
    }
    examples
}

/// Lines, with each run of blanks as one: tables are as wide as what is in them.
fn lines(text: &str) -> Vec<String> {
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.trim().lines().map(line).collect()
}

/// Whether `printed` is `expected`, in which `...` stands for anything.
fn fits(expected: &str, printed: &str) -> bool {
    let mut parts = expected.split("...");
    let Some(mut rest) = printed.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut last = "";
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = part;
    }
    rest.is_empty() || (expected.contains("...") && (last.is_empty() || printed.ends_with(last)))
}

/// A thousand people of one domain, twenty of them in a group.
fn directory() -> Directory {
    let mut directory =
        People { people: 1_000, groups: 50, other_scheme_every: usize::MAX, ..People::default() }.generate();
    for (number, person) in directory.people.iter_mut().enumerate() {
        person.upn = format!("p{number:05}@{DOMAIN}");
        person.employee_number = Some(format!("E{number:06}"));
    }
    let pilots = directory.groups.last_mut().expect("fifty groups");
    pilots.dn = pilots.dn.replace(&pilots.cn, PILOTS);
    pilots.cn = PILOTS.to_owned();
    directory
}

/// The domain as the page finds it: federated, its people and their hashes known.
fn site(slapd: &Slapd) -> Gateway {
    const YEAR: std::time::Duration = std::time::Duration::from_secs(365 * 86_400);
    let gateway = Gateway::builder().slapd("corp", slapd, &[DOMAIN], "").hardening("sealed").start();
    gateway.cli(&["domain", "add", DOMAIN]);
    gateway.cli(&["domain", "verify", DOMAIN, "--vouch"]);
    gateway.cli(&["rules", "activate"]);
    gateway.cli(&["sync", "run"]);
    gateway.cli(&["password-sync", "run"]);
    let key = SigningKey::generate(KeyKind::EcP256, "idp.example.org", SystemClock.now(), YEAR).expect("a key");
    let entity_id: EntityId = "https://idp.example.org/metadata".parse().expect("an entity id");
    let sso = "https://idp.example.org/sso".parse().expect("a url");
    let metadata = identity_provider_metadata(&entity_id, &sso, &[key.certificate()]);
    let file = gateway.folder().join("partner.xml");
    std::fs::write(&file, metadata).expect("a file");
    gateway.cli(&["partner", "add", "--metadata", &file.display().to_string(), "--domain", DOMAIN]);
    gateway.cli(&["domain", "set-method", DOMAIN, "federated"]);
    gateway
}

/// Runs `commands` in `folder` with a `landbridge` that finds this gateway.
fn in_shell(gateway: &Gateway, folder: &Path, commands: &str) -> Output {
    let lines = format!(
        "set -e\ncd {}\nlandbridge() {{ {} --config {} \"$@\"; }}\n{commands}",
        folder.display(),
        binary().display(),
        gateway.settings_file().display()
    );
    output(Command::new("sh").args(["-c", &lines]))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_page_prints_what_the_page_says() {
    let page = include_str!("../../docs/switching-methods.md");
    let people = directory();
    let slapd = Slapd::builder().directory(&people).start();
    let gateway = site(&slapd);
    tab::register(&gateway);
    let http = gateway.http();
    let folder = tempfile::tempdir().expect("a folder");
    let examples = examples(page);
    assert!(examples.len() >= 14, "{} commands", examples.len());
    for Example { command, printed } in examples {
        let output = in_shell(&gateway, folder.path(), &command);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command}: {text}{told}");
        if let Some(expected) = printed {
            let (expected, printed) = (lines(&expected), lines(&text));
            let same = expected.len() == printed.len()
                && expected.iter().zip(&printed).all(|(expected, printed)| fits(expected, printed));
            assert!(same, "{command}\nthe page: {expected:#?}\nprinted: {printed:#?}");
        }
        if command.trim() == format!("landbridge domain set-method {DOMAIN} pta") {
            let person = &people.people[500];
            let page = Tab::new(&gateway, &http).sign_in(&person.upn, &person.password).await;
            assert!(page.has_code(), "the switch holds: {} {}", page.status, page.body);
        }
    }
    let readiness = std::fs::read_to_string(folder.path().join("readiness.csv")).expect("the export");
    assert_eq!(readiness.lines().count(), 1 + people.people.len());
}

#[test]
fn dots_stand_for_anything_and_nothing_else_does() {
    assert!(fits("a ... c", "a b b c") && fits("... c", "b c") && fits("a ...", "a b") && fits("same", "same"));
    assert!(!fits("a ... c", "a b d") && !fits("same", "same again") && !fits("a ...", "b a"));
}
