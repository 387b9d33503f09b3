use super::*;

const AT: Timestamp = Timestamp::from_secs(1_000_000);
const MEASURE: Measure = Measure { after: Duration::from_secs(600), fresh: Duration::from_secs(100), good: 3 };

fn node(name: &str) -> NodeId {
    name.parse().expect("a node")
}

fn secs(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn no_service() -> Synthetic {
    Synthetic::NoService("refused".to_owned())
}

/// What a node knows after these, one every 50 seconds, the last one at [`AT`].
fn seen(name: &str, found: &[Synthetic]) -> NodeView {
    let mut view = None;
    for (index, synthetic) in found.iter().enumerate() {
        let ago = secs(50) * u32::try_from(found.len() - 1 - index).expect("a few");
        view = Some(NodeView::after(view.as_ref(), node(name), synthetic, MEASURE.fresh, AT - ago));
    }
    view.expect("at least one")
}

/// Good once, then `failures` without service.
fn failing(name: &str, failures: usize) -> NodeView {
    let mut found = vec![Synthetic::SignedIn];
    found.extend(std::iter::repeat_n(no_service(), failures));
    seen(name, &found)
}

#[test]
fn an_outage_needs_the_whole_time_from_every_live_node() {
    let both = [node("one"), node("two")];
    assert_eq!(judge(&[failing("one", 13), failing("two", 13)], &both, MEASURE, AT), PartnerHealth::Down);
    assert_eq!(judge(&[failing("one", 13), failing("two", 12)], &both, MEASURE, AT), PartnerHealth::Undecided);
    assert_eq!(judge(&[failing("one", 13)], &both, MEASURE, AT), PartnerHealth::Undecided, "one has not looked");
    assert_eq!(judge(&[failing("one", 13)], &both[..1], MEASURE, AT), PartnerHealth::Down, "it is alone");
    assert_eq!(judge(&[failing("one", 13)], &[], MEASURE, AT), PartnerHealth::Undecided);
    let stale = NodeView { at: AT - secs(101), ..failing("two", 13) };
    assert_eq!(judge(&[failing("one", 13), stale], &both, MEASURE, AT), PartnerHealth::Undecided);
}

#[test]
fn an_outage_needs_several_looks_however_long_they_are_apart() {
    let (alone, since) = ([node("one")], secs(50));
    let short = Measure { after: secs(50), ..MEASURE };
    assert_eq!(judge(&[failing("one", 2)], &alone, short, AT), PartnerHealth::Undecided, "two over {since:?}");
    assert_eq!(judge(&[failing("one", 3)], &alone, short, AT), PartnerHealth::Down);
    assert_eq!(failing("one", 3).failures, 3);
    assert_eq!(seen("one", &[no_service(), no_service(), Synthetic::SignedIn]).failures, 0);
}

#[test]
fn nothing_is_counted_over_a_time_in_which_nobody_looked() {
    let alone = [node("one")];
    let before = failing("one", 1);
    let stopped = NodeView { at: AT - secs(3_600), failing_since: Some(AT - secs(3_600)), ..before };
    let again = NodeView::after(Some(&stopped), node("one"), &no_service(), MEASURE.fresh, AT);
    assert_eq!((again.failing_since, again.last_good), (Some(AT), stopped.last_good));
    assert_eq!(judge(&[again], &alone, MEASURE, AT), PartnerHealth::Undecided);
    let good = NodeView { good: 2, at: AT - secs(3_600), ..seen("one", &[Synthetic::SignedIn]) };
    assert_eq!(NodeView::after(Some(&good), node("one"), &Synthetic::SignedIn, MEASURE.fresh, AT).good, 1);
}

#[test]
fn a_partner_that_answers_every_node_is_there() {
    let both = [node("one"), node("two")];
    let refused = |name| seen(name, &[no_service(), Synthetic::Otherwise("403".to_owned())]);
    assert_eq!(judge(&[refused("one"), refused("two")], &both, MEASURE, AT), PartnerHealth::Serves);
    assert_eq!(judge(&[refused("one"), failing("two", 13)], &both, MEASURE, AT), PartnerHealth::Undecided);
    assert_eq!(judge(&[refused("one")], &both, MEASURE, AT), PartnerHealth::Undecided);
}

#[test]
fn what_is_no_outage_ends_the_count() {
    let alone = [node("one")];
    for between in [Synthetic::SignedIn, Synthetic::PageShown, Synthetic::Otherwise("403".to_owned())] {
        let mut found = vec![Synthetic::SignedIn];
        found.extend(std::iter::repeat_n(no_service(), 20));
        found.push(between.clone());
        found.extend(std::iter::repeat_n(no_service(), 12));
        let view = seen("one", &found);
        assert_eq!(judge(&[view], &alone, MEASURE, AT), PartnerHealth::Undecided, "{between:?}");
    }
}

#[test]
fn a_partner_that_never_served_is_not_down() {
    let never = seen("one", &std::iter::repeat_n(no_service(), 40).collect::<Vec<_>>());
    assert_eq!(judge(&[never], &[node("one")], MEASURE, AT), PartnerHealth::Undecided);
}

#[test]
fn an_outage_ends_when_some_node_signs_in_several_times_in_a_row() {
    let alone = [node("one"), node("two")];
    let recovering = |good: usize| {
        let mut found = vec![Synthetic::SignedIn];
        found.extend(std::iter::repeat_n(no_service(), 20));
        found.extend(std::iter::repeat_n(Synthetic::SignedIn, good));
        seen("one", &found)
    };
    assert_eq!(judge(&[recovering(2), failing("two", 20)], &alone, MEASURE, AT), PartnerHealth::Undecided);
    assert_eq!(judge(&[recovering(3), failing("two", 20)], &alone, MEASURE, AT), PartnerHealth::Serves);
    let flapping: Vec<_> =
        (0..40).map(|number| if number % 2 == 0 { no_service() } else { Synthetic::SignedIn }).collect();
    assert_eq!(judge(&[seen("one", &flapping)], &alone[..1], MEASURE, AT), PartnerHealth::Undecided);
}
