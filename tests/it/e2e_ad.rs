//! Active Directory as people at the pages and an operator see it: a Samba domain, its real passwords.

mod anchors;
mod check;
mod forests;
mod import;
mod leaked;
mod sign_in;
mod site;
