//! The rules that come with the product, as an installation has them in its folders `rules` and `rules-options`.

use super::file::RuleSource;

macro_rules! files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../config/", $folder, "/", $name)))),*]
    };
}

const RULES: [(&str, &str); 8] = files!("rules":
    "100-ldap.toml", "110-ldap-common.toml", "120-ad-users.toml", "130-ad-groups.toml", "140-ad-contacts-computers.toml",
    "200-tenant.toml", "210-tenant-common.toml", "220-tenant-contacts-devices.toml",
);

const OPTIONS: [(&str, &str); 7] = files!("rules-options":
    "anchor-in-consistency-guid.toml", "join-by-account-name.toml", "join-by-attribute.toml", "join-by-mail.toml",
    "join-once.toml", "member-limit.toml", "tenant-facts.toml",
);

/// The rules that apply unless an operator says otherwise.
pub fn rules() -> Vec<RuleSource> {
    sources(&RULES)
}

/// Ready-made files, each to be copied beside them for another behaviour.
pub fn options() -> Vec<RuleSource> {
    sources(&OPTIONS)
}

fn sources(files: &[(&str, &str)]) -> Vec<RuleSource> {
    files.iter().map(|(file, text)| RuleSource { file: (*file).to_owned(), text: (*text).to_owned() }).collect()
}
