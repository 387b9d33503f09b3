//! Addresses of `proxyAddresses`: each belongs to one user, group or contact.

use landbridge::store::tenant::{QuarantinePosition, WaitingValue};
use landbridge::tenant::read_back::ShadowObject;
use landbridge::tenant::{Action, Edit, ExportChange, ExportWarning, PlainKind, PlainPatch, TenantReadBack};
use serde_json::json;

use super::people::*;

on_both_engines! {
    an_address_belongs_to_one_object_of_any_type,
    a_swap_of_addresses_in_one_batch_quarantines_nobody,
    what_was_exported_is_read_back_whatever_is_quarantined,
    addresses_of_an_older_version_are_judged_once,
    waiting_values_are_listed_in_pages_and_found_by_text,
    nicknames_outlive_the_process,
    a_domain_gives_its_addresses_to_whom_its_connectors_vouch_for,
    a_value_that_thousands_share_is_handed_on_one_by_one,
}

fn listing(mut change: ExportChange, addresses: &[&str]) -> ExportChange {
    let values = Some(json!(addresses));
    match &mut change.action {
        Action::PutUser(patch) => patch.attributes.insert("proxyAddresses".to_owned(), values),
        Action::PutGroup(patch) => patch.attributes.insert("proxyAddresses".to_owned(), values),
        Action::PutPlain(_, patch) => patch.attributes.insert("proxyAddresses".to_owned(), values),
        Action::DeleteUser | Action::DeleteGroup | Action::DeletePlain(_) => None,
    };
    change
}

fn contact(anchor: &str, mail: &str) -> ExportChange {
    let patch = PlainPatch {
        display_name: Edit::Set(format!("contact {anchor}")),
        mail: Edit::Set(mail.to_owned()),
        ..PlainPatch::default()
    };
    change(anchor, Action::PutPlain(PlainKind::Contact, Box::new(patch)))
}

impl Tenant {
    async fn addresses(&self) -> Vec<String> {
        self.texts(
            "SELECT anchor || ' ' || proxy_addresses FROM ( \
             SELECT source_anchor AS anchor, proxy_addresses FROM tenant_user UNION ALL \
             SELECT source_anchor, proxy_addresses FROM tenant_group UNION ALL \
             SELECT source_anchor, proxy_addresses FROM tenant_plain) every WHERE proxy_addresses IS NOT NULL ORDER BY anchor",
        )
        .await
    }

    async fn owned(&self) -> Vec<String> {
        self.texts("SELECT owner_kind || ' ' || value FROM unique_value WHERE kind = 'mail' ORDER BY value").await
    }

    async fn waiting(&self, search: &str) -> Vec<WaitingValue> {
        self.store.quarantine(search, &QuarantinePosition::default(), 100).await.expect("a list")
    }
}

async fn an_address_belongs_to_one_object_of_any_type(tenant: Tenant) {
    let added = tenant
        .accepted([
            listing(group("g1", &[]), &["SMTP:all@mail.example", "smtp:staff@mail.example"]),
            listing(
                user("a1", "ada@verified.example"),
                &["SMTP:Ada@mail.example", "X500:/o=org/cn=ada", "SIP:ada@mail.example"],
            ),
        ])
        .await;
    assert!(added.iter().all(|accepted| accepted.warnings.is_empty()), "{added:?}");
    let clash = tenant
        .accepted([
            listing(user("a2", "all@verified.example"), &["SMTP:all@mail.example", "smtp:own@mail.example"]),
            listing(
                contact("c1", "ADA@mail.example"),
                &["smtp:ada@mail.example", "x500:/O=ORG/CN=Ada", "smtp:c1@mail.example"],
            ),
        ])
        .await;
    let denied = |attribute: &str, value: &str, by: usize| ExportWarning::AttributeValueMustBeUnique {
        attribute: attribute.to_owned(),
        value: value.to_owned(),
        held_by: added[by].oid.to_string(),
    };
    assert_eq!(clash[0].warnings, [denied("proxyAddresses", "all@mail.example", 0)]);
    assert_eq!(
        clash[1].warnings,
        [
            denied("mail", "ada@mail.example", 1),
            denied("proxyAddresses", "ada@mail.example", 1),
            denied("proxyAddresses", "x500:/o=org/cn=ada", 1),
        ]
    );
    assert_eq!(
        tenant.addresses().await,
        [
            "a1 [\"SMTP:Ada@mail.example\",\"X500:/o=org/cn=ada\",\"SIP:ada@mail.example\"]",
            "a2 [\"smtp:own@mail.example\"]",
            "c1 [\"smtp:c1@mail.example\"]",
            "g1 [\"SMTP:all@mail.example\",\"smtp:staff@mail.example\"]",
        ]
    );
    // The group lets one go, the user is deleted: both waiting objects have theirs in the same transaction, the contact its mail too.
    let mut lets_go = listing(group("g1", &[]), &["smtp:staff@mail.example"]);
    lets_go.object.oid = Some(added[0].oid);
    tenant.accepted([lets_go]).await;
    tenant.accepted([delete("a1")]).await;
    assert_eq!(tenant.number("SELECT COUNT(*) FROM quarantined_value").await, 0);
    assert_eq!(tenant.texts("SELECT mail FROM tenant_plain").await, ["ADA@mail.example"]);
    assert_eq!(
        tenant.owned().await,
        [
            "contact ada@mail.example",
            "user all@mail.example",
            "contact c1@mail.example",
            "user own@mail.example",
            "group staff@mail.example",
            "contact x500:/o=org/cn=ada",
        ]
    );
    // The contact's `mail` alone keeps the address when its list ends.
    let mut bare = contact("c1", "ada@mail.example");
    bare.object.oid = Some(clash[1].oid);
    tenant.accepted([listing(bare, &["smtp:c1@mail.example"])]).await;
    let back = tenant
        .accepted([listing(user("a1", "ada@verified.example"), &["SMTP:Ada@mail.example", "X500:/o=org/cn=ada"])]);
    let back = back.await;
    assert!(back[0].restored);
    assert_eq!(back[0].warnings.len(), 1, "{back:?}");
    assert!(tenant.owned().await.contains(&"user x500:/o=org/cn=ada".to_owned()));
}

