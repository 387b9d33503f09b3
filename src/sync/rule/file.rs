//! Rule files: TOML to rules, every fault with its file and line.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::flow::{AnchorEncoding, Flow, FlowKind, Take};
use super::scope::{Clause, Operator, Scope};
use super::set::{ConnectorKind, Direction, Join, JoinClause, LinkType, Rule, RuleSet};
use crate::sync::attribute::Attribute;

/// One rule file as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSource {
    /// Path below the rules folder.
    pub file: String,
    pub text: String,
}

/// A fault of a rule file, where it is and what is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct RuleFileError {
    pub file: String,
    pub line: usize,
    pub message: String,
}

impl fmt::Display for RuleFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Spanned<RuleTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    name: Spanned<String>,
    direction: Direction,
    /// One connector by name ...
    connector: Option<Spanned<String>>,
    /// ... or all of a kind.
    connector_kind: Option<Spanned<String>>,
    space_type: String,
    metaverse_type: String,
    link: LinkType,
    precedence: Spanned<u32>,
    enable_password_sync: Option<Spanned<bool>>,
    #[serde(default)]
    scope: Vec<Vec<Spanned<ClauseTable>>>,
    #[serde(default)]
    join: Vec<Spanned<Vec<ClauseOfJoin>>>,
    #[serde(default)]
    flow: Vec<Spanned<FlowTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClauseTable {
    attribute: Attribute,
    operator: Operator,
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClauseOfJoin {
    space: Attribute,
    metaverse: Attribute,
    #[serde(default)]
    case_sensitive: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowTable {
    target: Attribute,
    direct: Option<Attribute>,
    #[serde(default)]
    single: bool,
    #[serde(default)]
    first: bool,
    constant: Option<String>,
    account_enabled: Option<bool>,
    source_anchor: Option<AnchorTable>,
    reference: Option<Attribute>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnchorTable {
    attribute: Attribute,
    encoding: EncodingWord,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum EncodingWord {
    Text,
    Binary,
}

/// Parses and validates all files as a whole. Every fault is reported, not only the first.
pub fn parse(sources: &[RuleSource]) -> Result<RuleSet, Vec<RuleFileError>> {
    let (mut rules, mut faults) = (Vec::new(), Vec::new());
    let mut names: HashMap<String, String> = HashMap::new();
    let mut precedences: HashMap<u32, String> = HashMap::new();
    for source in sources {
        let file: File = match toml::from_str(&source.text) {
            Ok(file) => file,
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                faults.push(source.fault(at, error.message().to_owned()));
                continue;
            }
        };
        for table in file.rule {
            let at = table.span().start;
            let table = table.into_inner();
            let name = table.name.get_ref().clone();
            if let Some(other) = names.insert(name.clone(), source.file.clone()) {
                faults.push(
                    source
                        .fault(table.name.span().start, format!("rule `{name}` is also in {other}: names are unique")),
                );
            }
            let (precedence, precedence_at) = (*table.precedence.get_ref(), table.precedence.span().start);
            if let Some(other) = precedences.insert(precedence, name.clone()) {
                let message = format!("precedence {precedence} is taken by rule `{other}`: each rule has its own");
                faults.push(source.fault(precedence_at, message));
            }
            let before = faults.len();
            if let Some(rule) = rule(source, at, table, &mut faults)
                && faults.len() == before
            {
                rules.push(rule);
            }
        }
    }
    if faults.is_empty() { Ok(RuleSet::new(rules)) } else { Err(faults) }
}

impl RuleSource {
    fn fault(&self, at: usize, message: String) -> RuleFileError {
        let line = self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        RuleFileError { file: self.file.clone(), line, message }
    }
}

fn rule(source: &RuleSource, at: usize, table: RuleTable, faults: &mut Vec<RuleFileError>) -> Option<Rule> {
    let connector = connector(source, at, &table, faults);
    let empty_group = table.scope.iter().any(Vec::is_empty);
    let mut groups = Vec::new();
    for group in table.scope {
        groups.push(group.into_iter().filter_map(|clause| self::clause(source, clause, faults)).collect::<Vec<_>>());
    }
    if empty_group {
        faults.push(source.fault(at, "a scope group without clauses admits everything: leave it out".to_owned()));
    }
    let mut joins = Vec::new();
    for join in table.join {
        if join.get_ref().is_empty() {
            faults.push(source.fault(join.span().start, "a join group needs at least one clause".to_owned()));
        }
        let clauses = join.into_inner().into_iter().map(|clause| JoinClause {
            space: clause.space,
            metaverse: clause.metaverse,
            case_sensitive: clause.case_sensitive,
        });
        joins.push(Join { clauses: clauses.collect() });
    }
    if table.direction == Direction::Outbound && joins.len() > 1 {
        faults.push(source.fault(at, "an outbound rule has at most one join group".to_owned()));
    }
    if table.link == LinkType::Provision && table.direction == Direction::Inbound && joins.is_empty() {
        faults.push(
            source.fault(at, "an inbound provision rule needs a join: it decides which value must be there".to_owned()),
        );
    }
    if let Some(flag) = &table.enable_password_sync
        && *flag.get_ref()
        && table.direction == Direction::Outbound
    {
        faults.push(source.fault(flag.span().start, "enable_password_sync belongs to inbound rules".to_owned()));
    }
    let mut flows: Vec<Flow> = Vec::new();
    for flow in table.flow {
        let flow_at = flow.span().start;
        if let Some(flow) = self::flow(source, flow, table.direction, faults) {
            if flows.iter().any(|other| other.target == flow.target) {
                faults.push(source.fault(flow_at, format!("`{}` has two flows in one rule", flow.target)));
            }
            flows.push(flow);
        }
    }
    Some(Rule {
        name: table.name.into_inner(),
        direction: table.direction,
        connector: connector?,
        space_type: table.space_type,
        metaverse_type: table.metaverse_type,
        link: table.link,
        precedence: table.precedence.into_inner(),
        scope: Scope { groups },
        joins,
        flows,
        enable_password_sync: table.enable_password_sync.is_some_and(Spanned::into_inner),
    })
}

fn connector(
    source: &RuleSource,
    at: usize,
    table: &RuleTable,
    faults: &mut Vec<RuleFileError>,
) -> Option<ConnectorKind> {
    match (&table.connector, &table.connector_kind) {
        (Some(name), None) => match name.get_ref().parse() {
            Ok(name) => Some(ConnectorKind::Named(name)),
            Err(_) => {
                faults.push(source.fault(name.span().start, format!("`{}` is no connector name", name.get_ref())));
                None
            }
        },
        (None, Some(kind)) => Some(ConnectorKind::Kind(kind.get_ref().clone())),
        _ => {
            faults.push(source.fault(at, "a rule names either `connector` or `connector_kind`".to_owned()));
            None
        }
    }
}

fn clause(source: &RuleSource, clause: Spanned<ClauseTable>, faults: &mut Vec<RuleFileError>) -> Option<Clause> {
    let at = clause.span().start;
    let clause = clause.into_inner();
    match (clause.operator.takes_value(), clause.value) {
        (true, Some(value)) => {
            let bits = matches!(clause.operator, Operator::IsBitSet | Operator::IsNotBitSet);
            if bits && value.parse::<i64>().is_err() {
                faults.push(source.fault(at, format!("`{value}` is no weight of a bit, such as 2")));
                return None;
            }
            Some(Clause { attribute: clause.attribute, operator: clause.operator, value })
        }
        (false, None) => Some(Clause { attribute: clause.attribute, operator: clause.operator, value: String::new() }),
        (true, None) => {
            faults.push(source.fault(at, "this operator needs a `value`".to_owned()));
            None
        }
        (false, Some(_)) => {
            faults.push(source.fault(at, "ISNULL and ISNOTNULL take no `value`".to_owned()));
            None
        }
    }
}

fn flow(
    source: &RuleSource,
    flow: Spanned<FlowTable>,
    direction: Direction,
    faults: &mut Vec<RuleFileError>,
) -> Option<Flow> {
    let at = flow.span().start;
    let table = flow.into_inner();
    let mut kinds = Vec::new();
    let take = match (table.single, table.first) {
        (true, true) => {
            faults.push(source.fault(at, "a flow is either `single` or `first`".to_owned()));
            return None;
        }
        (true, false) => Take::Single,
        (false, true) => Take::First,
        (false, false) => Take::All,
    };
    kinds.extend(table.direct.map(|from| FlowKind::Direct { source: from, take }));
    kinds.extend(table.constant.map(|value| FlowKind::Constant { value }));
    kinds.extend(table.account_enabled.filter(|on| *on).map(|_| FlowKind::AccountEnabled));
    kinds.extend(table.source_anchor.map(|anchor| FlowKind::SourceAnchor {
        source: anchor.attribute,
        encoding: match anchor.encoding {
            EncodingWord::Text => AnchorEncoding::Text,
            EncodingWord::Binary => AnchorEncoding::Binary,
        },
    }));
    kinds.extend(table.reference.map(|from| FlowKind::Reference { source: from }));
    let kind = match (kinds.len(), kinds.pop()) {
        (1, Some(kind)) => kind,
        _ => {
            let message = "a flow has exactly one of direct, constant, account_enabled, source_anchor, reference";
            faults.push(source.fault(at, message.to_owned()));
            return None;
        }
    };
    let inbound_only = matches!(kind, FlowKind::AccountEnabled | FlowKind::SourceAnchor { .. });
    if inbound_only && direction == Direction::Outbound {
        faults.push(source.fault(at, "account_enabled and source_anchor are flows of inbound rules".to_owned()));
        return None;
    }
    Some(Flow { target: table.target, kind })
}
