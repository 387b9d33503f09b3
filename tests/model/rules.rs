//! The rules of a history: a few decisions, told to the engine as a rule file.

use landbridge::sync::rule::RuleSource;

/// What an administrator may change between runs. [`super::reference`] reads the same decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Accounts with the employee type `robot` are out of scope.
    pub robots_stay_out: bool,
    /// Groups described as `hidden` are out of scope.
    pub hidden_stay_out: bool,
    /// People of the department `secret` stay in the metaverse.
    pub secret_stay_in: bool,
    /// The personnel database wins over the directories.
    pub hr_first: bool,
    /// People who left, as the personnel database says, are not exported.
    pub leavers_go: bool,
    /// The personnel database tells who manages whom.
    pub hr_manages: bool,
    /// Telephone numbers of all sources come together.
    pub phones_merge: bool,
    /// The display name carries the title, where there is one.
    pub titled_names: bool,
    /// Sellers have no mobile number.
    pub mobile_withheld: bool,
    pub passwords: bool,
    /// The target learns of managers.
    pub managers_known: bool,
}

/// Decisions that random histories turn round; stories turn the others too.
pub const COUNT: u8 = 10;

impl Rules {
    pub const FIRST: Self = Self {
        robots_stay_out: true,
        hidden_stay_out: true,
        secret_stay_in: true,
        hr_first: false,
        leavers_go: true,
        hr_manages: true,
        phones_merge: true,
        titled_names: false,
        mobile_withheld: false,
        passwords: true,
        managers_known: true,
    };

    /// The same with one decision turned round.
    pub fn turned(mut self, decision: u8) -> Self {
        let decisions = [
            &mut self.robots_stay_out,
            &mut self.hidden_stay_out,
            &mut self.secret_stay_in,
            &mut self.hr_first,
            &mut self.leavers_go,
            &mut self.hr_manages,
            &mut self.phones_merge,
            &mut self.titled_names,
            &mut self.mobile_withheld,
            &mut self.passwords,
            &mut self.managers_known,
        ];
        if let Some(decision) = decisions.into_iter().nth(usize::from(decision)) {
            *decision = !*decision;
        }
        self
    }

