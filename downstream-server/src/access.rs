//! Who may read what has arrived, and who may change something.
//!
//! A token, said as `Authorization: Bearer` or as the password of `Basic` (a browser asks a
//! person for it), opens everything from everywhere. Without one, reading is for this machine
//! alone, and whatever changes something is for nobody.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use contract::exit;
use entrance::{Tokens, said};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::app::{App, Peer};
use crate::config::ReadFrom;
use crate::error::ApiError;

/// File in the server's folder with the token that it made for itself.
pub(crate) const TOKEN_FILE: &str = "token";

/// Characters of the token in it: 256 random bits in hexadecimal.
const TOKEN_CHARS: usize = 64;

/// The token of that file is called so in the log.
const TOKEN_NAME: &str = "file";

/// Who may come in.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) tokens: Tokens,
    pub(crate) read_from: ReadFrom,
}

/// Why the server's own token could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// The file could not be read or written.
    #[error("the server's own token in {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds something else than what the server wrote there.
    #[error(
        "the server's own token in {} is damaged: it is not {TOKEN_CHARS} hexadecimal digits; delete the file for a new one, \
         or set tokens",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl TokenFileError {
    /// The process's exit code, as in [`contract::exit`].
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Damaged { .. } => exit::DATA,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => exit::PERMISSION,
            Self::Io { .. } => exit::IO,
        }
    }
}

impl Access {
    /// The configured tokens; where there is none, one in a file of `dir` that the server's own
    /// user alone can read, so that an operator on this machine needs no configuration.
    pub(crate) fn new(tokens: &Tokens, read_from: ReadFrom, dir: &Path) -> Result<Self, TokenFileError> {
        let mut tokens = tokens.clone();
        if tokens.is_empty() {
            let path = dir.join(TOKEN_FILE);
            let read =
                own_token(dir, &path).map_err(|source| TokenFileError::Io { path: path.clone(), source })?;
            let token = read.filter(|token| is_own(token));
            let added = token.is_some_and(|token| tokens.add(&format!("{TOKEN_NAME}:{token}")).is_ok());
            if !added {
                return Err(TokenFileError::Damaged { path });
            }
        }
        Ok(Self { tokens, read_from })
    }

    /// The name of the token that the request says; `None` if it says none.
    fn holder(&self, headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
        let Some(said) = said(headers) else { return Ok(None) };
        let holder = self.tokens.holder(&said);
        holder.map(Some).ok_or_else(|| {
            ApiError::new(
                StatusCode::UNAUTHORIZED,
                "token",
                "the token in the header authorization is not known here",
            )
        })
    }

    fn may_read(&self, headers: &HeaderMap, peer: SocketAddr) -> Result<(), ApiError> {
        if self.holder(headers)?.is_some() {
            return Ok(());
        }
        let here = self.read_from == ReadFrom::Loopback
            && peer.ip().to_canonical().is_loopback()
            // A page of another site can make its own name point at this machine; its requests
            // then come from here, but they carry that name.
            && names_an_address(headers)
            // A proxy on this machine speaks for somebody else.
            && !["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(|name| headers.contains_key(*name));
        if here {
            return Ok(());
        }
        let message = "without a token this is shown to the server's own machine only; send authorization: Bearer TOKEN";
        Err(ApiError::new(StatusCode::UNAUTHORIZED, "token_needed", message))
    }

    fn may_change(&self, headers: &HeaderMap) -> Result<String, ApiError> {
        // A browser sends what a person typed into its own prompt along with any site's request.
        if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
            let message = "a page of another site may not ask for this";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "cross_site", message));
        }
        self.holder(headers)?.map(str::to_owned).ok_or_else(|| {
            let message = "this needs a token, on this machine too; send authorization: Bearer TOKEN";
            ApiError::new(StatusCode::UNAUTHORIZED, "token_needed", message)
        })
    }
}

/// Lets readers pass.
pub(crate) async fn readers(
    State(app): State<App>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    match app.access.may_read(request.headers(), peer) {
        Ok(()) => next.run(request).await,
        Err(error) => refuse(&error, request.uri().path()),
    }
}

/// Lets those pass who may change something, and logs who it was.
pub(crate) async fn operators(State(app): State<App>, request: Request, next: Next) -> Response {
    match app.access.may_change(request.headers()) {
        Ok(holder) => {
            tracing::info!(token = holder, method = %request.method(), path = request.uri().path(), "asked for a change");
            next.run(request).await
        }
        Err(error) => refuse(&error, request.uri().path()),
    }
}

/// Says how a token is said. Only for the page a browser shall ask a person.
fn refuse(error: &ApiError, path: &str) -> Response {
    let mut response = error.clone().into_response();
    if error.status == StatusCode::UNAUTHORIZED {
        let how =
            if path == "/" { "Basic realm=\"Sluicegate: the token is the password\"" } else { "Bearer" };
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(how));
    }
    response
}

fn names_an_address(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// Whether it is what [`own_token`] makes: all of it, and nothing else.
fn is_own(token: &str) -> bool {
    token.len() == TOKEN_CHARS && token.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Reads the file (`None` if it holds no text), or makes it with 256 random bits: whole, or not at all. The folder is
/// locked, so nobody else makes it meanwhile.
fn own_token(dir: &Path, path: &Path) -> io::Result<Option<String>> {
    match std::fs::read(path) {
        Ok(bytes) => return Ok(String::from_utf8(bytes).ok().map(|text| text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut random = [0; TOKEN_CHARS / 2];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let token = hex::encode(random);
    let partial = dir.join(format!("{TOKEN_FILE}.partial"));
    // What a crash left of it may be there.
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    File::open(dir)?.sync_all()?;
    Ok(Some(token))
}

#[cfg(test)]
mod tests;
