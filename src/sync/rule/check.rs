//! What rule files must be as a whole: each fault with its place.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sync_expr::Expression;
use toml::Spanned;

use super::file::{ClauseTable, EncodingWord, File, FlowTable, RuleSource, RuleTable};
use super::flow::{AnchorEncoding, Flow, FlowKind, Merge, Take};
use super::formula::{Formula, RDN};
use super::parameters::TOLD_BY_CONNECTORS;
use super::place::RuleFileError;
use super::scope::{Clause, Scope};
use super::set::{ANY_TYPE, ConnectorKind, Direction, Join, JoinClause, LinkType, Rule, RuleSet};
use super::syntax::Syntaxes;
use crate::sync::attribute::Attribute;

pub(super) fn check(
    files: Vec<(&RuleSource, File)>,
    faults: Vec<RuleFileError>,
) -> Result<RuleSet, Vec<RuleFileError>> {
    let mut checker = Checker { faults, ..Checker::default() };
    for (source, file) in &files {
        checker.surroundings(source, file);
    }
    for (source, file) in &files {
        for name in file.disable.iter().filter(|name| !checker.names.contains_key(name.get_ref())) {
            checker.faults.push(source.fault(name.span().start, format!("there is no rule `{}`", name.get_ref())));
        }
    }
    let mut rules = Vec::new();
    for (source, file) in files {
        for table in file.rule {
            let before = checker.faults.len();
            let made = checker.rule(source, table);
            if checker.faults.len() == before {
                rules.extend(made);
            }
        }
    }
    checker.merges(&rules);
    if !checker.faults.is_empty() {
        return Err(checker.faults);
    }
    rules.retain(|rule| !rule.disabled && !checker.disabled.contains(&rule.name));
    Ok(RuleSet::new(rules, checker.parameters.into_iter().collect()))
}

/// The links of one kind of object: they are carried by link passes, and neither scopes nor expressions see them.
type Links = BTreeSet<(Direction, String, Attribute)>;

#[derive(Default)]
struct Checker {
    faults: Vec<RuleFileError>,
    names: HashMap<String, String>,
    precedences: HashMap<u32, String>,
    disabled: BTreeSet<String>,
    parameters: BTreeMap<String, String>,
    syntaxes: Syntaxes,
    links: Links,
    /// Where flows are that do not merely update, for what is said of their merge types.
    places: HashMap<(String, Attribute), RuleFileError>,
}

impl Checker {
    fn say(&mut self, source: &RuleSource, at: usize, message: impl Into<String>) {
        self.faults.push(source.fault(at, message));
    }

    /// What all files together say before any rule is looked at.
    fn surroundings(&mut self, source: &RuleSource, file: &File) {
        for (name, value) in &file.parameters {
            if self.parameters.insert(name.clone(), value.get_ref().clone()).is_some() {
                self.say(source, value.span().start, format!("the parameter `{name}` is set twice"));
            }
        }
        for (name, syntax) in &file.types {
            self.syntaxes.set(Attribute::from(name.as_str()), *syntax);
        }
        for table in &file.rule {
            let table = table.get_ref();
            let name = table.name.get_ref();
            if let Some(other) = self.names.insert(name.clone(), source.file.clone()) {
                let message = format!("rule `{name}` is also in {other}: names are unique");
                self.say(source, table.name.span().start, message);
            }
            for flow in &table.flow {
                let flow = flow.get_ref();
                let Some(reference) = &flow.reference else { continue };
                for of in table.reads() {
                    self.links.insert((table.direction, of.clone(), reference.clone()));
                }
                if table.direction == Direction::Inbound {
                    let of = table.metaverse_type.get_ref().clone();
                    self.links.insert((Direction::Outbound, of, flow.target.clone()));
                }
            }
        }
        self.disabled.extend(file.disable.iter().map(|name| name.get_ref().clone()));
    }

