//! What rules may say of an attribute, through the whole engine: null, authoritative null, ignore, once, merge, error.

use landbridge::sync::attribute::Value;
use landbridge::sync::run::{Profile, RunOutcome};

use super::world::World;
use super::{dn, set};

/// A rule for users of the directory, below the shipped ones.
fn inbound(name: &str, precedence: u32, lines: &str) -> String {
    format!(
        "[[rule]]\nname = \"{name}\"\ndirection = \"inbound\"\nconnector_kind = \"ldap\"\nspace_type = \"user\"\n\
         metaverse_type = \"user\"\nlink = \"join\"\nprecedence = {precedence}\n{lines}\n"
    )
}

fn outbound(name: &str, precedence: u32, lines: &str) -> String {
    inbound(name, precedence, lines).replace("inbound", "outbound").replace("\"ldap\"", "\"tenant\"")
}

fn flow(target: &str, lines: &str) -> String {
    format!("\n[[rule.flow]]\ntarget = \"{target}\"\n{lines}\n")
}

async fn ada(own: &str, attributes: &[(&str, &str)]) -> World {
    let world = World::ruled(own).await;
    world.directory.container("c0", "dc=example,dc=org");
    world.directory.container("c1", super::PEOPLE);
    let common = [("mail", "ada@example.org"), ("cn", "Ada")];
    world.directory.user("ada", &dn("ada"), &[&common[..], attributes].concat());
    run(&world).await;
    world
}

/// A cycle, then a full one that finds nothing more to say.
async fn run(world: &World) {
    assert_eq!(world.run(Profile::Cycle).await, RunOutcome::Completed);
    world.target.take_changes();
    assert_eq!(world.run(Profile::Full).await, RunOutcome::Completed);
    assert_eq!(world.target.take_changes(), 0, "a repeated run finds nothing");
}

