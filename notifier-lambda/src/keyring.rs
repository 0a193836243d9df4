//! The secret that signs, from wherever it is kept, read again when it may have changed.
//!
//! A secret is changed without a pause: the server is told the new one beside the old, then the place
//! that this reads is changed, then the server is told to forget the old one. The new secret is taken
//! up once the old is `ttl` old, or at once when the server answers 401.

use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use contract::signature::{Secret, SecretError, Signer};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::relay::chain;
use crate::secrets_manager::{SecretsManager, SecretsManagerError};

/// After a 401 with a secret that turned out to be the current one, nobody looks again for so long.
const NOT_AGAIN_FOR: Duration = Duration::from_secs(1);

/// Where the secret is kept.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// In the environment; it changes with the next start only.
    Value(Secret),
    /// In a file.
    File(PathBuf),
    /// In AWS Secrets Manager, under this name or ARN; its version `AWSCURRENT`.
    SecretsManager(String),
}

/// Why the secret cannot be read. No text shows it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The file cannot be read.
    #[error("reading the secret from \"{}\"", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Secrets Manager does not give it.
    #[error("asking Secrets Manager for \"{id}\"")]
    SecretsManager {
        /// Name or ARN.
        id: String,
        /// Why not.
        #[source]
        source: SecretsManagerError,
    },
    /// It is there, and is no secret.
    #[error("the secret cannot be used")]
    Unusable(#[from] SecretError),
    /// No answer.
    #[error("reading the secret took longer than {0:?}")]
    TooSlow(Duration),
}

/// The secret now, and how to read it again.
#[derive(Debug)]
pub struct Keyring {
    place: Place,
    ttl: Duration,
    patience: Duration,
    held: Mutex<Held>,
}

/// A signer, and which one in the order of their reading.
#[derive(Debug, Clone)]
pub struct Key {
    /// Signs with the secret.
    pub signer: Signer,
    generation: u64,
}

#[derive(Debug)]
enum Place {
    Fixed,
    File(PathBuf),
    SecretsManager { manager: SecretsManager, id: String },
}

#[derive(Debug)]
struct Held {
    secret: Secret,
    key: Key,
    read_at: Instant,
    found_unchanged_at: Option<Instant>,
}

impl Keyring {
    /// Reads the secret for the first time. It is read again after `ttl`; no reading takes longer
    /// than `patience`.
    pub async fn open(source: SecretSource, ttl: Duration, patience: Duration) -> Result<Self, KeyringError> {
        let (place, secret) = match source {
            SecretSource::Value(secret) => (Place::Fixed, Some(secret)),
            SecretSource::File(path) => (Place::File(path), None),
            SecretSource::SecretsManager(id) => match SecretsManager::from_env(&id) {
                Ok(manager) => (Place::SecretsManager { manager, id }, None),
                Err(source) => return Err(KeyringError::SecretsManager { id, source }),
            },
        };
        let secret = match secret {
            Some(secret) => secret,
            None => place.read(patience).await?.expect("only a fixed place has nothing to read"),
        };
        let key = Key { signer: Signer::new(&secret), generation: 0 };
        let held = Held { secret, key, read_at: Instant::now(), found_unchanged_at: None };
        Ok(Self { place, ttl, patience, held: Mutex::new(held) })
    }

    /// The key to sign with. A secret that cannot be read again is used further: the server decides.
    pub async fn current(&self) -> Key {
        let mut held = self.held.lock().await;
        if held.read_at.elapsed() >= self.ttl {
            self.read_again(&mut held).await;
        }
        held.key.clone()
    }

    /// Another key than `refused`, which the server did not take, if there is one by now.
    pub async fn instead_of(&self, refused: &Key) -> Option<Key> {
        let mut held = self.held.lock().await;
        let looked = held.found_unchanged_at.is_some_and(|at| at.elapsed() < NOT_AGAIN_FOR);
        if held.key.generation == refused.generation && !looked {
            self.read_again(&mut held).await;
            held.found_unchanged_at = (held.key.generation == refused.generation).then(Instant::now);
        }
        (held.key.generation != refused.generation).then(|| held.key.clone())
    }

