//! What more objects cost, from tables of the same rows at several sizes.

use crate::table::{Budget, Growth, Row, Table};

/// How much more an additional object may take than those of the smaller size did on average: linear, within what a
/// larger database's deeper trees and colder caches explain.
const LINEAR: f64 = 1.3;

/// The rows of one size.
pub struct Measured {
    /// People and groups.
    pub objects: usize,
    pub table: Table,
}

/// From each size to the next.
pub fn rows(sizes: &[Measured]) -> Table {
    let mut table = Table::default();
    for pair in sizes.windows(2) {
        let [smaller, larger] = pair else { continue };
        for row in &larger.table.0 {
            let same = smaller.table.0.iter().find(|other| other.path == row.path && other.growth.is_some());
            if let (Some(growth), Some(same)) = (row.growth, same) {
                let path = format!("{}, {} to {} objects", row.path, smaller.objects, larger.objects);
                let (few, many) = (smaller.objects as f64, larger.objects as f64);
                table.add(match growth {
                    Growth::Linear => {
                        let (before, after) = (seconds(same, few), seconds(row, many));
                        let each = 1e6 * (after - before) / (many - few);
                        Row::ratio(path, each, "us/object", 1e6 * before / few, Budget::AtMost(LINEAR))
                    }
                    Growth::Bounded => {
                        let each = 1024.0 * (row.measured - same.measured) / (many - few);
                        Row::figure(path, each, "KiB/object", Budget::None)
                    }
                });
            }
        }
    }
    table
}

/// What all objects took.
fn seconds(row: &Row, objects: f64) -> f64 {
    if row.unit == "objects/s" { objects / row.measured } else { row.measured }
}
