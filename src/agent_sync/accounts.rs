//! Accounts for the password channel on their way from an agent: what a directory shows of them, sealed.
//!
//! An agent's own `password_sync` source reads the directory. NT hashes become PPH1 there and leave in no other form; a
//! password in the clear does not leave at all. A page of accounts is sealed (HPKE) to a key that the gateway made for this
//! one read, bound to its request, agent, connector and number.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::words::reason;
use crate::credential::LeakClass;
use crate::identity::{AccountState, SourceAnchor, Timestamp, shown};
use crate::password_sync::account_state::StateFault;
use crate::password_sync::ad_source::unreadable_as;
use crate::password_sync::source::{
    Leak, Looked, PasswordTime, PasswordValues, Passwords, SourceAccount, SourcePage, SourceVersion, is_nt_hash,
};
use crate::password_sync::write_stamp::WriteStamp;

/// A page as it is sealed.
#[derive(Serialize, Deserialize)]
pub struct Page {
    server: String,
    sole_server: bool,
    restored: bool,
    read_at: Timestamp,
    /// Not told by agents of the former release.
    #[serde(default)]
    looked: LookedThere,
    accounts: Vec<Account>,
}

/// Whether the agent looked for leaked passwords.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LookedThere {
    #[default]
    No,
    Yes,
    Failed(String),
}

/// What its list says of a password.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Found {
    NotListed,
    /// How often the password was met: the code of a class.
    Listed(String),
}

