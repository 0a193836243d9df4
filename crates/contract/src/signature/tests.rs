use proptest::prelude::*;

use super::*;

/// The test vector that the convention's own libraries share.
const VECTOR_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const VECTOR_ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const VECTOR_TIME: u64 = 1_614_265_330;
const VECTOR_BODY: &[u8] = br#"{"test": 2432232314}"#;
const VECTOR_SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

const TOLERANCE: Duration = Duration::from_mins(5);

fn secret(text: &str) -> Secret {
    text.parse().unwrap()
}

fn vector_headers() -> Headers<'static> {
    Headers { id: Some(VECTOR_ID), timestamp: Some("1614265330"), signature: Some(VECTOR_SIGNATURE) }
}

fn check(headers: Headers<'_>, now_s: u64) -> Result<(), SignatureError> {
    verify(&[secret(VECTOR_SECRET)], headers, VECTOR_BODY, now_s, TOLERANCE)
}

#[test]
fn the_published_test_vector_is_signed_and_verified() {
    assert_eq!(
        Signer::new(&secret(VECTOR_SECRET)).sign(VECTOR_ID, VECTOR_TIME, VECTOR_BODY),
        VECTOR_SIGNATURE
    );
    assert_eq!(check(vector_headers(), VECTOR_TIME), Ok(()));
}

#[test]
fn one_fitting_signature_among_several_is_enough() {
    for others in [
        "v1,bm9wZQ== {}",
        "{} v1,bm9wZQ==",
        "v1a,AAAA {}",
        "v1,%%% {}",
        " {}  ",
        "v1 {}",
        // As a proxy joins the lines of a header that comes twice.
        "v1,bm9wZQ==, {}",
        "v1,bm9wZQ==,{},v1a,AAAA",
    ] {
        let several = others.replace("{}", VECTOR_SIGNATURE);
        assert_eq!(
            check(Headers { signature: Some(&several), ..vector_headers() }, VECTOR_TIME),
            Ok(()),
            "{several}"
        );
    }
}

#[test]
fn one_fitting_secret_among_several_is_enough() {
    let [old, new] = [secret("an older secret that still counts"), secret(VECTOR_SECRET)];
    let both = [old.clone(), new];
    assert_eq!(verify(&both, vector_headers(), VECTOR_BODY, VECTOR_TIME, TOLERANCE), Ok(()));
    assert_eq!(
        verify(&[old], vector_headers(), VECTOR_BODY, VECTOR_TIME, TOLERANCE),
        Err(SignatureError::NoMatch)
    );
    assert_eq!(
        verify(&[], vector_headers(), VECTOR_BODY, VECTOR_TIME, TOLERANCE),
        Err(SignatureError::NoMatch)
    );
}

#[test]
fn a_genuine_message_counts_within_the_tolerance_only() {
    assert_eq!(check(vector_headers(), VECTOR_TIME + 300), Ok(()));
    assert_eq!(check(vector_headers(), VECTOR_TIME - 300), Ok(()));
    assert_eq!(check(vector_headers(), VECTOR_TIME + 301), Err(SignatureError::TooOld { seconds: 301 }));
    assert_eq!(check(vector_headers(), VECTOR_TIME - 301), Err(SignatureError::TooNew { seconds: 301 }));
}

#[test]
fn what_is_missing_or_malformed_is_named() {
    let all = vector_headers();
    let result = |headers| check(headers, VECTOR_TIME);
    assert_eq!(result(Headers { id: None, ..all }), Err(SignatureError::Missing(HEADER_ID)));
    assert_eq!(result(Headers { timestamp: None, ..all }), Err(SignatureError::Missing(HEADER_TIMESTAMP)));
    assert_eq!(result(Headers { signature: None, ..all }), Err(SignatureError::Missing(HEADER_SIGNATURE)));
    for timestamp in ["", "soon", "-1", "1614265330.0", "99999999999999999999"] {
        assert_eq!(result(Headers { timestamp: Some(timestamp), ..all }), Err(SignatureError::Timestamp));
    }
    for signature in ["", "v1,", "v1", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "v1,g0hM9SsE"] {
        assert_eq!(result(Headers { signature: Some(signature), ..all }), Err(SignatureError::NoMatch));
    }
}

