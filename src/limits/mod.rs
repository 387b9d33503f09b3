//! What one network, and all together, may take of the gateway: places at once, and requests in a time. Counts in
//! memory, per node; knows nothing of what is counted.

mod places;
mod seldom;
mod tokens;

pub use places::{Full, Limits, Place, Places};
pub use seldom::Seldom;
pub use tokens::{Rate, Tokens};