    /// One rule for each type of the space that the table names.
    fn rule(&mut self, source: &RuleSource, table: Spanned<RuleTable>) -> Vec<Rule> {
        let at = table.span().start;
        let table = table.into_inner();
        let name = table.name.get_ref().clone();
        let (space_types, reads) = (table.space_type.names().to_vec(), table.reads().to_vec());
        let (precedence, precedence_at) = (*table.precedence.get_ref(), table.precedence.span().start);
        let disabled = table.disabled || self.disabled.contains(&name);
        if !disabled && let Some(other) = self.precedences.insert(precedence, name.clone()) {
            let message = format!("precedence {precedence} is taken by rule `{other}`: each rule has its own");
            self.say(source, precedence_at, message);
        }
        let connector = self.connector(source, at, &table);
        let scope = self.scope(source, at, &table);
        let mut joins = Vec::new();
        for join in table.join {
            if join.get_ref().is_empty() {
                self.say(source, join.span().start, "a join group needs at least one clause");
            }
            let clauses = join.into_inner().into_iter().map(|clause| JoinClause {
                space: clause.space,
                metaverse: clause.metaverse,
                case_sensitive: clause.case_sensitive,
            });
            joins.push(Join { clauses: clauses.collect() });
        }
        let metaverse_type = table.metaverse_type.get_ref().clone();
        match (table.direction, table.link) {
            (Direction::Outbound, LinkType::StickyJoin) => {
                self.say(source, at, "sticky-join is for inbound rules: it keeps a metaverse object alive");
            }
            (Direction::Outbound, _) if joins.len() > 1 => {
                self.say(source, at, "an outbound rule has at most one join group");
            }
            (Direction::Inbound, LinkType::Provision) if joins.is_empty() => {
                self.say(source, at, "an inbound provision rule needs a join: it decides which value must be there");
            }
            _ => {}
        }
        if metaverse_type == ANY_TYPE && (table.direction, table.link) != (Direction::Inbound, LinkType::Join) {
            self.say(
                source,
                table.metaverse_type.span().start,
                "only an inbound join rule may be for any metaverse type",
            );
        }
        if let Some(flag) = &table.enable_password_sync
            && *flag.get_ref()
            && table.direction == Direction::Outbound
        {
            self.say(source, flag.span().start, "enable_password_sync belongs to inbound rules");
        }
        if space_types.is_empty() || (table.direction == Direction::Outbound && space_types.len() > 1) {
            self.say(source, at, "`space_type` is one type, or a list of types of an inbound rule");
        }
        let mut flows: Vec<Flow> = Vec::new();
        for flow in table.flow {
            let flow_at = flow.span().start;
            let Some(flow) = self.flow(source, flow, table.direction, &reads) else { continue };
            if flows.iter().any(|other| other.target == flow.target) {
                self.say(source, flow_at, format!("`{}` has two flows in one rule", flow.target));
            }
            let place = source.fault(flow_at, String::new());
            self.places.insert((name.clone(), flow.target.clone()), place);
            flows.push(flow);
        }
        let Some(connector) = connector else { return Vec::new() };
        let rule = Rule {
            name,
            description: table.description,
            disabled,
            direction: table.direction,
            connector,
            space_type: String::new(),
            metaverse_type,
            link: table.link,
            precedence,
            scope,
            joins,
            flows,
            enable_password_sync: table.enable_password_sync.is_some_and(Spanned::into_inner),
        };
        space_types.into_iter().map(|space_type| Rule { space_type, ..rule.clone() }).collect()
    }

    fn connector(&mut self, source: &RuleSource, at: usize, table: &RuleTable) -> Option<ConnectorKind> {
        match (&table.connector, &table.connector_kind) {
            (Some(name), None) => match name.get_ref().parse() {
                Ok(name) => Some(ConnectorKind::Named(name)),
                Err(_) => {
                    self.say(source, name.span().start, format!("`{}` is no connector name", name.get_ref()));
                    None
                }
            },
            (None, Some(kind)) => Some(ConnectorKind::Kind(kind.get_ref().clone())),
            _ => {
                self.say(source, at, "a rule names either `connector` or `connector_kind`");
                None
            }
        }
    }

    fn scope(&mut self, source: &RuleSource, at: usize, table: &RuleTable) -> Scope {
        if table.scope.iter().any(Vec::is_empty) {
            self.say(source, at, "a scope group without clauses admits everything: leave it out");
        }
        let reads = table.reads();
        let groups = table.scope.iter();
        let groups =
            groups.map(|group| group.iter().filter_map(|c| self.clause(source, c, table.direction, reads)).collect());
        Scope { groups: groups.collect() }
    }

