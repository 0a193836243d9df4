//! A server behind TLS, with an authority of its own.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::serve::Listener;
use notifier_lambda::{InvocationError, Notifier};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::{answer, config, fixture, plenty};

/// An HTTPS server that takes everything, and the PEM of the authority that vouches for it.
async fn serve() -> (String, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], private)
        .unwrap();

    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/v1/notices", tcp.local_addr().unwrap());
    let app = Router::new().fallback(async || StatusCode::ACCEPTED);
    let listener = Tls { tcp, acceptor: TlsAcceptor::from(Arc::new(tls)) };
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, authority.pem())
}

struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, peer) = self.tcp.accept().await.unwrap();
            // Whoever does not trust the server ends the handshake.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

#[tokio::test]
async fn a_server_is_trusted_by_its_own_authority_from_the_environment_or_a_file() {
    let (url, pem) = serve().await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    let in_one_line = pem.replace('\n', "\\n");
    for (name, value) in [
        ("SLUICEGATE_NOTIFY_CA", &*pem),
        ("SLUICEGATE_NOTIFY_CA", &in_one_line),
        ("SLUICEGATE_NOTIFY_CA_FILE", file.path().to_str().unwrap()),
    ] {
        let notifier = Notifier::open(&config(&url, &[(name, value)])).await.unwrap();
        assert_eq!(answer(&notifier, fixture!("put")).await["relayed"], 1, "{name}");
    }
}

#[tokio::test]
async fn i7_a_server_that_nobody_known_vouches_for_gets_no_notice() {
    let (url, _) = serve().await;
    let (_, another) = serve().await;
    for changes in [&[][..], &[("SLUICEGATE_NOTIFY_CA", &*another)]] {
        let notifier = Notifier::open(&config(&url, changes)).await.unwrap();
        let soon = tokio::time::Instant::now() + std::time::Duration::from_millis(300);
        let error = notifier.handle(fixture!("put"), soon.min(plenty())).await.unwrap_err();
        let InvocationError::NotRelayed { reasons, .. } = error else { panic!("{error:?}") };
        assert!(reasons[0].contains("certificate"), "{reasons:?}");
    }
}
