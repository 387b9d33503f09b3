//! What Active Directory tells about a refused bind in the diagnostic text of result 49.
//!
//! `80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data 52e, v1db1`: only `data` counts, the
//! DSID differs between versions. 530-533, 701 and 773 appear only when the password was right; 775 always.

/// The sub-code of a refused bind: a Win32 error in hexadecimal (winerror.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdSubCode {
    /// 525
    NoSuchUser,
    /// 52e
    LogonFailure,
    /// 52f
    AccountRestriction,
    /// 530
    InvalidLogonHours,
    /// 531
    InvalidWorkstation,
    /// 532
    PasswordExpired,
    /// 533
    AccountDisabled,
    /// 568
    TooManyContextIds,
    /// 701
    AccountExpired,
    /// 773
    PasswordMustChange,
    /// 775
    AccountLockedOut,
    Unknown(u32),
}

impl AdSubCode {
    /// The sub-code in a diagnostic text; `None` when there is none, as in every other directory's.
    pub fn parse(diagnostic: &str) -> Option<Self> {
        diagnostic.match_indices("data ").find_map(|(at, marker)| {
            let preceded_by_word = diagnostic[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
            let rest = &diagnostic[at + marker.len()..];
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_hexdigit()).len();
            let ends = rest[digits..].chars().next().is_none_or(|c| !c.is_ascii_alphanumeric());
            if preceded_by_word || digits == 0 || digits > 8 || !ends {
                return None;
            }
            u32::from_str_radix(&rest[..digits], 16).ok().map(Self::from_code)
        })
    }

    const fn from_code(code: u32) -> Self {
        match code {
            0x525 => Self::NoSuchUser,
            0x52e => Self::LogonFailure,
            0x52f => Self::AccountRestriction,
            0x530 => Self::InvalidLogonHours,
            0x531 => Self::InvalidWorkstation,
            0x532 => Self::PasswordExpired,
            0x533 => Self::AccountDisabled,
            0x568 => Self::TooManyContextIds,
            0x701 => Self::AccountExpired,
            0x773 => Self::PasswordMustChange,
            0x775 => Self::AccountLockedOut,
            other => Self::Unknown(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(data: &str) -> String {
        format!("80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data {data}, v1db1")
    }

    #[test]
    fn each_sub_code_is_read_from_its_text() {
        let rows = [
            ("525", AdSubCode::NoSuchUser),
            ("52e", AdSubCode::LogonFailure),
            ("52E", AdSubCode::LogonFailure),
            ("52f", AdSubCode::AccountRestriction),
            ("530", AdSubCode::InvalidLogonHours),
            ("531", AdSubCode::InvalidWorkstation),
            ("532", AdSubCode::PasswordExpired),
            ("533", AdSubCode::AccountDisabled),
            ("568", AdSubCode::TooManyContextIds),
            ("701", AdSubCode::AccountExpired),
            ("773", AdSubCode::PasswordMustChange),
            ("775", AdSubCode::AccountLockedOut),
            ("9a9", AdSubCode::Unknown(0x9a9)),
        ];
        for (data, code) in rows {
            assert_eq!(AdSubCode::parse(&text(data)), Some(code), "{data}");
        }
        assert_eq!(AdSubCode::parse("... data 775"), Some(AdSubCode::AccountLockedOut));
    }

    #[test]
    fn other_texts_have_no_sub_code() {
        for diagnostic in
            ["", "Invalid credentials", "data", "data ", "data xyz", "metadata 52e", "data 123456789", "data 52ez"]
        {
            assert_eq!(AdSubCode::parse(diagnostic), None, "{diagnostic}");
        }
    }
}
