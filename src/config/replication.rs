//! `replication_*` of a connector: password hashes by replication (MS-DRSR).

use crate::identity::DistinguishedName;

use super::connector::Dialect;
use super::reader::Table;
use super::words::setting_words;

setting_words! {
    /// How the account that replicates hashes signs in.
    ReplicationSignIn {
        Ntlm = "ntlm",
        Kerberos = "kerberos",
    } "ntlm, kerberos"
}

/// Hashes are read from Active Directory by replication, from the servers of the connector and with its password.
#[derive(Clone, Debug)]
pub struct ReplicationSettings {
    /// The account's domain: NetBIOS or DNS name for NTLM, DNS name for Kerberos.
    pub domain: String,
    /// The account's sAMAccountName.
    pub account: String,
    pub sign_in: ReplicationSignIn,
    /// The domain whose hashes are read.
    pub naming_context: DistinguishedName,
}

impl ReplicationSettings {
    /// `None` when `replication_account` is absent.
    pub(super) fn read(table: &Table<'_>, dialect: Option<Dialect>, bases: &[DistinguishedName]) -> Option<Self> {
        let account = table.text("replication_account").map(|text| text.into_owned());
        let domain = table.text("replication_domain").map(|text| text.into_owned());
        let sign_in = table.parsed("replication_sign_in", "write ntlm or kerberos").unwrap_or(ReplicationSignIn::Ntlm);
        let naming_context =
            table.parsed("replication_context", "give the DN of the domain, such as DC=corp,DC=example");
        let account = account?;
        if dialect.is_some_and(|dialect| dialect != Dialect::ActiveDirectory) {
            table.complain(
                "replication_account",
                "only Active Directory replicates hashes",
                "remove it, or write dialect = \"ad\"",
            );
        }
        let anchor = table.text("anchor_attribute");
        if anchor.is_some_and(|anchor| !anchor.eq_ignore_ascii_case("objectGUID")) {
            table.complain("anchor_attribute", "replication names accounts by objectGUID", "remove it");
        }
        if domain.is_none() {
            table.complain("replication_domain", "the account's domain is missing", "give its NetBIOS or DNS name");
        }
        let naming_context = naming_context.or_else(|| bases.first().and_then(domain_of));
        if naming_context.is_none() {
            table.complain("replication_context", "the bases do not tell the domain", "give its DN");
        }
        Some(Self { domain: domain?, account, sign_in, naming_context: naming_context? })
    }
}

/// The ancestor of a name, or the name itself, that consists of `DC` parts.
fn domain_of(name: &DistinguishedName) -> Option<DistinguishedName> {
    let is_dc = |name: &DistinguishedName| {
        name.rdn().is_some_and(|rdn| rdn.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("dc=")))
    };
    std::iter::successors(Some(name.clone()), DistinguishedName::parent).find(is_dc)
}
