//! Commands that grant rights, as an administrator types them.

use drsr::{ReplicationRight, SecurityId};
use uuid::Uuid;

use crate::identity::DistinguishedName;

/// Whose tools the domain has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    Windows,
    Samba,
}

/// The account that rights are granted to.
#[derive(Clone, Debug)]
pub struct Grantee {
    /// `name@domain`, as it is known without any attribute being set.
    pub name: String,
    pub sid: SecurityId,
}

/// The class `user` by its schemaIDGUID (MS-ADSC).
const USER_CLASS: &str = "bf967aba-0de6-11d0-a285-00aa003049e2";

impl Make {
    pub fn of(vendor: &str) -> Self {
        if vendor.to_ascii_lowercase().contains("samba") { Self::Samba } else { Self::Windows }
    }

    /// Grants a right to replicate.
    pub fn replicate(self, to: &Grantee, domain: &DistinguishedName, right: ReplicationRight) -> Vec<String> {
        vec![match self {
            Self::Windows => format!("dsacls \"{domain}\" /G \"{}:CA;{right}\"", to.name),
            Self::Samba => {
                let ace = format!("(OA;;CR;{};;{})", right.guid(), to.sid);
                format!("samba-tool dsacl set --objectdn=\"{domain}\" --sddl=\"{ace}\"")
            }
        }]
    }

    /// Grants reading deleted objects.
    pub fn read_deleted(self, to: &Grantee, domain: &DistinguishedName) -> Vec<String> {
        let container = format!("CN=Deleted Objects,{domain}");
        match self {
            Self::Windows => vec![
                format!("dsacls \"{container}\" /takeownership"),
                format!("dsacls \"{container}\" /G \"{}:LCRP\"", to.name),
            ],
            // samba-tool does not see this object. On the controller itself, with the package ldb-tools.
            Self::Samba => {
                let tool = "-H /var/lib/samba/private/sam.ldb --controls=show_deleted:1";
                vec![
                    format!(
                        "sd=$(ldbsearch {tool} -b \"{container}\" -s base nTSecurityDescriptor | sed -e ':a;N;$!ba;s/\\n //g' \
                         | sed -n 's/^nTSecurityDescriptor: //p')"
                    ),
                    format!(
                        "printf 'dn: %s\\nchangetype: modify\\nreplace: nTSecurityDescriptor\\nnTSecurityDescriptor: %s\\n' \
                         \"{container}\" \"${{sd/S:/(A;CI;LCRP;;;{})S:}}\" | ldbmodify {tool}",
                        to.sid
                    ),
                ]
            }
        }
    }

    /// Grants writing one attribute of the users below a container.
    pub fn write(
        self,
        to: &Grantee,
        base: &DistinguishedName,
        attribute: &str,
        schema_id: Option<Uuid>,
    ) -> Vec<String> {
        vec![match (self, schema_id) {
            (Self::Samba, Some(id)) => {
                let ace = format!("(OA;CIIO;RPWP;{id};{USER_CLASS};{})", to.sid);
                format!("samba-tool dsacl set --objectdn=\"{base}\" --sddl=\"{ace}\"")
            }
            _ => format!("dsacls \"{base}\" /I:S /G \"{}:RPWP;{attribute};user\"", to.name),
        }]
    }
}
