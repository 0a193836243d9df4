//! TLS by a certificate and its key in PEM files, which may be read anew while connections go on.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What a listener shows of itself: TLS 1.2 or 1.3, HTTP/1.1, no certificate asked of the client.
#[derive(Clone)]
pub struct Tls {
    files: Arc<Files>,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read, or is no PEM, or holds nothing of the kind.
    #[error("reading {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The two do not belong together, or are of a kind that is not supported.
    #[error("the certificate in {} with the key in {}: {source}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with them.
        source: rustls::Error,
    },
}

/// How much is read of a connection at once: two records. rustls by itself asks for 4 KiB, so that a full record takes
/// five calls.
const READ_BYTES: usize = 33 << 10;

impl Tls {
    /// Reads the chain, the server's own certificate first, and its key.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        let current = Arc::new(RwLock::new(Arc::new(files.read()?)));
        Ok(Self { files: Arc::new(files), current })
    }

    /// Reads the files again, for connections from now on. After a failure the old pair stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let read = Arc::new(self.files.read()?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    /// Reads the files again at each SIGHUP, for ever.
    pub async fn reload_at_hangup(self) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => return tracing::error!(%error, "listening for SIGHUP"),
        };
        while hangups.recv().await.is_some() {
            match self.reload() {
                Ok(()) => {
                    let certificate = self.files.certificate.display();
                    tracing::info!(%certificate, "read the certificate again");
                }
                Err(error) => tracing::error!(%error, "the certificate stays as it was"),
            }
        }
    }

    /// Shakes hands. Bound it in time: a client may say nothing.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<BufReader<TcpStream>>> {
        let config = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        TlsAcceptor::from(config).accept(BufReader::with_capacity(READ_BYTES, stream)).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

impl Files {
    fn read(&self) -> Result<ServerConfig, TlsError> {
        let file = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::File { path, source }
        };
        let chain: Vec<_> = read_pem(&self.certificate)
            .and_then(|text| CertificateDer::pem_slice_iter(&text).collect())
            .map_err(file(&self.certificate))?;
        if chain.is_empty() {
            return Err(file(&self.certificate)(pem::Error::NoItemsFound));
        }
        let key = read_pem(&self.key)
            .and_then(|text| PrivateKeyDer::from_pem_slice(&text))
            .map_err(file(&self.key))?;
        let pair =
            |source| TlsError::Pair { certificate: self.certificate.clone(), key: self.key.clone(), source };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// The file without the byte order mark that some editors write: the first line is one that counts.
fn read_pem(path: &Path) -> Result<Vec<u8>, pem::Error> {
    let mut text = std::fs::read(path).map_err(pem::Error::Io)?;
    if text.starts_with(b"\xef\xbb\xbf") {
        text.drain(..3);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tempfile::TempDir;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;

    use super::*;

    /// Writes a new certificate and its key, and returns the certificate.
    fn renew(dir: &TempDir) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(dir.path().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }

    fn load(dir: &TempDir) -> Result<Tls, TlsError> {
        Tls::load(&dir.path().join("cert.pem"), &dir.path().join("key.pem"))
    }

    /// The certificate that a client sees that trusts `trusted` alone.
    async fn seen(tls: &Tls, trusted: &CertificateDer<'static>) -> io::Result<CertificateDer<'static>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let stream = TcpStream::connect(listener.local_addr()?);
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let client = async {
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream.await?).await?;
            let chain = stream.get_ref().1.peer_certificates().unwrap();
            Ok(chain[0].clone().into_owned())
        };
        let server = async { tls.accept(listener.accept().await?.0).await };
        let (seen, _served) = tokio::join!(client, server);
        seen
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_shown_after_a_reload_and_a_broken_one_changes_nothing() {
        let dir = TempDir::new().unwrap();
        let first = renew(&dir);
        let tls = load(&dir).unwrap();
        assert_eq!(seen(&tls, &first).await.unwrap(), first);
        let second = renew(&dir);
        for name in ["cert.pem", "key.pem"] {
            let text = std::fs::read_to_string(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name), format!("\u{feff}{text}")).unwrap();
        }
        tls.reload().unwrap();
        assert_eq!(seen(&tls, &second).await.unwrap(), second);
        assert!(seen(&tls, &first).await.is_err(), "the old one is shown no more");
        std::fs::write(dir.path().join("cert.pem"), "half a fi").unwrap();
        tls.reload().unwrap_err();
        assert_eq!(seen(&tls, &second).await.unwrap(), second);
    }

    #[test]
    fn what_is_wrong_with_a_file_names_the_file() {
        let dir = TempDir::new().unwrap();
        let text = |error: Result<Tls, TlsError>| error.unwrap_err().to_string();
        assert!(text(load(&dir)).contains("cert.pem"));
        renew(&dir);
        std::fs::write(dir.path().join("key.pem"), "").unwrap();
        assert!(text(load(&dir)).contains("key.pem"));
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(dir.path().join("key.pem"), other.signing_key.serialize_pem()).unwrap();
        let wrong = text(load(&dir));
        assert!(wrong.contains("the certificate in ") && wrong.contains("with the key in "), "{wrong}");
    }
}
