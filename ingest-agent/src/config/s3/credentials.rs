//! Who the sink is at its store.

use blob_store::Credentials;

use crate::config::section::{Keys, Section, key, optional, secret};

const KEYS: Keys = Keys {
    list: &[
        key(
            "from",
            "\"default\"",
            "\"default\" (the chain of the AWS tools), \"profile\", \"static\" or \"role\".",
        ),
        optional("profile", "The profile of the AWS configuration files."),
        optional("access_key_id", "The id of a static key."),
        secret(
            "secret_access_key",
            "The secret of a static key; write \"${env:NAME}\" to keep it out of this file.",
        ),
        secret("session_token", "The token of temporary credentials."),
        optional("role_arn", "The role to assume with the credentials of the default chain."),
        optional("external_id", "What the role's trust policy may ask for."),
        key("session_name", "\"sluicegate\"", "How the session is named in the audit log."),
    ],
    tables: &[],
    renamed: &[],
};

/// Reads `[sinks.NAME.credentials]`.
pub(super) fn read(sink: &mut Section<'_>) -> Option<Credentials> {
    const WORDS: [(&str, usize); 4] = [("default", 0), ("profile", 1), ("static", 2), ("role", 3)];
    let mut section = sink.table("credentials", KEYS);
    let from = section.choice("from", &WORDS);
    let session_name = section.get::<String>("session_name");
    let from = from?;
    for (name, belongs) in [
        ("profile", "profile"),
        ("access_key_id", "static"),
        ("secret_access_key", "static"),
        ("session_token", "static"),
        ("role_arn", "role"),
        ("external_id", "role"),
    ] {
        if belongs != WORDS[from].0 && section.is_set(name) {
            section.wrong(
                name,
                format!("is used with from = \"{belongs}\" alone; write that too, or leave this out"),
            );
        }
    }
    let mut needed = |name: &str, from: &str| {
        let value = section.optional::<String>(name)?.filter(|value| !value.is_empty());
        if value.is_none() {
            section.wrong(name, format!("is needed with from = \"{from}\""));
        }
        value
    };
    match from {
        0 => Some(Credentials::Default),
        1 => needed("profile", "profile").map(Credentials::Profile),
        2 => {
            let (id, secret) = (needed("access_key_id", "static"), needed("secret_access_key", "static"));
            let session_token = section.optional("session_token")?;
            Some(Credentials::Static { access_key_id: id?, secret_access_key: secret?, session_token })
        }
        _ => {
            let role_arn = needed("role_arn", "role");
            let external_id = section.optional("external_id")?;
            Some(Credentials::AssumeRole { role_arn: role_arn?, external_id, session_name: session_name? })
        }
    }
}