#[test]
fn a_secret_is_base64_after_its_prefix_and_else_the_text_itself() {
    assert_eq!(secret(VECTOR_SECRET).reveal(), VECTOR_SECRET);
    assert_eq!(secret(" 0123456789abcdef\n"), Secret::try_from(b"0123456789abcdef".as_slice()).unwrap());
    assert_eq!("whsec_not base64!".parse::<Secret>(), Err(SecretError::Base64));
    assert_eq!("short".parse::<Secret>(), Err(SecretError::TooShort { bytes: 5 }));
    assert_eq!("".parse::<Secret>(), Err(SecretError::TooShort { bytes: 0 }));
}

#[test]
fn base64_without_its_prefix_is_a_secret_in_both_of_its_meanings() {
    let encoded = VECTOR_SECRET.strip_prefix("whsec_").unwrap();
    let plain = secret(encoded);
    let (as_text, as_bytes) = (Secret::try_from(encoded.as_bytes()).unwrap(), secret(VECTOR_SECRET));
    for sender in [&plain, &as_text, &as_bytes] {
        let signature = Signer::new(sender).sign("id", 7, b"body");
        let headers = Headers { id: Some("id"), timestamp: Some("7"), signature: Some(&signature) };
        let taken = |receiver: &Secret| {
            verify(std::slice::from_ref(receiver), headers, b"body", 7, TOLERANCE).is_ok()
        };
        assert!(taken(&plain));
        assert_eq!(taken(&as_text), *sender != as_bytes);
        assert_eq!(taken(&as_bytes), *sender != as_text);
    }
    assert_eq!(secret(&plain.reveal()), plain);
    // What decodes to too little to be a secret, or to nothing, is text alone: one signature.
    for text in ["0123456789abcdef", "some words that are no base64"] {
        let signature = Signer::new(&secret(text)).sign("id", 7, b"body");
        assert_eq!(signature.split(' ').count(), 1, "{text}");
    }
}

#[test]
fn a_secret_is_read_with_its_padding_or_without_and_whatever_an_editor_put_around_it() {
    let padded = "whsec_b3RoZXJvdGhlcm90aGVyb3RoZXI=";
    for text in [padded, padded.trim_end_matches('='), "\u{feff}whsec_b3RoZXJvdGhlcm90aGVyb3RoZXI=\r\n"] {
        assert_eq!(secret(text), secret(padded), "{text:?}");
    }
}

#[test]
fn neither_a_secret_nor_its_errors_show_it() {
    let secret = secret("a very secret secret");
    assert_eq!(format!("{secret:?} {:?}", Signer::new(&secret)), "Secret(..) Signer(..)");
    for text in ["whsec_hidden!!", "hidden"] {
        let error = text.parse::<Secret>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hidden"));
    }
}

proptest! {
    #[test]
    fn every_signed_message_verifies_and_no_other_does(
        key in prop::collection::vec(any::<u8>(), 16..64),
        id in "[a-z0-9_-]{1,40}",
        time in 0..u64::from(u32::MAX),
        body in prop::collection::vec(any::<u8>(), 1..200),
        flip in any::<prop::sample::Index>(),
    ) {
        let secret = Secret::try_from(key.as_slice()).unwrap();
        let signature = Signer::new(&secret).sign(&id, time, &body);
        let timestamp = time.to_string();
        let headers = Headers { id: Some(&id), timestamp: Some(&timestamp), signature: Some(&signature) };
        let secrets = [secret.reveal().parse().unwrap()];
        prop_assert_eq!(verify(&secrets, headers, &body, time, TOLERANCE), Ok(()));

        let mut forged = body.clone();
        forged[flip.index(body.len())] ^= 1;
        prop_assert_eq!(verify(&secrets, headers, &forged, time, TOLERANCE), Err(SignatureError::NoMatch));
        let later = (time + 1).to_string();
        let moved = Headers { timestamp: Some(&later), ..headers };
        prop_assert_eq!(verify(&secrets, moved, &body, time, TOLERANCE), Err(SignatureError::NoMatch));
        let renamed = format!("{id}x");
        let renamed = Headers { id: Some(&renamed), ..headers };
        prop_assert_eq!(verify(&secrets, renamed, &body, time, TOLERANCE), Err(SignatureError::NoMatch));
    }
}
