//! Agents as processes, under the eyes of people at the pages, an operator at the command line and slapd.

mod behind;
mod faults;
mod lifecycle;
mod site;
mod two_nodes;
