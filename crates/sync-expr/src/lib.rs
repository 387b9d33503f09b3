//! The expression language of Landbridge's sync rules: grammar, types and functions, without I/O.
