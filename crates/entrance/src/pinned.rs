//! Asking a listener of our own over TLS: it must show the very certificate of its configuration, whoever signed it
//! and whatever names it has.

use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    StreamOwned,
};

/// TLS over `stream` with whoever shows the first certificate of this PEM file, and nobody else.
///
/// # Errors
/// The file cannot be read. A wrong certificate fails the first write.
pub fn pinned(certificate: &Path, stream: TcpStream) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let own = CertificateDer::from_pem_file(certificate)
        .map_err(|error| io::Error::other(format!("reading {}: {error}", certificate.display())))?;
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Own { certificate: own, provider: Arc::clone(&provider) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let name = ServerName::IpAddress(stream.peer_addr()?.ip().into());
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

/// Trusts one certificate. That its holder has the key is verified as ever.
#[derive(Debug)]
struct Own {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Own {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *shown == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, shown, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, shown, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn only_the_very_certificate_is_spoken_to_whatever_its_names_are() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = |name: &str| dir.path().join(name);
        let make = |name: &str| {
            let made = rcgen::generate_simple_self_signed(["somewhere.example".to_owned()]).unwrap();
            std::fs::write(file(&format!("{name}.pem")), made.cert.pem()).unwrap();
            std::fs::write(file(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
        };
        make("own");
        make("other");
        let tls = crate::Tls::load(&file("own.pem"), &file("own.key")).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for (trusted, spoken) in [("own.pem", true), ("other.pem", false)] {
            let certificate = file(trusted);
            let client = tokio::task::spawn_blocking(move || {
                let mut stream = pinned(&certificate, TcpStream::connect(address)?)?;
                stream.write_all(b"x")?;
                stream.read_exact(&mut [0])
            });
            if let Ok(mut server) = tls.accept(listener.accept().await.unwrap().0).await
                && let Ok(byte) = server.read_u8().await
            {
                server.write_u8(byte).await.unwrap();
            }
            assert_eq!(client.await.unwrap().is_ok(), spoken, "{trusted}");
        }
        let stream = TcpStream::connect(address).unwrap();
        assert!(pinned(&file("none.pem"), stream).unwrap_err().to_string().contains("none.pem"));
    }
}
