//! Hashes that an agent reads, looked up in its own list of leaked passwords: the gateway, which cannot do so, is told what
//! was found. A directory that does not tell what changed shows all of them in every pass, so what the list said is kept.

use crate::credential::{LeakedList, LeakedListError, RecalledList};
use crate::password_sync::{Leak, Looked, SourcePage};

pub struct ListedPasswords(RecalledList);

impl ListedPasswords {
    pub fn new(list: LeakedList) -> Self {
        Self(RecalledList::new(list))
    }

    /// Looks up the hashes of a page. Reads the disk.
    pub fn look(&self, page: &mut SourcePage) {
        page.looked = match self.look_into(page) {
            Ok(()) => Looked::Yes,
            Err(error) => Looked::Failed(error.told()),
        };
    }

    /// What was found before an error stays.
    fn look_into(&self, page: &mut SourcePage) -> Result<(), LeakedListError> {
        let mut list = self.0.open()?;
        for account in &mut page.accounts {
            let Some(hash) = account.passwords.nt_hash() else { continue };
            account.leak = list.find(&hash)?.map_or(Leak::NotListed, Leak::Listed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::credential::LeakClass;
    use crate::identity::{AccountState, SourceAnchor, Timestamp};
    use crate::password_sync::{PasswordTime, PasswordValues, Passwords, SourceAccount, SourceVersion};

    const LISTED: &str = "92937945B518814341DE3F726500D4FF";
    const OTHER: &str = "0123456789ABCDEF0123456789ABCDEF";

    fn page(accounts: &[(&str, &str)]) -> SourcePage {
        let account = |(attribute, value): &(&str, &str)| SourceAccount {
            anchor: SourceAnchor::from_stored((*value).to_owned()),
            version: SourceVersion::default(),
            state: Ok(AccountState::unrestricted()),
            passwords: Passwords::Read(vec![PasswordValues {
                attribute: (*attribute).to_owned(),
                values: vec![Zeroizing::new(value.as_bytes().to_vec())],
            }]),
            written: None,
            password_time: PasswordTime::OfState,
            leak: Leak::NotLookedFor,
        };
        let accounts = accounts.iter().map(account).collect();
        SourcePage { accounts, ..SourcePage::empty(Timestamp::from_secs(1)) }
    }

    fn looked(listed: &ListedPasswords) -> (Looked, Vec<Leak>) {
        let mut page = page(&[("unicodePwd", LISTED), ("sambaNTPassword", OTHER), ("userPassword", "{SSHA}none")]);
        listed.look(&mut page);
        (page.looked, page.accounts.iter().map(|account| account.leak).collect())
    }

    #[test]
    fn each_account_says_what_the_list_says_of_its_hash_or_the_page_why_nothing_is_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ntlm.txt");
        let listed = ListedPasswords::new(LeakedList::new(file.clone()));
        let (Looked::Failed(reason), leaks) = looked(&listed) else { panic!("there is no file") };
        assert!(reason.contains("cannot be read") && reason.contains("correct its path"), "{reason}");
        assert_eq!(leaks, [Leak::NotLookedFor; 3]);

        std::fs::write(&file, format!("{LISTED}:7\n")).expect("a file");
        let expected = (Looked::Yes, vec![Leak::Listed(LeakClass::BelowTen), Leak::NotListed, Leak::NotLookedFor]);
        assert_eq!(looked(&listed), expected);

        std::fs::write(&file, format!("{OTHER}:1\n{LISTED}:1000\n")).expect("a file");
        let expected = vec![Leak::Listed(LeakClass::Thousands), Leak::Listed(LeakClass::Once), Leak::NotLookedFor];
        assert_eq!(looked(&listed), (Looked::Yes, expected));

        std::fs::write(&file, "none\n").expect("a file");
        let (Looked::Failed(reason), leaks) = looked(&listed) else { panic!("it is no list") };
        assert!(reason.contains("32 hexadecimal digits") && leaks == [Leak::NotLookedFor; 3], "{reason}");
    }
}