    fn clause(
        &mut self,
        source: &RuleSource,
        clause: &Spanned<ClauseTable>,
        direction: Direction,
        reads: &[String],
    ) -> Option<Clause> {
        let (at, table) = (clause.span().start, clause.get_ref());
        if table.operator.takes_group() {
            return self.clause_of_group(source, at, table, direction);
        }
        let Some(attribute) = &table.attribute else {
            self.say(source, at, "this operator needs an `attribute`");
            return None;
        };
        if self.holds_links(direction, reads, attribute) {
            let message =
                format!("`{attribute}` holds references: a scope sees them by ISMEMBEROF and ISNOTMEMBEROF alone");
            self.say(source, at, message);
            return None;
        }
        match (table.operator.takes_value(), &table.value) {
            (true, Some(value)) => {
                let clause = Clause::new(attribute.clone(), table.operator, value);
                match clause.parameter() {
                    Some(name) if !self.knows_parameter(name) => {
                        self.say(source, at, unknown_parameter(name));
                        return None;
                    }
                    None if table.operator.takes_bits() && value.parse::<i64>().is_err() => {
                        self.say(source, at, format!("`{value}` is no weight of a bit, such as 2"));
                        return None;
                    }
                    _ => {}
                }
                Some(clause)
            }
            (false, None) => Some(Clause::new(attribute.clone(), table.operator, "")),
            (true, None) => {
                self.say(source, at, "this operator needs a `value`");
                None
            }
            (false, Some(_)) => {
                self.say(source, at, "ISNULL and ISNOTNULL take no `value`");
                None
            }
        }
    }

    fn clause_of_group(
        &mut self,
        source: &RuleSource,
        at: usize,
        table: &ClauseTable,
        direction: Direction,
    ) -> Option<Clause> {
        if direction == Direction::Outbound {
            self.say(
                source,
                at,
                "ISMEMBEROF and ISNOTMEMBEROF ask for groups of a connector space: they are for inbound rules",
            );
            return None;
        }
        match table.value.as_deref().map(str::parse) {
            Some(Ok(group)) => Some(Clause::of_group(table.operator, group)),
            Some(Err(_)) | None => {
                self.say(source, at, "this operator needs the distinguished name of a group as its `value`");
                None
            }
        }
    }

    fn holds_links(&self, direction: Direction, reads: &[String], attribute: &Attribute) -> bool {
        reads.iter().any(|of| self.links.contains(&(direction, of.clone(), attribute.clone())))
    }

    fn knows_parameter(&self, name: &str) -> bool {
        self.parameters.contains_key(name) || TOLD_BY_CONNECTORS.contains(&name)
    }

    fn flow(
        &mut self,
        source: &RuleSource,
        flow: Spanned<FlowTable>,
        direction: Direction,
        reads: &[String],
    ) -> Option<Flow> {
        let at = flow.span().start;
        let table = flow.into_inner();
        let take = match (table.single, table.first) {
            (true, true) => {
                self.say(source, at, "a flow is either `single` or `first`");
                return None;
            }
            (true, false) => Take::Single,
            (false, true) => Take::First,
            (false, false) => Take::All,
        };
        let mut kinds = Vec::new();
        kinds.extend(table.direct.map(|from| FlowKind::Direct { source: from, take }));
        kinds.extend(table.constant.map(|value| FlowKind::Constant { value }));
        let expressions = usize::from(table.expression.is_some());
        if let Some(text) = table.expression {
            kinds.extend(self.expression(source, &text, direction, reads, table.apply_once).map(FlowKind::Expression));
            if kinds.is_empty() {
                return None;
            }
        }
        kinds.extend(table.account_enabled.filter(|on| *on).map(|_| FlowKind::AccountEnabled));
        kinds.extend(table.source_anchor.map(|anchor| FlowKind::SourceAnchor {
            source: anchor.attribute,
            encoding: match anchor.encoding {
                EncodingWord::Text => AnchorEncoding::Text,
                EncodingWord::Binary => AnchorEncoding::Binary,
            },
        }));
        kinds.extend(table.reference.map(|from| FlowKind::Reference { source: from }));
        let kind = match (kinds.len().max(expressions), kinds.pop()) {
            (1, Some(kind)) => kind,
            _ => {
                let message =
                    "a flow has exactly one of direct, constant, expression, account_enabled, source_anchor, reference";
                self.say(source, at, message);
                return None;
            }
        };
        let inbound_only = matches!(kind, FlowKind::AccountEnabled | FlowKind::SourceAnchor { .. });
        if inbound_only && direction == Direction::Outbound {
            self.say(source, at, "account_enabled and source_anchor are flows of inbound rules");
            return None;
        }
        if matches!(kind, FlowKind::Reference { .. }) && (table.apply_once || table.merge != Merge::Update) {
            self.say(source, at, "a reference flow carries all links: it takes neither apply_once nor merge");
            return None;
        }
        if table.apply_once && table.merge != Merge::Update {
            self.say(source, at, "a flow is either applied once or merged");
            return None;
        }
        Some(Flow { target: table.target, kind, apply_once: table.apply_once, merge: table.merge })
    }

