//! Delta import from real servers: what happens in the directory arrives, and a full run after it finds nothing.

mod access_log;
mod crashes;
mod empty;
mod scope;
mod site;
mod two_engines;

use landbridge::connectors::ldap::DeltaChoice;
use landbridge::sync::run::{Profile, RunOutcome};
use site::{Peer, Site};

/// Records of an access log are kept for a week.
const DAYS: &str = "07+00:00 01+00:00";

/// The servers and methods that tell everything.
fn peers() -> Vec<(&'static str, Peer, DeltaChoice)> {
    vec![
        ("slapd, content synchronisation", Peer::slapd(), DeltaChoice::Auto),
        ("slapd, access log", Peer::slapd_with_access_log(DAYS), DeltaChoice::AccessLog),
        ("389, content synchronisation", Peer::ds389(), DeltaChoice::ContentSync),
        ("389, change log", Peer::ds389_with_changelog_alone(), DeltaChoice::Auto),
    ]
}

/// One thing that happens, with `SUFFIX` for the suffix, and who there is in the tenant then.
struct Step {
    what: &'static str,
    ldif: &'static str,
    leaves_the_filter: bool,
    then: &'static [(&'static str, Expect)],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// A person with this mail address.
    Person(&'static str),
    NoPerson,
    /// A group with these members, by employee number or group name.
    Group(&'static [&'static str]),
    NoGroup,
}
use Expect::{Group, NoGroup, NoPerson, Person};

const LIFE: &[Step] = &[
    Step {
        what: "a person is added",
        ldif: "dn: uid=new,ou=berlin,ou=people,SUFFIX\nchangetype: add\nobjectClass: inetOrgPerson\nuid: new\ncn: New\nsn: N\n\
               employeeNumber: new\nmail: new@alpha.example\n",
        leaves_the_filter: false,
        then: &[("new", Person("new@alpha.example"))],
    },
    Step {
        what: "an address changes",
        ldif: "dn: uid=new,ou=berlin,ou=people,SUFFIX\nchangetype: modify\nreplace: mail\nmail: newer@alpha.example\n",
        leaves_the_filter: false,
        then: &[("new", Person("newer@alpha.example"))],
    },
    Step {
        what: "a person joins and leaves groups",
        ldif: "dn: cn=one,ou=groups,SUFFIX\nchangetype: modify\nadd: member\n\
               member: uid=new,ou=berlin,ou=people,SUFFIX\n-\ndelete: member\n\
               member: uid=p1,ou=lyon,ou=people,SUFFIX\n",
        leaves_the_filter: false,
        then: &[("one", Group(&["new", "p0"])), ("two", Group(&["one", "p2"]))],
    },
    Step {
        what: "a person is renamed",
        ldif: "dn: uid=new,ou=berlin,ou=people,SUFFIX\nchangetype: modrdn\nnewrdn: uid=newest\ndeleteoldrdn: 1\n",
        leaves_the_filter: false,
        then: &[("new", Person("newer@alpha.example"))],
    },
    Step {
        what: "two people swap their names",
        ldif: "dn: uid=p0,ou=berlin,ou=people,SUFFIX\nchangetype: modrdn\nnewrdn: uid=between\ndeleteoldrdn: 1\n\n\
               dn: uid=p2,ou=berlin,ou=people,SUFFIX\nchangetype: modrdn\nnewrdn: uid=p0\ndeleteoldrdn: 1\n\n\
               dn: uid=between,ou=berlin,ou=people,SUFFIX\nchangetype: modrdn\nnewrdn: uid=p2\ndeleteoldrdn: 1\n",
        leaves_the_filter: false,
        then: &[("p0", Person("p0@alpha.example")), ("p2", Person("p2@alpha.example"))],
    },
    Step {
        what: "one of them goes by another name, and the other is called as before",
        ldif: "dn: uid=p2,ou=berlin,ou=people,SUFFIX\nchangetype: modrdn\nnewrdn: uid=between\ndeleteoldrdn: 1\n\n\
               dn: uid=p0,ou=berlin,ou=people,SUFFIX\nchangetype: modrdn\nnewrdn: uid=p2\ndeleteoldrdn: 1\n",
        leaves_the_filter: false,
        then: &[("p0", Person("p0@alpha.example")), ("p2", Person("p2@alpha.example"))],
    },
    Step {
        what: "and so is the one",
        ldif: "dn: uid=between,ou=berlin,ou=people,SUFFIX\nchangetype: modrdn\nnewrdn: uid=p0\ndeleteoldrdn: 1\n",
        leaves_the_filter: false,
        then: &[("p0", Person("p0@alpha.example")), ("p2", Person("p2@alpha.example"))],
    },
    Step {
        what: "a person moves to another container",
        ldif: "dn: uid=p3,ou=berlin,ou=people,SUFFIX\nchangetype: modrdn\nnewrdn: uid=p3\ndeleteoldrdn: 1\n\
               newsuperior: ou=lyon,ou=people,SUFFIX\n",
        leaves_the_filter: false,
        then: &[("p3", Person("p3@alpha.example"))],
    },
    Step {
        what: "a container is renamed",
        ldif: "dn: ou=lyon,ou=people,SUFFIX\nchangetype: modrdn\nnewrdn: ou=lille\ndeleteoldrdn: 1\n",
        leaves_the_filter: false,
        then: &[("p1", Person("p1@alpha.example")), ("p3", Person("p3@alpha.example"))],
    },
    Step {
        what: "somebody is added to the renamed container",
        ldif: "dn: uid=late,ou=lille,ou=people,SUFFIX\nchangetype: add\nobjectClass: inetOrgPerson\nuid: late\ncn: Late\n\
               sn: L\nemployeeNumber: late\nmail: late@alpha.example\n",
        leaves_the_filter: false,
        then: &[("late", Person("late@alpha.example"))],
    },
    Step {
        what: "a whole container moves out of scope",
        ldif: "dn: ou=lille,ou=people,SUFFIX\nchangetype: modrdn\nnewrdn: ou=lille\ndeleteoldrdn: 1\n\
               newsuperior: ou=outside,SUFFIX\n",
        leaves_the_filter: false,
        then: &[("p1", NoPerson), ("p3", NoPerson), ("late", NoPerson), ("p0", Person("p0@alpha.example"))],
    },
    Step {
        what: "it comes back, to another place",
        ldif: "dn: ou=lille,ou=outside,SUFFIX\nchangetype: modrdn\nnewrdn: ou=lens\ndeleteoldrdn: 1\n\
               newsuperior: ou=berlin,ou=people,SUFFIX\n",
        leaves_the_filter: false,
        then: &[
            ("p1", Person("p1@alpha.example")),
            ("p3", Person("p3@alpha.example")),
            ("late", Person("late@alpha.example")),
        ],
    },
    Step {
        what: "a person leaves the filter",
        ldif: "dn: uid=p0,ou=berlin,ou=people,SUFFIX\nchangetype: modify\nadd: employeeType\nemployeeType: robot\n",
        leaves_the_filter: true,
        then: &[("p0", NoPerson), ("p2", Person("p2@alpha.example"))],
    },
    Step {
        what: "and matches it again",
        ldif: "dn: uid=p0,ou=berlin,ou=people,SUFFIX\nchangetype: modify\ndelete: employeeType\n",
        leaves_the_filter: false,
        then: &[("p0", Person("p0@alpha.example"))],
    },
    Step {
        what: "a person is deleted",
        ldif: "dn: uid=p2,ou=berlin,ou=people,SUFFIX\nchangetype: delete\n",
        leaves_the_filter: false,
        then: &[("p2", NoPerson)],
    },
    Step {
        what: "another entry takes the name of a deleted one",
        ldif: "dn: uid=p2,ou=berlin,ou=people,SUFFIX\nchangetype: add\nobjectClass: inetOrgPerson\nuid: p2\ncn: Other\nsn: O\n\
               employeeNumber: other\nmail: other@alpha.example\n",
        leaves_the_filter: false,
        then: &[("p2", NoPerson), ("other", Person("other@alpha.example"))],
    },
    Step {
        what: "a configured base is renamed",
        ldif: "dn: ou=people,SUFFIX\nchangetype: modrdn\nnewrdn: ou=staff\ndeleteoldrdn: 1\n",
        leaves_the_filter: false,
        then: &[("p0", Person("p0@alpha.example")), ("p1", Person("p1@alpha.example"))],
    },
    Step {
        what: "somebody is added below it",
        ldif: "dn: uid=last,ou=berlin,ou=staff,SUFFIX\nchangetype: add\nobjectClass: inetOrgPerson\nuid: last\ncn: Last\n\
               sn: L\nemployeeNumber: last\nmail: last@alpha.example\n",
        leaves_the_filter: false,
        then: &[("last", Person("last@alpha.example"))],
    },
    Step {
        what: "a group is deleted",
        ldif: "dn: cn=two,ou=groups,SUFFIX\nchangetype: delete\n",
        leaves_the_filter: false,
        then: &[("two", NoGroup)],
    },
];

