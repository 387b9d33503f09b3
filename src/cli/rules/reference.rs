//! `landbridge rules reference`: all that a rule file may say, and what the shipped ones say, from the tables and files that
//! the product itself works with.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;
use sync_expr::functions;

use crate::cli::Output;
use crate::sync::rule::vocabulary::{TABLES, Table, WORDS, Words};
use crate::sync::rule::{
    ConnectorKind, Direction, LinkType, Rule, RuleSource, Syntax, Syntaxes, TOLD_BY_CONNECTORS, parse, shipped,
};

/// A rule as the page lists it.
#[derive(Serialize)]
struct Entry {
    precedence: u32,
    name: String,
    direction: &'static str,
    connector: String,
    space_types: Vec<String>,
    metaverse_type: String,
    link: &'static str,
    /// The attributes that it writes.
    flows: Vec<String>,
}

/// An option with what it changes.
#[derive(Serialize)]
struct OptionFile {
    file: String,
    disables: Vec<String>,
    rules: Vec<Entry>,
}

pub(super) fn run(output: &Output) -> anyhow::Result<()> {
    let rules = shipped::rules();
    let entries = entries(&rules)?;
    let known: BTreeSet<String> = entries.iter().map(|entry| entry.name.clone()).collect();
    let mut options = Vec::new();
    for option in shipped::options() {
        let together: Vec<RuleSource> = rules.iter().chain([&option]).cloned().collect();
        let with = self::entries(&together)?;
        let left: BTreeSet<&String> = with.iter().map(|entry| &entry.name).collect();
        let disables = entries.iter().filter(|entry| !left.contains(&entry.name)).map(|entry| entry.name.clone());
        let disables = disables.collect();
        let own = with.into_iter().filter(|entry| !known.contains(&entry.name)).collect();
        options.push(OptionFile { file: option.file, disables, rules: own });
    }
    let page = page(&entries, &options);
    let answer = json!({
        "tables": TABLES,
        "words": WORDS,
        "parameters": TOLD_BY_CONNECTORS,
        "functions": functions().map(sync_expr::Function::signature).collect::<Vec<_>>(),
        "shipped": entries,
        "options": options,
    });
    output.show(&answer, |_| page);
    Ok(())
}

fn entries(sources: &[RuleSource]) -> anyhow::Result<Vec<Entry>> {
    let rules = parse(sources).map_err(|faults| {
        anyhow::anyhow!("a shipped rule is not valid: {}", faults.first().map(ToString::to_string).unwrap_or_default())
    })?;
    let mut entries: Vec<Entry> = Vec::new();
    for rule in rules.rules() {
        match entries.last_mut().filter(|last| last.name == rule.name) {
            Some(last) => last.space_types.push(rule.space_type.clone()),
            None => entries.push(Entry::of(rule)),
        }
    }
    Ok(entries)
}

impl Entry {
    fn of(rule: &Rule) -> Self {
        Self {
            precedence: rule.precedence,
            name: rule.name.clone(),
            direction: match rule.direction {
                Direction::Inbound => "inbound",
                Direction::Outbound => "outbound",
            },
            connector: match &rule.connector {
                ConnectorKind::Named(name) => name.to_string(),
                ConnectorKind::Kind(kind) => kind.clone(),
            },
            space_types: vec![rule.space_type.clone()],
            metaverse_type: rule.metaverse_type.clone(),
            link: match rule.link {
                LinkType::Provision => "provision",
                LinkType::Join => "join",
                LinkType::StickyJoin => "sticky-join",
            },
            flows: rule.flows.iter().map(|flow| flow.target.to_string()).collect(),
        }
    }

    fn row(&self) -> String {
        let (space, metaverse) = (self.space_types.join(", "), &self.metaverse_type);
        let between = match self.direction {
            "inbound" => format!("{} {space} -> {metaverse}", self.connector),
            _ => format!("{metaverse} -> {} {space}", self.connector),
        };
        format!("| {} | {} | {between} | {} | {} |\n", self.precedence, self.name, self.link, self.flows.join(", "))
    }
}

/// Markdown.
fn page(rules: &[Entry], options: &[OptionFile]) -> String {
    let mut page = String::from(
        "# Rule files: the reference\n\n\
         Printed by `landbridge rules reference` from the tables and the files that the product itself works with. How rules are \
         written, and ten worked examples: [sync rules](sync-rules.md).\n\n## Keys\n",
    );
    TABLES.iter().for_each(|table| page.push_str(&keys(table)));
    page.push_str("\n## Words\n");
    WORDS.iter().for_each(|list| page.push_str(&words(list)));
    page.push_str(
        "\nOn an absent attribute the operators that deny (`NOT...`, `ISNOT...`) hold, and the others do not. Case does not \
         matter.\n\n## Parameters\n\nConnectors tell these, and files may set others under `[parameters]`:\n\n",
    );
    for name in TOLD_BY_CONNECTORS {
        page.push_str(&format!("- `%{name}%`\n"));
    }
    page.push_str("\n## Attributes that are not text\n\nUnless `[types]` says otherwise:\n\n");
    let known = Syntaxes::default();
    for (syntax, title) in [(Syntax::Integer, "integer"), (Syntax::Boolean, "boolean")] {
        let names: Vec<String> = known.names_of(syntax).map(|name| format!("`{name}`")).collect();
        page.push_str(&format!("- {title}: {}\n", names.join(", ")));
    }
    page.push_str(
        "\n## Functions\n\nEach is told with examples in [functions of expressions](expression-functions.md).\n",
    );
    let mut group = None;
    for function in functions() {
        if group != Some(function.group) {
            page.push_str(&format!("\n{}:\n\n", function.group.title()));
            group = Some(function.group);
        }
        let place = function.name.to_lowercase();
        page.push_str(&format!("- [`{}`](expression-functions.md#{place})\n", function.signature()));
    }
    page.push_str("\n## The shipped rules\n\nThe strongest first.\n\n");
    page.push_str(&table(rules));
    page.push_str("\n## Their options\n\nFiles of `config/rules-options`; what each replaces, and what it adds.\n");
    for option in options {
        page.push_str(&format!("\n### {}\n\n", option.file));
        if !option.disables.is_empty() {
            page.push_str(&format!("Replaces {}.\n\n", option.disables.join(", ")));
        }
        page.push_str(&table(&option.rules));
    }
    page
}

fn keys(table: &Table) -> String {
    let mut text = format!("\n### {}\n\n| Key | Value | Meaning |\n|---|---|---|\n", table.place);
    for key in table.keys {
        text.push_str(&format!("| `{}` | {} | {} |\n", key.name, key.value, key.meaning));
    }
    text
}

fn words(list: &Words) -> String {
    let mut text = format!("\n### {}\n\n| Word | Meaning |\n|---|---|\n", list.title);
    for word in list.words {
        let also = word.also.map(|also| format!(", `{also}`")).unwrap_or_default();
        text.push_str(&format!("| `{}`{also} | {} |\n", word.word, word.meaning));
    }
    text
}

fn table(rules: &[Entry]) -> String {
    let mut text = String::from("| Precedence | Rule | From and to | Link | Writes |\n|---|---|---|---|---|\n");
    rules.iter().for_each(|rule| text.push_str(&rule.row()));
    text
}
