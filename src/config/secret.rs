//! Secrets: from a file or the environment, never inline. A file that everybody on the machine could read, or others than
//! its owner write, is refused; one that its group can read is pointed out.

use std::path::Path;

use crate::identity::PlainPassword;
use crate::os;

use super::reader::Table;

/// Reads the secret `NAME_file` or `NAME_env` of a table. Both, neither, or an unreadable one is a problem.
pub(super) fn secret(table: &Table<'_>, file_key: &'static str, env_key: &'static str) -> Option<PlainPassword> {
    let remedy = format!("give the path of a file in `{file_key}` or the name of a variable in `{env_key}`");
    let (file, variable) = (table.path(file_key), table.text(env_key));
    let text = match (file, variable) {
        (Some(_), Some(_)) => {
            table.complain(env_key, "the secret is given twice", "keep one of the two keys");
            return None;
        }
        (None, None) => {
            table.complain(file_key, "the secret is missing", remedy);
            return None;
        }
        (Some(path), None) => match std::fs::read_to_string(&path) {
            Ok(text) => {
                check_mode(table, file_key, &path);
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
            Err(error) => {
                let what = format!("the secret file {} cannot be read: {error}", path.display());
                table.complain(file_key, what, "create it, readable by the gateway's user alone");
                return None;
            }
        },
        (None, Some(name)) => match std::env::var(name.as_ref()) {
            Ok(text) => text,
            Err(_) => {
                table.complain(env_key, format!("the environment has no variable {name}"), "set it before the start");
                return None;
            }
        },
    };
    match PlainPassword::new(text) {
        Ok(password) => Some(password),
        Err(shape) => {
            table.complain(file_key, shape.to_string(), remedy);
            None
        }
    }
}

/// Checks who else may read or write the secret in the file of the key `name`.
pub(super) fn check_mode(table: &Table<'_>, name: &'static str, path: &Path) {
    // A file that cannot be looked at is for the reader of its content to report.
    let Ok(mode) = os::mode(path) else { return };
    let file = path.display();
    if mode & 0o027 != 0 {
        let what = format!("the secret file {file} is open to others (mode {mode:04o})");
        table.complain(name, what, format!("run `chmod 600 {file}`"));
    } else if mode & 0o040 != 0 {
        table.warn(format!("the group of the secret file {file} can read it (mode {mode:04o}): is that meant?"));
    }
}
