//! TLS between the programs of Rolecall and the servers they use: whom a program trusts, what it shows itself, and the
//! one switch that allows plain text.
//!
//! Every connection is verified by TLS unless its own setting says otherwise (a DSN's `sslmode`, a URL's scheme, Kafka's
//! protocol, no certificate to serve with), and such a setting is refused at the start unless `ROLECALL_PLAINTEXT=allowed`.
//!
//! To add a connection: take its client from [`Trust::http`], or its files from [`Trust`], and refuse its plain form by
//! [`Trust::permit`].

mod certificate;
mod error;
mod trust;

pub use certificate::{Certificate, CertificateFiles};
pub use error::Error;
pub use trust::{Plaintext, Trust};
