//! Who is who between the controller and its proxies: HTTP/1.1 over mutual TLS, by role.
//!
//! A certificate names a role as a DNS name, so that standard verification is all there is: a client asks for the name
//! of the role that it expects, a server accepts whoever its bundle has signed and leaves it to the handler what that
//! role may do. Addresses mean nothing. Each end is client and server, with one [`Identity`] that follows its files.
//!
//! Deliberately absent: TLS of the data path, and anything that knows Kubernetes.

mod role;

mod identity;
mod limits;

mod client;
mod server;

#[cfg(feature = "authority")]
pub mod authority;

pub use client::{Client, ClientError};
pub use identity::{Files, Identity, IdentityError};
pub use role::{Role, peer_role};
pub use server::{BodyError, bind, read_body, serve};
