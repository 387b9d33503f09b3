//! Reads password hashes from Active Directory by MS-DRSR: DCE/RPC, NDR and the replication calls.
