//! The words of rule files, each with its meaning: what `landbridge rules reference` prints. The tests hold them against
//! what the parser takes, so that no key and no word is missing here, and none is here that the parser does not know.

use serde::Serialize;

/// A table of a rule file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Where it stands.
    pub place: &'static str,
    pub keys: &'static [Key],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    pub name: &'static str,
    /// What kind of value it takes.
    pub value: &'static str,
    pub meaning: &'static str,
}

/// A list of words of which a key takes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Words {
    pub title: &'static str,
    pub words: &'static [Word],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Word {
    pub word: &'static str,
    /// Another spelling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub also: Option<&'static str>,
    pub meaning: &'static str,
}

const fn key(name: &'static str, value: &'static str, meaning: &'static str) -> Key {
    Key { name, value, meaning }
}

const fn word(word: &'static str, meaning: &'static str) -> Word {
    Word { word, also: None, meaning }
}

const FILE: Table = Table {
    place: "At the top of a file",
    keys: &[
        key("disable", "names of rules", "Rules, of any file, that do not apply."),
        key("parameters", "table of texts", "`%name%` in scopes and expressions of all files. Each is set once."),
        key("types", "table of types", "The types of attributes that are not text and that the product does not know."),
        key("rule", "tables", "The rules: `[[rule]]`."),
    ],
};

const RULE: Table = Table {
    place: "`[[rule]]`",
    keys: &[
        key("name", "text, needed", "Unique over all files. Linked objects remember it."),
        key("description", "text", "What the rule is for."),
        key("disabled", "true or false", "The rule does not apply."),
        key("direction", "a direction, needed", "Seen from the metaverse."),
        key(
            "connector",
            "name of a connector",
            "The one connector that the rule is for. Either this or `connector_kind`.",
        ),
        key(
            "connector_kind",
            "kind of connectors",
            "All connectors of a kind, such as `ldap`, `ad`, `sql`, `file`, `tenant`, `scim`, `ldap-target`.",
        ),
        key(
            "space_type",
            "type, or list of types; needed",
            "Object types of the connector space; several in inbound rules alone.",
        ),
        key(
            "metaverse_type",
            "type, needed",
            "Object type of the metaverse. `\"*\"` in an inbound join rule: whatever it joins.",
        ),
        key("link", "a link type, needed", "What becomes of an object without a partner."),
        key("precedence", "number, needed", "Unique. The lower one is stronger. Below 100: your own."),
        key("enable_password_sync", "true or false", "Inbound: the password of an account in scope may flow."),
        key("scope", "groups of clauses", "Any group, and in it all clauses. Absent: every object of the type."),
        key(
            "join",
            "groups of clauses",
            "Tried in order; the first that finds exactly one partner wins. An outbound rule has one group at most.",
        ),
        key("flow", "tables", "What flows: `[[rule.flow]]`. One flow for each target in a rule."),
    ],
};

const CLAUSE: Table = Table {
    place: "A clause of `scope`",
    keys: &[
        key("attribute", "attribute", "Of the object that the rule reads. Not with operators that ask for a group."),
        key("operator", "an operator, needed", "How it is compared."),
        key("value", "text", "What it is compared with, or a `%parameter%`. Not with `ISNULL` and `ISNOTNULL`."),
    ],
};

const JOIN: Table = Table {
    place: "A clause of `join`",
    keys: &[
        key("space", "attribute, needed", "In the connector space."),
        key("metaverse", "attribute, needed", "In the metaverse."),
        key("case_sensitive", "true or false", "Values that differ in case are two. Else they are one."),
    ],
};

const FLOW: Table = Table {
    place: "`[[rule.flow]]`",
    keys: &[
        key(
            "target",
            "attribute, needed",
            "What is written. Beside it stands exactly one of the six sources that follow.",
        ),
        key("direct", "attribute", "Its values as they are."),
        key("constant", "text", "Always this."),
        key("expression", "expression", "What it makes of the object."),
        key("reference", "attribute", "Links, one by one. Takes neither `apply_once` nor `merge`."),
        key("account_enabled", "true", "Inbound: TRUE or FALSE by the connector's tests for a disabled account."),
        key("source_anchor", "table", "Inbound: the source anchor, held to its rules."),
        key("single", "true or false", "With `direct`: several values are an error of the object."),
        key("first", "true or false", "With `direct`: the first of several values in sorted order."),
        key("apply_once", "true or false", "Only when the target object is created, such as an initial password."),
        key(
            "merge",
            "a merge type",
            "How the values of several rules for one attribute come together. All rules for it say the same.",
        ),
    ],
};

const ANCHOR: Table = Table {
    place: "`source_anchor`",
    keys: &[
        key("attribute", "attribute, needed", "Of the connector space, with one value."),
        key("encoding", "an encoding, needed", "What its value is."),
    ],
};

/// Every table of a rule file with every key.
pub const TABLES: [Table; 6] = [FILE, RULE, CLAUSE, JOIN, FLOW, ANCHOR];

const DIRECTIONS: Words = Words {
    title: "Directions",
    words: &[
        word("inbound", "From a connector space to the metaverse."),
        word("outbound", "From the metaverse to a connector space."),
    ],
};

