//! Texts that people wrote, as they are read, and as they may be shown.

/// The text without the byte order mark that some editors write before it.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The text, such as a URL or a message with URLs in it, without the user names and passwords of URLs: `***@` stands for
/// them. Whatever may hold a URL is shown through this.
pub fn without_userinfo(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (scheme, after) = rest.split_at(at + "://".len());
        shown.push_str(scheme);
        let ends = |c: char| c.is_whitespace() || "/?#\\\"'`<>".contains(c);
        let (authority, behind) = after.split_at(after.find(ends).unwrap_or(after.len()));
        match authority.rfind('@') {
            Some(host) => {
                shown.push_str("***");
                shown.push_str(&authority[host..]);
            }
            None => shown.push_str(authority),
        }
        rest = behind;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_user_and_password_wherever_it_stands() {
        for (text, shown) in [
            ("https://user:hunter2@host:8443/path?q=1", "https://***@host:8443/path?q=1"),
            ("http://hunter2@host", "http://***@host"),
            ("https://user:hunt@er2@host/", "https://***@host/"),
            ("\"postgres://u:hunter2@h/d\"", "\"postgres://***@h/d\""),
            ("[\"http://a:hunter2@b\", \"http://c\"]", "[\"http://***@b\", \"http://c\"]"),
            (
                "`ftp://u:hunter2@h` is wrong, and http://v:hunter2@i too",
                "`ftp://***@h` is wrong, and http://***@i too",
            ),
            ("http://host/a@b", "http://host/a@b"),
            ("arn:aws:s3:::b, 12:30, a@b", "arn:aws:s3:::b, 12:30, a@b"),
            ("", ""),
        ] {
            assert_eq!(without_userinfo(text), shown);
            assert!(!shown.contains("hunter2"));
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_text() {
        assert_eq!(without_mark("\u{feff}a"), "a");
        assert_eq!(without_mark("a\u{feff}"), "a\u{feff}");
    }
}