#[derive(Serialize, Deserialize)]
struct Account {
    anchor: String,
    version: String,
    state: State,
    passwords: Told,
    written: Option<String>,
    password_time: Option<Set>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leak: Option<Found>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Read(AccountState),
    /// Of which attribute.
    Fault(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Told {
    Read(Vec<Values>),
    Unchanged,
    /// Why.
    Unreadable(String),
}

/// When the password was set, as was told with it.
#[derive(Serialize, Deserialize)]
struct Set(Option<Timestamp>);

#[derive(Serialize, Deserialize)]
struct Values {
    attribute: String,
    /// In hexadecimal digits.
    values: Vec<String>,
}

impl Drop for Values {
    fn drop(&mut self) {
        self.values.zeroize();
    }
}

/// What the gateway itself knows of a page that an agent tells.
///
/// INVARIANT: nothing that an agent says makes what others say later count as old.
#[derive(Clone, Copy, Debug)]
pub struct Belief {
    /// By the gateway's clock.
    pub now: Timestamp,
    /// No other agent is enrolled for the connector, so that none may reach other servers of its directory.
    pub is_alone: bool,
}

/// The clock of a directory may be ahead by so much, as Kerberos allows.
const SKEW: Duration = Duration::from_secs(300);
/// Characters of the name of a server or of an attribute.
const LONGEST_NAME: usize = 200;

/// What came is no page of accounts.
#[derive(Debug, thiserror::Error)]
pub enum NotAPage {
    #[error("a page of accounts is not understood: column {0}")]
    Form(usize),
    #[error("a page of accounts has a value that is none: {0}")]
    Value(&'static str),
}

impl Page {
    /// What leaves the agent of a page that it read.
    #[cfg(feature = "agent")]
    pub fn of(page: SourcePage, salts: &super::salts::Salts) -> Self {
        let SourcePage { server, sole_server, restored, read_at, looked, accounts } = page;
        let looked = match looked {
            Looked::No => LookedThere::No,
            Looked::Yes => LookedThere::Yes,
            Looked::Failed(reason) => LookedThere::Failed(reason),
        };
        let accounts = accounts.into_iter().map(|account| Account::of(account, salts)).collect();
        Self { server, sole_server, restored, read_at, looked, accounts }
    }

    pub fn written(&self) -> Zeroizing<Vec<u8>> {
        let text =
            serde_json::to_vec(self).expect("the names of all maps are texts, and no value refuses to be written");
        Zeroizing::new(text)
    }

    /// What came from an agent, as far as it can be believed.
    pub fn read(text: &[u8], belief: Belief) -> Result<SourcePage, NotAPage> {
        let page: Self = serde_json::from_slice(text).map_err(|error| NotAPage::Form(error.column()))?;
        let Self { server, sole_server, restored, read_at, looked, accounts } = page;
        let latest = belief.now + SKEW;
        let accounts = accounts.into_iter().map(|account| account.into_source(latest)).collect::<Result<_, _>>()?;
        Ok(SourcePage {
            server: shown(&server, LONGEST_NAME),
            sole_server: sole_server && belief.is_alone,
            restored,
            read_at: read_at.min(belief.now),
            looked: match looked {
                LookedThere::No => Looked::No,
                LookedThere::Yes => Looked::Yes,
                LookedThere::Failed(told) => Looked::Failed(reason(&told)),
            },
            accounts,
        })
    }
}

impl Account {
    #[cfg(feature = "agent")]
    fn of(account: SourceAccount, salts: &super::salts::Salts) -> Self {
        let SourceAccount { anchor, version, state, passwords, written, password_time, leak } = account;
        let passwords = match passwords {
            Passwords::Read(passwords) => {
                let told = passwords.into_iter().map(|values| Values::of(salts.wrapped(&anchor, values)));
                Told::Read(told.collect())
            }
            Passwords::Unchanged => Told::Unchanged,
            Passwords::Unreadable(reason) => Told::Unreadable(reason.to_string()),
        };
        Self {
            anchor: anchor.as_str().to_owned(),
            version: version.as_str().to_owned(),
            state: match state {
                Ok(state) => State::Read(state),
                Err(fault) => State::Fault(fault.attribute.to_owned()),
            },
            passwords,
            written: written.map(|stamp| stamp.to_string()),
            password_time: match password_time {
                PasswordTime::OfState => None,
                PasswordTime::Told(told) => Some(Set(told)),
            },
            leak: match leak {
                Leak::NotLookedFor => None,
                Leak::NotListed => Some(Found::NotListed),
                Leak::Listed(class) => Some(Found::Listed(class.code().to_owned())),
            },
        }
    }

    fn into_source(self, latest: Timestamp) -> Result<SourceAccount, NotAPage> {
        let Self { anchor, version, state, passwords, written, password_time, leak } = self;
        if anchor.is_empty() {
            return Err(NotAPage::Value("an empty anchor"));
        }
        // A password that is set in the future is not known to be set at any time.
        let was = |set: &Timestamp| *set <= latest;
        Ok(SourceAccount {
            anchor: SourceAnchor::from_stored(anchor),
            version: SourceVersion::new(version)
                .no_later_than(latest)
                .ok_or(NotAPage::Value("the version of an account"))?,
            state: match state {
                State::Read(state) => Ok(AccountState { password_set: state.password_set.filter(was), ..state }),
                State::Fault(attribute) => Err(StateFault::named(&attribute)),
            },
            passwords: match passwords {
                Told::Read(values) => Passwords::Read(values.iter().map(Values::read).collect::<Result<_, _>>()?),
                Told::Unchanged => Passwords::Unchanged,
                Told::Unreadable(reason) => Passwords::Unreadable(unreadable_as(&reason)),
            },
            written: match written {
                None => None,
                Some(text) => {
                    let stamp: WriteStamp = text.parse().map_err(|_| NotAPage::Value("the stamp of a write"))?;
                    stamp.is_plausible(latest).then_some(stamp)
                }
            },
            password_time: match password_time {
                None => PasswordTime::OfState,
                Some(Set(told)) => PasswordTime::Told(told.filter(was)),
            },
            leak: match leak {
                None => Leak::NotLookedFor,
                Some(Found::NotListed) => Leak::NotListed,
                Some(Found::Listed(code)) => LeakClass::from_code(&code)
                    .map(Leak::Listed)
                    .ok_or(NotAPage::Value("how often a password was met in leaks"))?,
            },
        })
    }
}

impl Values {
    #[cfg(feature = "agent")]
    fn of(values: PasswordValues) -> Self {
        Self { attribute: values.attribute, values: values.values.iter().map(hex::encode).collect() }
    }

    fn read(&self) -> Result<PasswordValues, NotAPage> {
        // INVARIANT: a raw NT hash is taken from no agent, so that none is worth sending.
        if is_nt_hash(&self.attribute) {
            return Err(NotAPage::Value("a password hash that is not wrapped"));
        }
        if shown(&self.attribute, LONGEST_NAME) != self.attribute {
            return Err(NotAPage::Value("the name of an attribute"));
        }
        let value =
            |digits: &String| hex::decode(digits).map(Zeroizing::new).map_err(|_| NotAPage::Value("a password"));
        let values = self.values.iter().map(value).collect::<Result<_, _>>()?;
        Ok(PasswordValues { attribute: self.attribute.clone(), values })
    }
}