    fn expression(
        &mut self,
        source: &RuleSource,
        text: &Spanned<String>,
        direction: Direction,
        reads: &[String],
        apply_once: bool,
    ) -> Option<Formula> {
        let at = text.span().start;
        let expression = match Expression::compile(text.get_ref()) {
            Ok(expression) => expression,
            Err(error) => {
                let place = source.within_string(text.span(), text.get_ref(), error.line, error.column);
                self.say(source, place, error.cause);
                return None;
            }
        };
        let before = self.faults.len();
        let unknown: Vec<String> =
            expression.parameters().filter(|name| !self.knows_parameter(name)).map(unknown_parameter).collect();
        for message in unknown {
            self.say(source, at, message);
        }
        if expression.is_apply_once_only() && !apply_once {
            self.say(
                source,
                at,
                "`Guid` and `RandomNum` would change with every run: the flow needs apply_once = true",
            );
        }
        let counted: BTreeSet<&str> = match direction {
            Direction::Inbound => expression.merely_counted_attributes().collect(),
            Direction::Outbound => BTreeSet::new(),
        };
        for name in expression.attributes() {
            let attribute = Attribute::from(&**name);
            if self.holds_links(direction, reads, &attribute) && !counted.contains(&**name) {
                let message = format!(
                    "`{name}` holds references: inbound expressions count them with ValueCount, and a `reference` flow \
                     carries them"
                );
                self.say(source, at, message);
            }
            if direction == Direction::Inbound && name.eq_ignore_ascii_case("dn") {
                let message = format!("`{name}` is not kept with an object: `[{RDN}]` is its relative name");
                self.say(source, at, message);
            }
        }
        let links = |name: &Attribute| self.holds_links(direction, reads, name);
        (self.faults.len() == before).then(|| Formula::new(expression, &self.syntaxes, links))
    }

    /// All flows to one attribute come together in one way (reference, section 2.4).
    fn merges(&mut self, rules: &[Rule]) {
        let mut first: BTreeMap<(Direction, &str, &Attribute), (Merge, &str)> = BTreeMap::new();
        for rule in rules.iter().filter(|rule| !rule.disabled) {
            for flow in &rule.flows {
                let of = match rule.direction {
                    Direction::Inbound => rule.metaverse_type.as_str(),
                    Direction::Outbound => rule.space_type.as_str(),
                };
                let (merge, other) =
                    first.entry((rule.direction, of, &flow.target)).or_insert((flow.merge, &rule.name));
                if *merge != flow.merge
                    && let Some(place) = self.places.get(&(rule.name.clone(), flow.target.clone()))
                {
                    let message = format!("`{}` is merged in another way by rule `{other}`", flow.target);
                    self.faults.push(RuleFileError { message, ..place.clone() });
                }
            }
        }
    }
}

impl RuleTable {
    /// The object types that the rule reads.
    fn reads(&self) -> &[String] {
        match self.direction {
            Direction::Inbound => self.space_type.names(),
            Direction::Outbound => std::slice::from_ref(self.metaverse_type.get_ref()),
        }
    }
}

fn unknown_parameter(name: &str) -> String {
    format!(
        "there is no parameter `%{name}%`: set it under [parameters], or use one of {}",
        TOLD_BY_CONNECTORS.join(", ")
    )
}