async fn a_swap_of_addresses_in_one_batch_quarantines_nobody(tenant: Tenant) {
    let with = |anchor: &str, address: &str| {
        listing(user(anchor, &format!("{anchor}@verified.example")), &[address, &format!("smtp:{anchor}@mail.example")])
    };
    tenant.accepted((0..150).map(|n| with(&format!("a{n:03}"), &format!("smtp:p{n:03}@mail.example")))).await;
    let ring = (0..150).map(|n| with(&format!("a{n:03}"), &format!("smtp:p{:03}@mail.example", (n + 1) % 150)));
    let moved = tenant.accepted(ring).await;
    assert!(moved.iter().all(|accepted| accepted.warnings.is_empty()), "{:?}", moved[0]);
    assert_eq!(tenant.number("SELECT COUNT(*) FROM quarantined_value").await, 0);
    assert_eq!(tenant.number("SELECT COUNT(*) FROM unique_value WHERE kind = 'mail'").await, 300);
}

async fn what_was_exported_is_read_back_whatever_is_quarantined(tenant: Tenant) {
    let listed = ["SMTP:ada@mail.example", "not an address", "smtp:own@mail.example"];
    let added = tenant
        .accepted([
            listing(user("a1", "one@verified.example"), &listed[..1]),
            listing(user("a2", "two@verified.example"), &listed),
        ])
        .await;
    assert_eq!(added[1].warnings.len(), 2, "{added:?}");
    let told = added[1]
        .warnings
        .iter()
        .any(|warning| matches!(warning, ExportWarning::MalformedAddress { value, .. } if value == "not an address"));
    assert!(told, "{added:?}");
    let read = tenant.store.objects(&[added[1].oid]).await.expect("a read");
    let [ShadowObject::User(user)] = read.as_slice() else { panic!("one user: {read:?}") };
    assert_eq!(user.attributes["proxyAddresses"], json!(listed));
    let feed = tenant.number("SELECT value FROM counter WHERE name = 'change_feed'").await;
    tenant.accepted([listing(super::people::user("a2", "two@verified.example"), &listed)]).await;
    assert_eq!(tenant.number("SELECT value FROM counter WHERE name = 'change_feed'").await, feed, "nothing changed");
}

async fn addresses_of_an_older_version_are_judged_once(tenant: Tenant) {
    tenant
        .accepted([
            listing(user("a1", "countess@corp.local"), &["SMTP:countess@mail.example"]),
            listing(user("a2", "two@verified.example"), &["smtp:own@mail.example"]),
            listing(contact("c1", "c1@mail.example"), &["smtp:other@mail.example"]),
            user("a3", "three@verified.example"),
        ])
        .await;
    // As an older version left them: listed, and nobody's.
    for sql in [
        // An export after the update gave a nickname; the name is still that of the older version.
        "UPDATE tenant_user SET proxy_addresses = NULL, nickname = 'ada', named_by = NULL",
        "UPDATE tenant_plain SET proxy_addresses = NULL",
        "DELETE FROM unique_value WHERE kind = 'mail' AND value <> 'c1@mail.example'",
        "UPDATE counter SET value = 1 WHERE name = 'addresses_unjudged'",
        "UPDATE tenant_user SET attributes = REPLACE(attributes, 'own@', 'COUNTESS@')",
    ] {
        tenant.execute(sql).await;
    }
    let upns = tenant.upns().await;
    assert_eq!(tenant.store.judge_addresses(tenant.epoch).await.expect("a judgement"), 3);
    assert_eq!(
        tenant.owned().await,
        ["contact c1@mail.example", "user countess@mail.example", "contact other@mail.example"]
    );
    assert_eq!(tenant.waiting("").await.len(), 1);
    assert_eq!(tenant.upns().await, upns, "nobody is renamed");
    assert_eq!(tenant.store.judge_addresses(tenant.epoch).await.expect("a judgement"), 0);
}

