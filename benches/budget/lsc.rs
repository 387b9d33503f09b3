//! LSC (LDAP Synchronization Connector, <https://lsc-project.org>) as its operators run it: an unpacked distribution, which
//! `LSC_HOME` names, with settings of ours.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::engine_rows::{ATTRIBUTES, Cost};
use crate::load::{cpu_time_if_alive, memory_mib_if_alive};
use crate::support::process::temp_dir;
use crate::support::slapd::{SUFFIX, Slapd};

/// How often its process is looked at.
const EVERY: Duration = Duration::from_millis(100);
/// Warnings alone: at its default level each change would be written to files besides.
const LOGBACK: &str = r#"<configuration>
  <property name="logdir" value="LOGS"/>
  <appender name="CONSOLE" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%level %logger %message%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="CONSOLE"/></root>
</configuration>
"#;

pub struct Lsc {
    program: PathBuf,
    name: String,
    folder: tempfile::TempDir,
}

impl Lsc {
    /// `None`: there is no LSC on this machine.
    pub fn between(source: &Slapd, target: &Slapd) -> Option<Self> {
        let home = PathBuf::from(std::env::var_os("LSC_HOME")?);
        let version = version(&home);
        let folder = temp_dir("lsc");
        let logs = folder.path().display().to_string();
        std::fs::write(folder.path().join("logback.xml"), LOGBACK.replace("LOGS", &logs)).expect("a settings file");
        std::fs::write(folder.path().join("lsc.xml"), settings(&version, source, target)).expect("a settings file");
        Some(Self { program: home.join("bin/lsc"), name: format!("LSC {version}"), folder })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Synchronises everybody, and cleans the target of those who are gone.
    pub fn run(&self) -> Cost {
        let log = self.folder.path().join("output");
        let output = std::fs::File::create(&log).expect("a log file");
        let mut command = Command::new(&self.program);
        command.arg("-f").arg(self.folder.path()).args(["-s", "all", "-c", "all"]).stdin(Stdio::null());
        command.stdout(output.try_clone().expect("a file")).stderr(output);
        let started = Instant::now();
        let mut shell = command.spawn().expect("LSC_HOME/bin/lsc can be started");
        let mut cost = Cost { seconds: 0.0, cpu: 0.0, peak_mib: 0.0 };
        let status = loop {
            if let Some(status) = shell.try_wait().expect("own child") {
                break status;
            }
            let seen = java_below(shell.id())
                .and_then(|java| Some((cpu_time_if_alive(java)?, memory_mib_if_alive(java, "VmHWM")?)));
            if let Some((cpu, peak)) = seen {
                (cost.cpu, cost.peak_mib) = (cpu.as_secs_f64(), peak);
            }
            std::thread::sleep(EVERY);
        };
        cost.seconds = started.elapsed().as_secs_f64();
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        assert!(status.success() && !log.contains("ERROR"), "LSC: {status}\n{log}");
        cost
    }
}

/// Of the library in the distribution.
fn version(home: &Path) -> String {
    let files = std::fs::read_dir(home.join("lib"))
        .expect("LSC_HOME/lib")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let version =
        files.filter_map(|name| Some(name.strip_prefix("lsc-core-")?.strip_suffix(".jar")?.to_owned())).next();
    version.expect("LSC_HOME/lib has lsc-core-VERSION.jar")
}

/// The JVM that the shell script has started.
fn java_below(shell: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).ok()?;
    let mut pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.find(|pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "java"))
}

fn settings(version: &str, source: &Slapd, target: &Slapd) -> String {
    let schema = version.split('.').take(2).collect::<Vec<_>>().join(".");
    let connection = |name: &str, slapd: &Slapd, dn: &str, password: &str| {
        format!(
            "<ldapConnection><name>{name}</name><url>ldap://127.0.0.1:{}/{SUFFIX}</url><username>{dn}</username>\
             <password>{password}</password><authentication>SIMPLE</authentication><referral>IGNORE</referral>\
             <derefAliases>NEVER</derefAliases><version>VERSION_3</version><pageSize>-1</pageSize>\
             <factory>com.sun.jndi.ldap.LdapCtxFactory</factory><tlsActivated>false</tlsActivated></ldapConnection>\n",
            slapd.port(),
        )
    };
    let strings = |names: &[&str]| {
        names.iter().fold(String::new(), |mut text, name| {
            write!(text, "<string>{name}</string>").expect("text");
            text
        })
    };
    let service = |element: &str, connection: &str, attributes: &str, base: &str, more: &str| {
        format!(
            "<{element}><name>{connection}-service</name><connection reference=\"{connection}\"/><baseDn>{base}</baseDn>\
             <pivotAttributes><string>uid</string></pivotAttributes><fetchedAttributes>{attributes}</fetchedAttributes>\
             <getAllFilter>(objectClass=inetOrgPerson)</getAllFilter>\
             <getOneFilter>(&amp;(objectClass=inetOrgPerson)(uid={{uid}}))</getOneFilter>{more}</{element}>\n"
        )
    };
    let clean = "<cleanFilter>(&amp;(objectClass=inetOrgPerson)(uid={uid}))</cleanFilter>";
    let (read, written) = (strings(&ATTRIBUTES), strings(&ATTRIBUTES) + "<string>objectClass</string>");
    format!(
        "<?xml version=\"1.0\"?>\n<lsc xmlns=\"http://lsc-project.org/XSD/lsc-core-{schema}.xsd\" revision=\"0\">\n<connections>\n\
         {}{}</connections>\n<tasks><task><name>People</name><bean>org.lsc.beans.SimpleBean</bean>\n{}{}\
         <propertiesBasedSyncOptions>\
         <mainIdentifier>\"uid=\" + srcBean.getDatasetFirstValueById(\"uid\") + \",ou=people,{SUFFIX}\"</mainIdentifier>\
         <defaultDelimiter>;</defaultDelimiter><defaultPolicy>FORCE</defaultPolicy>\
         <dataset><name>objectClass</name><policy>KEEP</policy>\
         <createValues><string>\"inetOrgPerson\"</string></createValues></dataset>\
         </propertiesBasedSyncOptions>\n</task></tasks>\n</lsc>\n",
        connection("source", source, &source.service_dn(), source.service_password()),
        connection("target", target, &target.admin_dn(), target.admin_password()),
        service("ldapSourceService", "source", &read, &source.people_base(), clean),
        service("ldapDestinationService", "target", &written, &target.people_base(), ""),
    )
}
