//! TLS for a case that sends over it: a certificate made for the run, and a client that trusts it alone.

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const NAME: &str = "localhost";

/// What trusts the certificate of one run.
#[derive(Clone)]
pub(crate) struct Client(Arc<ClientConfig>);

impl Client {
    /// Makes a certificate and its key: `certificate.pem` and `key.pem` in `dir`.
    pub(crate) fn new(dir: &Path) -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).context("making a certificate")?;
        std::fs::write(dir.join("certificate.pem"), made.cert.pem())?;
        std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem())?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(Self(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
    }

    /// A connection over `stream`; the handshake comes with the first bytes.
    pub(crate) fn over(&self, stream: TcpStream) -> anyhow::Result<StreamOwned<ClientConnection, TcpStream>> {
        let connection = ClientConnection::new(Arc::clone(&self.0), ServerName::try_from(NAME)?)?;
        Ok(StreamOwned::new(connection, stream))
    }
}
