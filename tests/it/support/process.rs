//! Servers as child processes: each in a process group of its own, watched by a small shell that ends the group when
//! this process is gone, even by SIGKILL. (A parent-death signal would fire as soon as the spawning *thread* ends, and
//! test threads are short.)

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to end after its stop signal before it gets SIGKILL.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// $1 process group, $2 stop signal, $3 folder to remove or empty. The pipe on standard input closes with this process.
const WATCHDOG: &str = r#"
read -r _
kill -s "$2" -- "-$1"
n=0
while kill -s 0 -- "-$1" && [ "$n" -lt 50 ]; do sleep 0.1; n=$((n + 1)); done
kill -s KILL -- "-$1"
[ -z "$3" ] || rm -rf -- "$3"
"#;

/// Signals that tests send, by the names that `kill` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Stop,
    Continue,
    Terminate,
    Quit,
    Interrupt,
    Kill,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Stop => "STOP",
            Self::Continue => "CONT",
            Self::Terminate => "TERM",
            Self::Quit => "QUIT",
            Self::Interrupt => "INT",
            Self::Kill => "KILL",
        }
    }
}

/// A running server; dropping it ends the whole process group.
pub struct Process {
    child: Child,
    watchdog: Child,
    stop_signal: Signal,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with output appended to `log`. `owned_dir` is removed if this process ends without dropping the guard.
    #[track_caller]
    pub fn spawn(command: &mut Command, log: &Path, stop_signal: Signal, owned_dir: Option<&Path>) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("log file can be opened");
        let errors = output.try_clone().expect("log file can be shared");
        let program = command.get_program().to_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog", &child.id().to_string(), stop_signal.name()])
            .arg(owned_dir.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh starts");
        Self { child, watchdog, stop_signal, log: log.to_owned() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the whole process group.
    pub fn signal(&self, signal: Signal) {
        send(self.child.id(), signal);
    }

    /// Ends the group with `signal` and waits until the leader is gone.
    pub fn end(&mut self, signal: Signal) {
        self.end_within(signal, STOP_DEADLINE);
    }

    /// The same for a server that may take so long to end.
    pub fn end_within(&mut self, signal: Signal, deadline: Duration) {
        self.watchdog.kill().expect("own child can be killed");
        self.watchdog.wait().expect("own child can be awaited");
        send(self.child.id(), signal);
        let start = Instant::now();
        while self.child.try_wait().expect("own child can be awaited").is_none() {
            if start.elapsed() > deadline {
                send(self.child.id(), Signal::Kill);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether the leader still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Everything the server has printed so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            let signal = self.stop_signal;
            self.end(signal);
        }
        // Children of a leader that ended by itself; there may be none, and then nothing is to be done.
        send(self.child.id(), Signal::Kill);
    }
}

fn send(group: u32, signal: Signal) {
    let status = Command::new("sh")
        .args(["-c", r#"kill -s "$1" -- "-$2""#, "kill", signal.name(), &group.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.expect("sh starts");
}

/// As long as a command of any test may take.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Runs a command of the product to its end; panics when it has not ended after [`PATIENCE`].
#[track_caller]
pub fn output(command: &Command) -> Output {
    output_within(command, PATIENCE)
}

/// Runs a command of the product to its end; panics when it has not ended by then.
#[track_caller]
pub fn output_within(command: &Command, patience: Duration) -> Output {
    let mut bounded = Command::new("timeout");
    bounded.args(["--kill-after=10", &patience.as_secs().to_string()]);
    bounded.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    let output = bounded.output().expect("timeout is installed");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_ne!(output.status.code(), Some(124), "{command:?} did not end: {told}");
    output
}

/// A folder that is removed with its guard, readable by servers that run as another user.
pub fn temp_dir(label: &str) -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix(&format!("landbridge-{label}-")).tempdir().expect("temp dir");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("own folder");
    dir
}

/// Processor time that a process has taken so far (`proc(5)`: user and system time, in hundredths of a second).
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let (_, rest) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks: u64 = rest.split_ascii_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

/// Keeps a file to its owner.
pub fn make_private(file: &Path) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("own file");
}

/// Runs a command to its end and returns its standard output; panics with its errors when it fails.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let program = command.get_program().to_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()));
    assert!(
        output.status.success(),
        "{} {}: {}{}",
        program.display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    static ROOT: std::sync::LazyLock<bool> =
        std::sync::LazyLock::new(|| run(Command::new("id").arg("-u")).trim() == "0");
    *ROOT
}

/// A command that runs as `nobody` when the tests run as root, for servers that refuse root.
pub fn unprivileged(program: impl AsRef<std::ffi::OsStr>) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]).arg(program);
    command
}

/// Hands a folder to the user of [`unprivileged`].
pub fn give_to_unprivileged(dir: &Path) {
    if is_root() {
        run(Command::new("chown").args(["-R", "nobody:nogroup"]).arg(dir));
    }
}
