//! Active Directory as people at the pages and an operator see it: a Samba domain, its real passwords.

mod anchors;
mod check;
mod controllers;
mod estate;
mod forests;
mod import;
mod scale;
mod sign_in;
mod site;