    pub fn sources(&self) -> Vec<RuleSource> {
        let on = |decision: bool, text: &'static str| if decision { text } else { "" };
        let merge = on(self.phones_merge, "\nmerge = \"merge\"");
        let hr = if self.hr_first { 90 } else { 120 };
        let mut text = String::new();
        let mut rule = |head: &str, name: &str, precedence: u32, flows: &str| {
            text += &format!("[[rule]]\nname = \"{name}\"\nprecedence = {precedence}\n{head}\n{flows}\n");
        };
        let direct = |names: &[&str]| -> String {
            names.iter().map(|name| format!("[[rule.flow]]\ntarget = \"{name}\"\ndirect = \"{name}\"\n")).collect()
        };
        let user =
            "direction = \"inbound\"\nconnector_kind = \"ldap\"\nspace_type = \"user\"\nmetaverse_type = \"user\"\n";
        let group =
            "direction = \"inbound\"\nconnector_kind = \"ldap\"\nspace_type = \"group\"\nmetaverse_type = \"group\"\n";
        let person =
            "direction = \"inbound\"\nconnector = \"hr\"\nspace_type = \"person\"\nmetaverse_type = \"user\"\n";
        let anchored = "join = [[{ space = \"entryUUID\", metaverse = \"sourceAnchor\", case_sensitive = true }]]\n";
        let anchor = "[[rule.flow]]\ntarget = \"sourceAnchor\"\n\
                      source_anchor = { attribute = \"entryUUID\", encoding = \"text\" }\n";
        let password = on(self.passwords, "enable_password_sync = true\n");
        let scope = on(
            self.robots_stay_out,
            "scope = [[{ attribute = \"employeeType\", operator = \"NOTEQUAL\", value = \"robot\" }]]\n",
        );
        rule(
            &format!("{user}link = \"provision\"\n{password}{scope}{anchored}"),
            "Users",
            100,
            &format!(
                "{anchor}[[rule.flow]]\ntarget = \"accountEnabled\"\naccount_enabled = true\n\
                 [[rule.flow]]\ntarget = \"userPrincipalName\"\ndirect = \"mail\"\nsingle = true\n\
                 [[rule.flow]]\ntarget = \"displayName\"\ndirect = \"cn\"\n\
                 [[rule.flow]]\ntarget = \"employeeID\"\ndirect = \"employeeNumber\"\n\
                 [[rule.flow]]\ntarget = \"telephoneNumber\"\ndirect = \"telephoneNumber\"{merge}\n\
                 [[rule.flow]]\ntarget = \"manager\"\nreference = \"manager\"\n{}",
                direct(&["mail", "title", "department", "mobile"])
            ),
        );
        let scope = on(
            self.hidden_stay_out,
            "scope = [[{ attribute = \"description\", operator = \"NOTEQUAL\", value = \"hidden\" }]]\n",
        );
        rule(
            &format!("{group}link = \"provision\"\n{scope}{anchored}"),
            "Groups",
            110,
            &format!(
                "{anchor}[[rule.flow]]\ntarget = \"displayName\"\ndirect = \"cn\"\n\
                 [[rule.flow]]\ntarget = \"member\"\nreference = \"member\"\n"
            ),
        );
        let manages = "[[rule.flow]]\ntarget = \"manager\"\nreference = \"manager\"\n";
        let phones = "[[rule.flow]]\ntarget = \"telephoneNumber\"\ndirect = \"telephoneNumber\"\nmerge = \"merge\"\n";
        rule(
            &format!(
                "{person}link = \"join\"\njoin = [[{{ space = \"employeeNumber\", metaverse = \"employeeID\" }}]]\n"
            ),
            "Personnel",
            hr,
            &format!(
                "{}{}{}",
                direct(&["title", "department", "mobile"]),
                on(self.hr_manages, manages),
                on(self.phones_merge, phones)
            ),
        );
        if self.leavers_go {
            rule(
                &format!(
                    "{person}link = \"join\"\n\
                     scope = [[{{ attribute = \"status\", operator = \"EQUAL\", value = \"left\" }}]]\n"
                ),
                "Leavers",
                80,
                "[[rule.flow]]\ntarget = \"cloudFiltered\"\nconstant = \"True\"\n",
            );
        }
        if self.titled_names {
            rule(
                &format!("{user}link = \"join\"\n"),
                "Titles",
                40,
                "[[rule.flow]]\ntarget = \"displayName\"\nexpression = \
                 'IIF(IsPresent([cn]) && IsPresent([title]), Trim([cn]) & \", \" & Trim([title]), NULL)'\n",
            );
        }
        if self.mobile_withheld {
            rule(
                &format!("{user}link = \"join\"\n"),
                "Withheld",
                50,
                "[[rule.flow]]\ntarget = \"mobile\"\nexpression = \
                 'IIF(IsPresent([department]) && [department] = \"sales\", AuthoritativeNull, NULL)'\n",
            );
        }
        let out = "direction = \"outbound\"\nconnector_kind = \"tenant\"\nlink = \"provision\"\n\
                   join = [[{ space = \"sourceAnchor\", metaverse = \"sourceAnchor\", case_sensitive = true }]]\n";
        let secret =
            on(self.secret_stay_in, ", { attribute = \"department\", operator = \"NOTEQUAL\", value = \"secret\" }");
        rule(
            &format!(
                "{out}space_type = \"user\"\nmetaverse_type = \"user\"\n\
                 scope = [[{{ attribute = \"sourceAnchor\", operator = \"ISNOTNULL\" }}, \
                 {{ attribute = \"cloudFiltered\", operator = \"NOTEQUAL\", value = \"True\" }}{secret}]]\n"
            ),
            "Users out",
            200,
            &format!(
                "{}{}",
                direct(&[
                    "sourceAnchor",
                    "accountEnabled",
                    "userPrincipalName",
                    "displayName",
                    "mail",
                    "title",
                    "department",
                    "mobile",
                    "telephoneNumber"
                ]),
                on(self.managers_known, manages)
            ),
        );
        rule(
            &format!("{out}space_type = \"group\"\nmetaverse_type = \"group\"\n"),
            "Groups out",
            210,
            &format!(
                "{}[[rule.flow]]\ntarget = \"member\"\nreference = \"member\"\n",
                direct(&["sourceAnchor", "displayName"])
            ),
        );
        vec![RuleSource { file: "model.toml".to_owned(), text }]
    }
}