const LINKS: Words = Words {
    title: "Link types",
    words: &[
        word(
            "provision",
            "Creates the partner when no join finds one; inbound this projects, and keeps the metaverse object alive. What an outbound one made is deleted when its object leaves the scope.",
        ),
        word(
            "join",
            "Joins what exists. Without a `join` it links nothing, and adds flows to what other rules linked.",
        ),
        word("sticky-join", "Inbound: joins what exists, and keeps the metaverse object alive as `provision` does."),
    ],
};

const MERGES: Words = Words {
    title: "Merge types",
    words: &[
        Word {
            word: "update",
            also: Some("replace"),
            meaning: "The strongest rule with a value gives the whole attribute. This is so where nothing is said.",
        },
        word("merge", "All rules give their values; a target keeps its own."),
        word("merge-case-insensitive", "The same, where values that differ in case are one."),
    ],
};

const ENCODINGS: Words = Words {
    title: "Encodings of a source anchor",
    words: &[word("text", "The value as it is."), word("binary", "Base64 of the bytes, as for `objectGUID`.")],
};

const TYPES: Words = Words {
    title: "Types of attributes",
    words: &[
        word("text", "Everything that nothing else is said of."),
        word("integer", "Whole numbers of 64 bits."),
        word("boolean", "`TRUE` and `FALSE`, whatever the case."),
    ],
};

const OPERATORS: Words = Words {
    title: "Operators of a scope",
    words: &[
        word("EQUAL", "A value is the same text."),
        word("NOTEQUAL", "No value is."),
        word("LESSTHAN", "As numbers where both sides are, as text otherwise."),
        word("LESSTHAN_OR_EQUAL", "The same."),
        word("GREATERTHAN", "The same."),
        word("GREATERTHAN_OR_EQUAL", "The same."),
        word("CONTAINS", "A value holds the text."),
        word("NOTCONTAINS", "No value does."),
        word("STARTSWITH", "A value begins with the text."),
        word("NOTSTARTSWITH", "No value does."),
        word("ENDSWITH", "A value ends with the text."),
        word("NOTENDSWITH", "No value does."),
        word("ISNULL", "There is no value. Takes no `value`."),
        word("ISNOTNULL", "There is one. Takes no `value`."),
        word("ISIN", "One of several values is the same text."),
        word("ISNOTIN", "None is."),
        word("ISBITSET", "The number has the bit. The `value` is its weight, such as 2, not its place."),
        Word { word: "ISNOTBITSET", also: Some("ISBITNOTSET"), meaning: "It has not." },
        word("ISMEMBEROF", "Inbound: a direct member of the group whose DN is the `value`; takes no `attribute`."),
        word("ISNOTMEMBEROF", "Inbound: none."),
    ],
};

/// Every list of words.
pub const WORDS: [Words; 6] = [DIRECTIONS, LINKS, MERGES, ENCODINGS, TYPES, OPERATORS];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::de::DeserializeOwned;

    use super::super::file::{AnchorTable, ClauseOfJoin, ClauseTable, EncodingWord, File, FlowTable, RuleTable};
    use super::super::{Direction, LinkType, Merge, Operator, Syntax};
    use super::*;

    /// What a type takes in the place of what it does not know.
    fn taken<T: DeserializeOwned>(text: &str) -> BTreeSet<String> {
        #[derive(serde::Deserialize)]
        struct Of<T> {
            #[expect(dead_code, reason = "it is never read, since it cannot be made")]
            of: T,
        }
        let Err(error) = toml::from_str::<Of<T>>(text) else { panic!("`{text}` is taken") };
        let (_, expected) = error.message().split_once("expected").unwrap_or_else(|| panic!("{error}"));
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn every_key_of_a_rule_file_has_its_meaning() {
        let unknown = "of = { nonsense = 1 }";
        for (table, taken) in [
            (FILE, taken::<File>(unknown)),
            (RULE, taken::<RuleTable>(unknown)),
            (CLAUSE, taken::<ClauseTable>(unknown)),
            (JOIN, taken::<ClauseOfJoin>(unknown)),
            (FLOW, taken::<FlowTable>(unknown)),
            (ANCHOR, taken::<AnchorTable>(unknown)),
        ] {
            let told: BTreeSet<String> = table.keys.iter().map(|key| key.name.to_owned()).collect();
            assert_eq!(told, taken, "{}", table.place);
        }
    }

    #[test]
    fn every_word_of_a_rule_file_has_its_meaning() {
        let unknown = "of = \"nonsense\"";
        for (words, taken) in [
            (DIRECTIONS, taken::<Direction>(unknown)),
            (LINKS, taken::<LinkType>(unknown)),
            (MERGES, taken::<Merge>(unknown)),
            (ENCODINGS, taken::<EncodingWord>(unknown)),
            (TYPES, taken::<Syntax>(unknown)),
            (OPERATORS, taken::<Operator>(unknown)),
        ] {
            let told: BTreeSet<String> = words.words.iter().map(|word| word.word.to_owned()).collect();
            let spellings = words.words.iter().filter_map(|word| word.also).map(str::to_owned);
            let all: BTreeSet<String> = told.iter().cloned().chain(spellings).collect();
            assert!(told.is_subset(&taken) && taken.is_subset(&all), "{}: {taken:?}", words.title);
        }
    }
}