    async fn read_again(&self, held: &mut Held) {
        held.read_at = Instant::now();
        match self.place.read(self.patience).await {
            Ok(Some(secret)) if secret != held.secret => {
                info!("the secret has changed; signing with the new one");
                held.key = Key { signer: Signer::new(&secret), generation: held.key.generation + 1 };
                held.secret = secret;
            }
            Ok(_) => {}
            Err(error) => warn!(reason = chain(&error), "the secret cannot be read again"),
        }
    }
}

impl Place {
    /// What is kept there now; `None` where nothing ever changes.
    async fn read(&self, patience: Duration) -> Result<Option<Secret>, KeyringError> {
        let text = match self {
            Self::Fixed => return Ok(None),
            Self::File(path) => {
                // Small and local, and no thread of its own for it.
                std::fs::read_to_string(path)
                    .map_err(|source| KeyringError::File { path: path.clone(), source })?
            }
            Self::SecretsManager { manager, id } => {
                let answer = timeout(patience, manager.get(id)).await;
                let answer = answer.map_err(|_| KeyringError::TooSlow(patience))?;
                answer.map_err(|source| KeyringError::SecretsManager { id: id.clone(), source })?
            }
        };
        Ok(Some(Secret::from_str(&text)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn write(file: &tempfile::NamedTempFile, secret: &str) {
        std::fs::write(file.path(), secret).unwrap();
    }

    async fn keyring(file: &tempfile::NamedTempFile, ttl: Duration) -> Keyring {
        let source = SecretSource::File(file.path().to_owned());
        Keyring::open(source, ttl, Duration::from_secs(5)).await.unwrap()
    }

    fn signature(key: &Key) -> String {
        key.signer.sign("id", 1, b"body")
    }

    #[tokio::test]
    async fn a_secret_is_read_again_when_it_is_old_and_kept_while_it_cannot_be_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(&file, "the first of two secrets");
        let keyring = keyring(&file, Duration::ZERO).await;
        let first = signature(&keyring.current().await);
        write(&file, "the second of two secrets");
        let second = signature(&keyring.current().await);
        assert_ne!(first, second);
        write(&file, "short");
        assert_eq!(signature(&keyring.current().await), second);
    }

    #[tokio::test]
    async fn within_its_time_a_secret_is_read_again_only_when_it_was_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(&file, "the first of two secrets");
        let keyring = keyring(&file, LONG).await;
        let first = keyring.current().await;
        write(&file, "the second of two secrets");
        assert_eq!(signature(&keyring.current().await), signature(&first));
        let second = keyring.instead_of(&first).await.unwrap();
        assert_ne!(signature(&second), signature(&first));
        assert_eq!(signature(&keyring.current().await), signature(&second));
        // Whoever was refused at the same time is given what has been read meanwhile.
        assert_eq!(signature(&keyring.instead_of(&first).await.unwrap()), signature(&second));
        assert!(keyring.instead_of(&second).await.is_none(), "there is no third");
    }

    #[tokio::test]
    async fn a_secret_in_the_environment_never_changes() {
        let secret = "a secret in the environment".parse().unwrap();
        let keyring = Keyring::open(SecretSource::Value(secret), Duration::ZERO, LONG).await.unwrap();
        let key = keyring.current().await;
        assert!(keyring.instead_of(&key).await.is_none());
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_or_holds_no_secret_is_an_error_that_shows_nothing_of_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(&file, "hidden");
        let open = async |path: PathBuf| {
            let error = Keyring::open(SecretSource::File(path), LONG, LONG).await.unwrap_err();
            chain(&error)
        };
        let unusable = open(file.path().to_owned()).await;
        assert!(unusable.contains("has 6 bytes") && !unusable.contains("hidden"), "{unusable}");
        assert!(
            open("/does/not/exist".into()).await.starts_with("reading the secret from \"/does/not/exist\"")
        );
    }
}
