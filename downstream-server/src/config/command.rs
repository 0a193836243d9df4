//! The command line: a flag for each setting that is no secret, and what is asked besides.

use super::keys::KEYS;

/// The command line, made from the table of settings.
pub(super) fn command() -> clap::Command {
    let plain = |name: &'static str, value: &'static str, help: &'static str| {
        clap::Arg::new(name).long(name).value_name(value).help(help)
    };
    let switch = |name: &'static str, help: &'static str| {
        clap::Arg::new(name).long(name).help(help).action(clap::ArgAction::SetTrue)
    };
    let mut command = clap::Command::new(command_line::SERVER.to_string())
        .version(env!("CARGO_PKG_VERSION"))
        .about("Takes notices, fetches the objects they name and hands them to a handler")
        .after_help(
            "Each flag is also a key of the TOML file (--s3-endpoint is endpoint in [s3]) and an environment \
             variable (SLUICEGATE_SERVER_S3_ENDPOINT). A flag wins over the environment, the environment over \
             the file. Secrets have no flag: SLUICEGATE_SERVER_NOTICES_SECRETS, \
             SLUICEGATE_SERVER_TOKENS, SLUICEGATE_SERVER_HANDLER_SECRETS and \
             SLUICEGATE_SERVER_S3_SECRET_ACCESS_KEY.",
        )
        .args_conflicts_with_subcommands(true)
        .subcommand(
            clap::Command::new("secret")
                .about("Make what a sender of notices, or the receiver of the http handler, shares with this server")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(clap::Command::new("new").about("Print a new secret: whsec_ and 32 random bytes in base64")),
        )
        .arg(plain("config", "FILE", "TOML file with settings"))
        .arg(plain("ready-file", "FILE", "file that is written, with the addresses, once the server answers"))
        .arg(switch("check-config", "check the settings, report every mistake, and end"))
        .arg(switch("print-config", "print the settings as they are after all layers, and end"))
        .arg(switch("health", "ask the server that runs with these settings whether it is ready, and end"))
        .arg(plain("generate", "DIR", "write man pages and shell completions below DIR, such as ~/.local/share, and end"));
    for key in KEYS.iter().filter(|key| !key.secret) {
        let help = match key.default {
            Some(default) => format!("{} [default: {default}]", key.help),
            None => key.help.to_owned(),
        };
        let arg = clap::Arg::new(key.name).long(key.flag()).value_name(key.value).help(help);
        command = command.arg(arg);
    }
    command
}