async fn a_domain_gives_its_addresses_to_whom_its_connectors_vouch_for(tenant: Tenant) {
    let domain = || "mail.example".parse().expect("a domain");
    tenant.store.add_domain(domain(), "challenge".to_owned()).await.expect("a new domain");
    tenant
        .store
        .mark_verified(&domain(), landbridge::store::tenant::NewVerification::Operator, None)
        .await
        .expect("a known domain");
    let of_branch = |anchor: &str, addresses: &[&str]| {
        let mut change = listing(group(anchor, &[]), addresses);
        change.anchor_connector = connector("branch");
        change
    };
    let speaks = |connectors: &[&str]| {
        let own = ["verified.example", "later.example"].map(|name| name.parse().expect("a domain"));
        let mut registered =
            std::collections::BTreeMap::from([(connector("corp"), std::collections::BTreeSet::from(own))]);
        for name in connectors {
            registered.entry(connector(name)).or_default().insert(domain());
        }
        tenant.store.register_connectors(registered)
    };
    let first = tenant.accepted([of_branch("b1", &["smtp:boss@mail.example", "smtp:b1@mail.example"])]).await;
    assert_eq!(first[0].warnings, [], "nobody speaks for the domain: anybody may");
    tenant.accepted([listing(user("a1", "ada@verified.example"), &["SMTP:boss@mail.example"])]).await;
    assert_eq!(tenant.waiting("").await.len(), 1);

    speaks(&["corp"]).await.expect("a registration");
    assert_eq!(tenant.owned().await, ["group b1@mail.example", "user boss@mail.example"]);
    let refused = tenant.accepted([of_branch("b2", &["smtp:b2@mail.example"])]).await;
    assert_eq!(
        refused[0].warnings,
        [ExportWarning::AddressOfForeignDomain {
            attribute: "proxyAddresses".to_owned(),
            value: "b2@mail.example".to_owned(),
            connector: "branch".to_owned(),
        }]
    );
    assert_eq!(tenant.owned().await.len(), 2);

    speaks(&["corp", "branch"]).await.expect("a registration");
    let owned = ["group b1@mail.example", "group b2@mail.example", "user boss@mail.example"];
    assert_eq!(tenant.owned().await, owned, "it may by now");
    speaks(&["corp"]).await.expect("a registration");
    assert_eq!(tenant.owned().await, owned, "what nobody else wants is not taken away");

    // A contact names somebody of that domain until somebody comes who may have the address; it waits then, and gets it back.
    let abroad = |anchor: &str| {
        let mut change = contact(anchor, "carol@mail.example");
        change.anchor_connector = connector("branch");
        change
    };
    let mut contacts = tenant.accepted([abroad("c1")]).await;
    assert_eq!(contacts[0].warnings, []);
    let carol = |addresses: &[&str]| listing(user("a2", "carol@verified.example"), addresses);
    let known = tenant.accepted([carol(&["SMTP:carol@mail.example"])]).await;
    assert_eq!(known[0].warnings, []);
    let of_carol =
        async || tenant.owned().await.into_iter().filter(|owned| owned.contains("carol")).collect::<Vec<_>>();
    assert_eq!(of_carol().await, ["user carol@mail.example"]);
    contacts = tenant.accepted([abroad("c1")]).await;
    assert!(
        matches!(&contacts[0].warnings[..], [ExportWarning::AttributeValueMustBeUnique { .. }]),
        "{:?}",
        contacts[0].warnings
    );
    assert_eq!(of_carol().await, ["user carol@mail.example"]);
    tenant.accepted([carol(&[])]).await;
    assert_eq!(of_carol().await, ["contact carol@mail.example"]);

    // However long it waits: what is let go goes to those who may have it first.
    let of_corp = contact("c2", "carol@mail.example");
    assert_eq!(tenant.accepted([of_corp]).await[0].warnings, []);
    let mut later: Vec<ExportChange> = (3..40).map(|n| abroad(&format!("c{n}"))).collect();
    later.push(carol(&["SMTP:carol@mail.example"]));
    for change in later {
        let warnings = tenant.accepted([change]).await.remove(0).warnings;
        assert!(matches!(&warnings[..], [ExportWarning::AttributeValueMustBeUnique { .. }]), "{warnings:?}");
    }
    assert_eq!(of_carol().await, ["contact carol@mail.example"]);
    tenant.accepted([change("c2", Action::DeletePlain(PlainKind::Contact))]).await;
    assert_eq!(of_carol().await, ["user carol@mail.example"]);
}

