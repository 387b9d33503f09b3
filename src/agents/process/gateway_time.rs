//! The gateway's time on the agent's clock, so that an expired check is never started, however long the agent itself was
//! frozen and whatever its own clock says.

use std::time::Duration;

use tokio::time::Instant;

use crate::identity::Timestamp;

/// Clock and stopwatch of this machine may differ by so much since the last sign of life before the machine must have
/// slept, or its clock was set.
const TOLERANCE: Duration = Duration::from_secs(2);

/// What is known of the gateway's time on one connection.
#[derive(Clone, Copy, Debug)]
pub struct GatewayTime {
    /// The gateway's time at `base` by the message that took the shortest way.
    at_base: Timestamp,
    base: Instant,
    /// This machine's clock and stopwatch at the last message.
    heard: (Timestamp, Instant),
}

impl GatewayTime {
    /// From a message that was sent at `sent`, and is read at `wall` and `now`.
    pub fn first(sent: Timestamp, wall: Timestamp, now: Instant) -> Self {
        Self { at_base: sent, base: now, heard: (wall, now) }
    }

    /// Takes in another message. One that lay about says an earlier time than is known already, and changes nothing.
    pub fn hear(&mut self, sent: Timestamp, wall: Timestamp, now: Instant) {
        if sent > self.at(now) {
            (self.at_base, self.base) = (sent, now);
        }
        self.heard = (wall, now);
    }

    /// The earliest that the gateway's time can be.
    fn at(&self, now: Instant) -> Timestamp {
        self.at_base + now.saturating_duration_since(self.base)
    }

    /// Whether `instant` has come at the gateway; also when this machine slept, and nobody can tell.
    pub fn has_passed(&self, instant: Timestamp, wall: Timestamp, now: Instant) -> bool {
        self.at(now) >= instant || self.has_slept(wall, now)
    }

    /// The stopwatch stands still while a machine sleeps; the clock does not.
    fn has_slept(&self, wall: Timestamp, now: Instant) -> bool {
        let (heard_wall, heard_at) = self.heard;
        wall.since(heard_wall) > now.saturating_duration_since(heard_at) + TOLERANCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);
    const GATEWAY: Timestamp = Timestamp::from_secs(1_800_000_000);
    /// The agent's clock is an hour behind.
    const HERE: Timestamp = Timestamp::from_secs(1_799_996_400);

    #[test]
    fn a_check_expires_by_the_gateways_time_whatever_the_agents_clock_says() {
        let start = Instant::now();
        let time = GatewayTime::first(GATEWAY, HERE, start);
        let passed =
            |millis: u32| time.has_passed(GATEWAY + 2000 * MILLI, HERE + millis * MILLI, start + millis * MILLI);
        assert!(!passed(1999));
        assert!(passed(2000));
    }

    #[test]
    fn messages_that_lay_about_while_the_agent_was_frozen_do_not_turn_time_back() {
        let start = Instant::now();
        let mut time = GatewayTime::first(GATEWAY, HERE, start);
        let (wall, now) = (HERE + 10_000 * MILLI, start + 10_000 * MILLI);
        // A heartbeat of a second after the start, read after ten.
        time.hear(GATEWAY + 1000 * MILLI, wall, now);
        assert!(time.has_passed(GATEWAY + 3000 * MILLI, wall, now));
        assert!(!time.has_passed(GATEWAY + 10_001 * MILLI, wall, now));
    }

    #[test]
    fn a_shorter_way_makes_the_time_later() {
        let start = Instant::now();
        let mut time = GatewayTime::first(GATEWAY, HERE, start);
        time.hear(GATEWAY + 1500 * MILLI, HERE + 1000 * MILLI, start + 1000 * MILLI);
        assert!(time.has_passed(GATEWAY + 1500 * MILLI, HERE + 1000 * MILLI, start + 1000 * MILLI));
    }

    #[test]
    fn after_a_sleep_nothing_is_started_until_the_gateway_was_heard() {
        let start = Instant::now();
        let mut time = GatewayTime::first(GATEWAY, HERE, start);
        let wall = HERE + 3_600_000 * MILLI;
        assert!(time.has_passed(GATEWAY + 60_000 * MILLI, wall, start + MILLI));
        time.hear(GATEWAY + 3_600_000 * MILLI, wall, start + 2 * MILLI);
        assert!(!time.has_passed(GATEWAY + 3_602_000 * MILLI, wall + MILLI, start + 3 * MILLI));
    }
}
