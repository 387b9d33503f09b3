//! A network of machines of its own: network namespaces behind a bridge that nothing else uses, whose cables can be pulled.
//! Making one takes root and `ip` of iproute2.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::process::run;

/// Networks that this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);
/// Machines, of all networks: the kernel takes devices away some time after their machine, and then by their names.
static MACHINES: AtomicU32 = AtomicU32::new(0);
const LABEL: &str = "lb";

/// A bridge, with an address of this machine on it. Dropping it takes it away.
pub struct Lan {
    bridge: String,
    /// The first three bytes of all addresses: of RFC 2544's range for tests of networks.
    net: String,
    machines: AtomicU32,
}

/// A machine on it; dropping it takes it away. Processes in it must have ended.
pub struct Machine {
    namespace: String,
}

impl Lan {
    pub fn new() -> Self {
        sweep();
        let (process, count) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        // Names of devices have at most 15 characters.
        let bridge = format!("{LABEL}{process}-{count}");
        let net = format!("198.{}.{}", 18 + count % 2, process % 256);
        // Without an address of its own a bridge takes the lowest of its ports': another one when a machine comes, and what is
        // sent to the former one is passed over.
        let address = format!("02:00:00:00:{:02x}:{:02x}", process % 256, count % 256);
        ip(&["link", "add", "name", &bridge, "address", &address, "type", "bridge"]);
        let lan = Self { bridge, net, machines: AtomicU32::new(0) };
        ip(&["address", "add", &format!("{}/24", lan.address()), "dev", &lan.bridge]);
        ip(&["link", "set", &lan.bridge, "up"]);
        lan
    }

    /// This machine's address on it.
    pub fn address(&self) -> String {
        format!("{}.1", self.net)
    }

    /// One more machine.
    pub fn machine(&self) -> Machine {
        let number = self.machines.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("{}.{number}", self.bridge);
        let (near, own) = (
            format!("{LABEL}{}.{}", std::process::id(), MACHINES.fetch_add(1, Ordering::Relaxed)),
            format!("{}.{}/24", self.net, number + 2),
        );
        ip(&["netns", "add", &namespace]);
        let machine = Machine { namespace };
        let there = &machine.namespace;
        ip(&["link", "add", &near, "type", "veth", "peer", "name", Machine::DEVICE, "netns", there]);
        ip(&["link", "set", &near, "master", &self.bridge, "up"]);
        ip(&["-n", there, "link", "set", "lo", "up"]);
        ip(&["-n", there, "address", "add", &own, "dev", Machine::DEVICE]);
        ip(&["-n", there, "link", "set", Machine::DEVICE, "up"]);
        machine
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        ip(&["link", "delete", &self.bridge]);
    }
}

impl Machine {
    const DEVICE: &str = "uplink";

    /// `program` on this machine, with the pid that its caller sees.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }

    /// Pulls the cable: whoever speaks with this machine hears nothing any more, and is told nothing.
    pub fn cut(&self) {
        ip(&["-n", &self.namespace, "link", "set", Self::DEVICE, "down"]);
    }

    pub fn mend(&self) {
        ip(&["-n", &self.namespace, "link", "set", Self::DEVICE, "up"]);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its end of the cable goes with it, and so does the other.
        ip(&["netns", "delete", &self.namespace]);
    }
}

/// Takes away what processes left behind that could not do it themselves.
fn sweep() {
    let left = |names: String, dead: fn(&str)| {
        for name in names.lines().filter_map(|line| line.split([' ', '@', ':']).find(|word| word.starts_with(LABEL))) {
            let process: String = name[LABEL.len()..].chars().take_while(char::is_ascii_digit).collect();
            if !process.is_empty() && !Path::new("/proc").join(process).exists() {
                dead(name);
            }
        }
    };
    // Another process may be sweeping too.
    left(ip(&["netns", "list"]), |name| drop(Command::new("ip").args(["netns", "delete", name]).status()));
    left(ip(&["-brief", "link", "show", "type", "bridge"]), |name| {
        drop(Command::new("ip").args(["link", "delete", name]).status());
    });
}

#[track_caller]
fn ip(args: &[&str]) -> String {
    run(Command::new("ip").args(args))
}