async fn a_value_that_thousands_share_is_handed_on_one_by_one(tenant: Tenant) {
    let shared = |n: usize| contact(&format!("c{n:04}"), "shared@mail.example");
    tenant.accepted((0..1500).map(shared)).await;
    assert_eq!(tenant.number("SELECT COUNT(*) FROM quarantined_value").await, 1499);
    for n in 0..2 {
        let holder = "SELECT p.source_anchor FROM unique_value v JOIN tenant_plain p ON p.oid = v.owner";
        let holder = tenant.texts(holder).await.remove(0);
        let feed = tenant.number("SELECT value FROM counter WHERE name = 'change_feed'").await;
        let gone = change(&holder, Action::DeletePlain(PlainKind::Contact));
        tenant.accepted([gone]).await;
        let now = tenant.number("SELECT value FROM counter WHERE name = 'change_feed'").await;
        assert_eq!(now - feed, 2, "who is gone, and who gets it");
        assert_eq!(tenant.owned().await, ["contact shared@mail.example"]);
        assert_eq!(tenant.number("SELECT COUNT(*) FROM quarantined_value").await, 1498 - n);
    }
}

async fn waiting_values_are_listed_in_pages_and_found_by_text(tenant: Tenant) {
    tenant.accepted([listing(group("g1", &[]), &["SMTP:all@mail.example", "smtp:a_b@mail.example"])]).await;
    let added = tenant
        .accepted([
            listing(user("a1", "ada@verified.example"), &["SMTP:all@mail.example", "smtp:a_b@mail.example"]),
            listing(user("a2", "ada@verified.example"), &["SMTP:all@mail.example", "smtp:axb@mail.example"]),
            contact("c1", "All@mail.example"),
        ])
        .await;
    let all = tenant.waiting("").await;
    let row =
        |waiting: &WaitingValue| format!("{} {} {}", waiting.attribute, waiting.value, waiting.waiting.id.type_word());
    let mut rows: Vec<String> = all.iter().map(row).collect();
    rows.sort();
    assert_eq!(
        rows,
        [
            "mail all@mail.example contact",
            "proxyAddresses a_b@mail.example user",
            "proxyAddresses all@mail.example user",
            "proxyAddresses all@mail.example user",
            "userPrincipalName ada@verified.example user",
        ]
    );
    let name = all.iter().find(|waiting| waiting.kind == "upn").expect("a name waits");
    let holder = name.held_by.as_ref().expect("somebody has it");
    assert_eq!((holder.id, holder.name.as_deref()), (added[0].oid, Some("ada@verified.example")));
    assert_eq!(name.waiting.id, added[1].oid);
    let (mut pages, mut after) = (Vec::new(), QuarantinePosition::default());
    loop {
        let page = tenant.store.quarantine("", &after, 2).await.expect("a page");
        let Some(last) = page.last() else { break };
        after =
            QuarantinePosition { kind: last.kind.clone(), value: last.value.clone(), oid: last.waiting.id.to_string() };
        pages.extend(page);
    }
    assert_eq!(pages, all);
    assert_eq!(tenant.waiting("A_B@").await.len(), 1, "an underscore is itself");
    assert_eq!(tenant.waiting("%").await, []);
}

async fn nicknames_outlive_the_process(tenant: Tenant) {
    let listed = listing(user("a1", "user3@corp.local"), &["SMTP:user1@mail.example"]);
    let added = tenant.accepted([listed]).await;
    assert_eq!(tenant.upns().await, ["user1@tenant.example"]);
    let alias = |patch: &mut landbridge::tenant::UserPatch| {
        patch.attributes.insert("alias".to_owned(), Some(json!(["user4"])));
    };
    tenant.accepted([update("a1", added[0].oid, alias)]).await;
    assert_eq!(tenant.upns().await, ["user1@tenant.example"], "a nickname renames nobody");
    tenant.accepted([rename("a1", added[0].oid, "user5@corp.local")]).await;
    assert_eq!(tenant.upns().await, ["user4@tenant.example"]);
    tenant.accepted([rename("a1", added[0].oid, "user5@later.example")]).await;
    assert_eq!(tenant.upns().await, ["user4@tenant.example"]);
    let later = "later.example".parse().expect("a domain");
    let verification = landbridge::store::tenant::NewVerification::Operator;
    tenant.store.mark_verified(&later, verification, None).await.expect("a known domain");
    tenant.store.recalculate(&later).await.expect("a recalculation");
    assert_eq!(tenant.upns().await, ["user5@later.example"]);
}