async fn change(world: &World, changes: &[(&str, &[&str])]) {
    world.directory.change("ada", |object| changes.iter().for_each(|(name, values)| set(object, name, values)));
    run(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn null_loses_authoritative_null_removes_and_ignore_steps_aside() {
    let expression = "expression = 'IIF([employeeType] = \"none\", AuthoritativeNull, IIF([employeeType] = \"skip\", IgnoreThisFlow, [ou]))'";
    let own = inbound("Own - Title", 10, &flow("title", expression));
    let world = ada(&own, &[("title", "Boss")]).await;
    let title = || world.target.values("ada", "title");
    assert_eq!(title(), "Boss", "a null does not beat a value");
    change(&world, &[("ou", &["Chief"])]).await;
    assert_eq!(title(), "Chief");
    change(&world, &[("employeeType", &["none"])]).await;
    assert_eq!(title(), "-");
    change(&world, &[("employeeType", &["skip"])]).await;
    assert_eq!(title(), "Boss", "as if the flow were not there");
    change(&world, &[("title", &[])]).await;
    assert_eq!(title(), "Boss", "nobody else has a value: what is there stays");
    change(&world, &[("employeeType", &[])]).await;
    assert_eq!(title(), "Chief");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_once_stays_as_it_was_then() {
    let once = |target: &str| flow(target, "expression = 'Guid()'\napply_once = true");
    let own = inbound("Own - Badge", 10, &once("badge"))
        + &outbound("Own - Out", 11, &(once("initialSecret") + &flow("badge", "direct = \"badge\"")));
    let world = ada(&own, &[]).await;
    let of = |name: &str| world.target.values("ada", name);
    let (badge, secret) = (of("badge"), of("initialSecret"));
    assert_eq!((badge.len(), secret.len()), (36, 36), "{badge} {secret}");
    assert_ne!(badge, secret);
    change(&world, &[("mail", &["ada.byron@example.org"])]).await;
    assert_eq!(of("userPrincipalName"), "ada.byron@example.org");
    assert_eq!((of("badge"), of("initialSecret")), (badge.clone(), secret));
    // Whoever changes it in the target keeps the change.
    let id = world.target.id_of("ada").expect("an id");
    let mine = vec![Value::text("changed")];
    let place = |w: &World| {
        w.target
            .state
            .lock()
            .expect("lock")
            .objects
            .get_mut(&id)
            .expect("ada")
            .attributes
            .insert("initialSecret".into(), mine.clone())
    };
    place(&world);
    run(&world).await;
    assert_eq!((of("badge"), of("initialSecret")), (badge, "changed".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_add_that_is_refused_is_tried_again_with_the_same_value() {
    let own = outbound("Own - Out", 11, &flow("initialSecret", "expression = 'Guid()'\napply_once = true"));
    let world = World::ruled(&own).await;
    world.directory.container("c0", "dc=example,dc=org");
    world.directory.container("c1", super::PEOPLE);
    world.directory.user("ada", &dn("ada"), &[("mail", "ada@example.org"), ("cn", "Ada")]);
    world.target.state.lock().expect("lock").refuse.insert("ada".to_owned());
    world.run(Profile::Cycle).await;
    let staged = world.dump().await;
    world.run(Profile::Full).await;
    let secret = |dump: &str| dump.split("initialSecret").nth(1).map(|rest| rest.chars().take(60).collect::<String>());
    assert!(secret(&staged).is_some(), "{staged}");
    assert_eq!(secret(&world.dump().await), secret(&staged), "a staged value is not drawn again");
}

#[tokio::test(flavor = "multi_thread")]
async fn merged_values_come_together_and_those_of_the_target_stay() {
    let merge = |target: &str, source: &str| {
        flow(target, &format!("direct = \"{source}\"\nmerge = \"merge-case-insensitive\""))
    };
    let own = inbound("Own - A", 10, &merge("aliases", "aliasA"))
        + &inbound("Own - B", 11, &merge("aliases", "aliasB"))
        + &outbound("Own - Out", 12, &merge("aliases", "aliases"));
    let world = ada(&own, &[("aliasA", "one"), ("aliasB", "ONE"), ("aliasB", "two")]).await;
    assert_eq!(world.target.values("ada", "aliases"), "one two");
    let id = world.target.id_of("ada").expect("an id");
    let values = ["foreign", "one", "two"].map(Value::text).to_vec();
    world
        .target
        .state
        .lock()
        .expect("lock")
        .objects
        .get_mut(&id)
        .expect("ada")
        .attributes
        .insert("aliases".into(), values);
    // The target's own value is known once it was read back.
    run(&world).await;
    change(&world, &[("aliasB", &["three"])]).await;
    assert_eq!(world.target.values("ada", "aliases"), "foreign one three two");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_leaves_the_object_and_a_failed_flow_its_value_as_they_were() {
    let error = "expression = 'IIF([employeeType] = \"bad\", Error(\"no such type\"), [employeeType])'";
    let own =
        inbound("Own - Type", 10, &(flow("employeeType", error) + &flow("level", "expression = 'CNum([ou]) + 1'")))
            + &outbound(
                "Own - Out",
                12,
                &(flow("employeeType", "direct = \"employeeType\"") + &flow("level", "direct = \"level\"")),
            );
    let world = ada(&own, &[("employeeType", "staff"), ("ou", "1")]).await;
    let of = |name: &str| world.target.values("ada", name);
    assert_eq!((of("employeeType"), of("level")), ("staff".to_owned(), "2".to_owned()));
    change(&world, &[("employeeType", &["bad"]), ("mail", &["new@example.org"])]).await;
    assert_eq!((of("employeeType"), of("userPrincipalName")), ("staff".to_owned(), "ada@example.org".to_owned()));
    assert_eq!(world.problems().await, ["uid=ada sync-rule-error-function-triggered"]);
    change(&world, &[("employeeType", &["temp"]), ("ou", &["x"])]).await;
    assert_eq!((of("employeeType"), of("userPrincipalName")), ("temp".to_owned(), "new@example.org".to_owned()));
    assert_eq!(of("level"), "2", "what is doubtful stays");
    assert_eq!(world.problems().await, ["uid=ada flow-failed"]);
    change(&world, &[("ou", &["4"])]).await;
    assert_eq!(of("level"), "5");
    assert!(world.problems().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbound_error_holds_the_whole_object_back() {
    let own =
        outbound("Own - Out", 12, &flow("alias", "expression = 'IIF([title] = \"bad\", Error(\"no\"), [title])'"));
    let world = ada(&own, &[("title", "good")]).await;
    assert_eq!(world.target.values("ada", "alias"), "good");
    change(&world, &[("title", &["bad"]), ("mail", &["new@example.org"])]).await;
    assert_eq!(world.target.values("ada", "userPrincipalName"), "ada@example.org");
    assert_eq!(world.problems().await.len(), 1);
    change(&world, &[("title", &["fine"])]).await;
    assert_eq!(world.target.values("ada", "userPrincipalName"), "new@example.org");
    assert!(world.problems().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sticky_join_keeps_alive_what_it_may_not_make() {
    // Users are made while they are of type `staff`, and kept while the sticky rule holds them.
    let join = "join = [[{ space = \"entryUUID\", metaverse = \"sourceAnchor\", case_sensitive = true }]]\n";
    let scope = |value: &str| {
        format!("scope = [[{{ attribute = \"employeeType\", operator = \"EQUAL\", value = \"{value}\" }}]]\n")
    };
    let anchor = flow("sourceAnchor", "source_anchor = { attribute = \"entryUUID\", encoding = \"text\" }")
        + &flow("accountEnabled", "account_enabled = true");
    let own = "disable = [\"In from LDAP - User Join\"]\n".to_owned()
        + &inbound("Own - Make", 10, &(scope("staff") + join + &anchor)).replace("\"join\"", "\"provision\"")
        + &inbound("Own - Keep", 11, &(scope("former") + join + &anchor)).replace("\"join\"", "\"sticky-join\"");
    let world = ada(&own, &[("employeeType", "former")]).await;
    assert_eq!(world.target.print(), "", "a sticky join makes nothing");
    change(&world, &[("employeeType", &["staff"])]).await;
    assert_eq!(world.target.print(), "user ada - on");
    let id = world.target.id_of("ada");
    change(&world, &[("employeeType", &["former"])]).await;
    assert_eq!(world.target.print(), "user ada - on");
    assert_eq!(world.target.id_of("ada"), id);
    change(&world, &[("employeeType", &["gone"])]).await;
    assert_eq!(world.target.print(), "");
}
