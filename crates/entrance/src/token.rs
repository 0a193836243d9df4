//! Bearer tokens: each has a name, by which logs and idempotency keys know its holder.

use std::fmt;

use ::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The shortest token, in characters: too long to be guessed, if it is random.
const MIN_CHARS: usize = 16;

/// What is compared in place of the tokens themselves.
const PROOF: &[u8] = b"sluicegate token 1";

/// The tokens that let somebody in. It never shows one.
#[derive(Clone, Default)]
pub struct Tokens(Vec<Token>);

#[derive(Clone)]
struct Token {
    name: String,
    keyed: Hmac<Sha256>,
}

/// Why a text is no token with its name. It never shows the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is no name before it.
    #[error("a token is written NAME:TOKEN, with a name of letters, digits, `-`, `_` or `.`")]
    Name,
    /// It is so short that it could be guessed.
    #[error(
        "the token of {name} has {chars} characters; at least {MIN_CHARS} are needed, 32 random ones are good"
    )]
    TooShort {
        /// Its name.
        name: String,
        /// Its characters.
        chars: usize,
    },
    /// It has characters that a header does not carry.
    #[error("the token of {0} has other characters than letters, digits and -._~+/=")]
    Characters(String),
    /// Two tokens are the same, so that nobody could tell their holders apart.
    #[error("the tokens of {0} and {1} are the same")]
    Same(String, String),
}

impl Tokens {
    /// Adds what `text` says: `NAME:TOKEN`. A name may have several tokens, so that one can be
    /// changed without a pause.
    pub fn add(&mut self, text: &str) -> Result<(), TokenError> {
        let (name, token) = text.trim().split_once(':').ok_or(TokenError::Name)?;
        let letters = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(letters) {
            return Err(TokenError::Name);
        }
        let name = name.to_owned();
        let chars = token.chars().count();
        if chars < MIN_CHARS {
            return Err(TokenError::TooShort { name, chars });
        }
        if !token.chars().all(|c| c.is_ascii_alphanumeric() || "-._~+/=".contains(c)) {
            return Err(TokenError::Characters(name));
        }
        if let Some(other) = self.holder(token) {
            return Err(TokenError::Same(other.to_owned(), name));
        }
        self.0.push(Token { name, keyed: keyed(token.as_bytes()) });
        Ok(())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of the token that was said. Every token is looked at, and each comparison takes
    /// the same time wherever the two differ.
    pub fn holder(&self, said: &str) -> Option<&str> {
        let proof = keyed(said.as_bytes()).finalize().into_bytes();
        let fits = |token: &Token| token.keyed.clone().verify_slice(&proof).is_ok();
        self.0.iter().fold(None, |found, token| if fits(token) { Some(token.name.as_str()) } else { found })
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|token| &token.name)).finish()
    }
}

/// The token that a request says: `Authorization: Bearer TOKEN`, or the password of `Basic`,
/// which is how a browser asks a person. `Some("")` is a header that says none.
pub fn said(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?;
    let token = || {
        let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(rest.to_owned());
        }
        let basic = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(rest).ok())??;
        String::from_utf8(basic).ok()?.split_once(':').map(|(_, password)| password.to_owned())
    };
    Some(token().unwrap_or_default())
}

fn keyed(token: &[u8]) -> Hmac<Sha256> {
    let mut keyed = Hmac::new_from_slice(token).expect("HMAC takes a key of any length");
    keyed.update(PROOF);
    keyed
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn tokens(texts: &[&str]) -> Result<Tokens, TokenError> {
        let mut tokens = Tokens::default();
        texts.iter().try_for_each(|text| tokens.add(text))?;
        Ok(tokens)
    }

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn a_token_lets_its_holder_in_and_nothing_else_does() {
        let tokens =
            tokens(&[&format!("ops:{TOKEN}"), "ops:another-token-of-ops", "ci.2:token-of-the-robot"]);
        let tokens = tokens.unwrap();
        assert_eq!(tokens.holder(TOKEN), Some("ops"));
        assert_eq!(tokens.holder("another-token-of-ops"), Some("ops"));
        assert_eq!(tokens.holder("token-of-the-robot"), Some("ci.2"));
        for wrong in ["", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0", "ops:0123456789abcdef"]
        {
            assert_eq!(tokens.holder(wrong), None, "{wrong}");
        }
        assert_eq!(Tokens::default().holder(""), None);
    }

    #[test]
    fn a_token_is_said_as_bearer_or_as_the_password_of_basic() {
        assert_eq!(said(&HeaderMap::new()), None);
        assert_eq!(said(&headers(&format!("bearer  {TOKEN}"))), Some(TOKEN.to_owned()));
        let basic = STANDARD.encode(format!("anybody:{TOKEN}"));
        assert_eq!(said(&headers(&format!("Basic {basic}"))), Some(TOKEN.to_owned()));
        for nothing in ["", "Bearer", "Basic !", "Basic aGVsbG8=", "Digest x", TOKEN] {
            assert_eq!(said(&headers(nothing)), Some(String::new()), "{nothing}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_without_showing_it() {
        for text in [TOKEN, ":0123456789abcdef", "a b:0123456789abcdef", "ops:short", "ops:0123456789 abcdef"]
        {
            let error = tokens(&[text]).unwrap_err().to_string();
            assert!(!error.contains("0123456789") && !error.contains("short;"), "{error}");
        }
        let same = tokens(&[&format!("a:{TOKEN}"), &format!("b:{TOKEN}")]).unwrap_err();
        assert_eq!(same.to_string(), "the tokens of a and b are the same");
        let shown = format!("{:?}", tokens(&[&format!("ops:{TOKEN}")]).unwrap());
        assert_eq!(shown, "[\"ops\"]");
    }
}