async fn check(site: &Site, at: &str, then: &[(&str, Expect)]) {
    for (name, expected) in then {
        match expected {
            Person(mail) => {
                let held = site.person(name).await;
                assert_eq!(held.as_ref().map(|(mail, _)| mail.as_str()), Some(*mail), "{at}: {name}");
            }
            NoPerson => assert_eq!(site.person(name).await, None, "{at}: {name}"),
            Group(members) => assert_eq!(site.members(name).await, *members, "{at}: {name}"),
            NoGroup => assert!(site.members(name).await.is_empty(), "{at}: {name}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_arrives_by_delta_and_a_full_run_finds_nothing() {
    for (server, peer, choice) in peers() {
        let mut site = Site::open(peer, choice).await;
        assert_eq!(site.run(Profile::Full).await.0, RunOutcome::Completed, "{server}");
        let (_, oid) = site.person("p1").await.expect("person 1");
        for full_between in [true, false] {
            for step in LIFE {
                let at = format!("{server}: {} (full runs between: {full_between})", step.what);
                site.peer.modify(step.ldif);
                if step.leaves_the_filter && server == "389, content synchronisation" {
                    // It does not tell this, and says so: a full import a day does.
                    let (outcome, steps) = site.run_unguarded(Profile::Full).await;
                    assert_eq!(outcome, RunOutcome::Completed, "{at}: {steps:#?}");
                } else {
                    site.delta(&at).await;
                }
                check(&site, &at, step.then).await;
                if full_between {
                    site.full_finds_nothing(&at).await;
                }
            }
            site.full_finds_nothing(server).await;
            let (_, still) = site.person("p1").await.expect("person 1");
            assert_eq!(still, oid, "{server}: moved out of scope and back, the same oid");
            if full_between {
                // Everything again, on the same engine, from a server as it was.
                site.peer.start_over();
                let (outcome, steps) = site.run_unguarded(Profile::Delta).await;
                assert_eq!(outcome, RunOutcome::Completed, "{server}: {steps:#?}");
                assert!(steps.iter().any(|step| step.kind == "full-import"), "{server}: restored: {steps:#?}");
            }
        }
    }
}
