//! What a bucket may be called, after S3's rules for general purpose buckets.

use std::net::Ipv4Addr;

/// What people write in the place of a bucket's name, or a name that no bucket has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BucketNameError {
    /// `s3://bucket/prefix`, or another address.
    #[error("\"{given}\" is an address: write the bucket's name alone, \"{bucket}\"{}", with_prefix(.prefix))]
    Address {
        /// What was written.
        given: String,
        /// The bucket in it.
        bucket: String,
        /// What stands after the bucket, without slashes around it.
        prefix: String,
    },
    /// `arn:aws:s3:::bucket`.
    #[error("\"{given}\" is an ARN: write the bucket's name alone, \"{bucket}\"{}", with_prefix(.prefix))]
    Arn {
        /// What was written.
        given: String,
        /// The bucket in it.
        bucket: String,
        /// What stands after the bucket, without slashes around it.
        prefix: String,
    },
    /// The ARN of an access point.
    #[error("\"{0}\" is the ARN of no bucket: write a bucket's name, or an access point's alias")]
    OtherArn(String),
    /// Nothing, as in a configuration that was not filled in yet.
    #[error("is empty: name your bucket here")]
    Empty,
    /// No store takes such a name.
    #[error("\"{0}\" is no bucket's name: it has a slash, a blank or a character that no store takes")]
    Never(String),
    /// A store other than AWS may take it, AWS does not.
    #[error("\"{given}\" is no bucket's name at AWS: {why}")]
    Aws {
        /// What was written.
        given: String,
        /// The rule that it breaks.
        why: &'static str,
    },
}

fn with_prefix(prefix: &str) -> String {
    if prefix.is_empty() { String::new() } else { format!(", and \"{prefix}/\" as the prefix") }
}

/// What is wrong with `name` as a bucket's name; `Ok` for what AWS takes.
///
/// [`BucketNameError::Aws`] is the only kind that another store may take.
pub fn check_bucket_name(name: &str) -> Result<(), BucketNameError> {
    let given = || name.to_owned();
    let split = |rest: &str| {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        (bucket.to_owned(), prefix.trim_matches('/').to_owned())
    };
    if let Some((scheme, rest)) = name.split_once("://") {
        if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(BucketNameError::Never(given()));
        }
        // Of a web address nobody can say what in it is the bucket.
        let (bucket, prefix) = if scheme.starts_with("http") { Default::default() } else { split(rest) };
        return Err(BucketNameError::Address {
            given: given(),
            bucket: if bucket.is_empty() { "my-bucket".to_owned() } else { bucket },
            prefix,
        });
    }
    if let Some(rest) = name.strip_prefix("arn:") {
        // arn:PARTITION:s3:::BUCKET/PREFIX; an access point's has a region and an account.
        let parts: Vec<_> = rest.splitn(5, ':').collect();
        return Err(match parts[..] {
            [_, "s3", "", "", bucket] if !bucket.is_empty() => {
                let (bucket, prefix) = split(bucket);
                BucketNameError::Arn { given: given(), bucket, prefix }
            }
            _ => BucketNameError::OtherArn(given()),
        });
    }
    if name.is_empty() {
        return Err(BucketNameError::Empty);
    }
    if name.contains(|c: char| c == '/' || c == '\\' || c.is_whitespace() || c.is_control()) {
        return Err(BucketNameError::Never(given()));
    }
    match broken_rule(name) {
        Some(why) => Err(BucketNameError::Aws { given: given(), why }),
        None => Ok(()),
    }
}

/// AWS's "Bucket naming rules" for general purpose buckets, in the order of that page.
fn broken_rule(name: &str) -> Option<&'static str> {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    if !(3..=63).contains(&name.len()) {
        Some("it has 3 to 63 characters")
    } else if !name.bytes().all(allowed) {
        Some("it has lower-case letters, digits, dots and hyphens alone")
    } else if !ends(name.as_bytes().first()) || !ends(name.as_bytes().last()) {
        Some("it begins and ends with a letter or a digit")
    } else if name.contains("..") {
        Some("it has no two dots side by side")
    } else if name.parse::<Ipv4Addr>().is_ok() {
        Some("it is not written like an IP address")
    } else if ["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|prefix| name.starts_with(prefix)) {
        Some("names that begin with xn--, sthree- or amzn-s3-demo- are reserved")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_bucket_s_name_says_what_to_write() {
        for name in ["b-1", "my.bucket-2", "a23", &"x".repeat(63)] {
            assert_eq!(check_bucket_name(name), Ok(()), "{name}");
        }
        for (name, said) in [
            ("s3://b/x", "write the bucket's name alone, \"b\", and \"x/\" as the prefix"),
            ("s3://b", "write the bucket's name alone, \"b\""),
            ("https://b.s3.amazonaws.com/x", "write the bucket's name alone, \"my-bucket\""),
            ("arn:aws:s3:::b", "is an ARN: write the bucket's name alone, \"b\""),
            ("arn:aws-cn:s3:::b/x/*", "\"b\", and \"x/*/\" as the prefix"),
            ("arn:aws:s3:eu-west-1:123456789012:accesspoint/a", "access point's alias"),
            ("b/x", "no bucket's name"),
            ("my bucket", "no bucket's name"),
            ("", "name your bucket"),
        ] {
            let error = check_bucket_name(name).expect_err(name).to_string();
            assert!(error.contains(said), "{name}: {error}");
        }
    }

    #[test]
    fn what_another_store_may_take_breaks_a_rule_of_aws_alone() {
        for (name, said) in [
            ("ab", "3 to 63"),
            ("My_Bucket", "lower-case letters"),
            ("-abc", "begins and ends"),
            ("a..b", "two dots"),
            ("127.0.0.1", "IP address"),
            ("xn--abc", "reserved"),
        ] {
            let error = check_bucket_name(name).expect_err(name);
            assert!(matches!(&error, BucketNameError::Aws { why, .. } if why.contains(said)), "{error}");
        }
    }
}
