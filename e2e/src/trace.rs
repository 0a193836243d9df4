//! What a program asked of the kernel, and in which order: it runs under `strace`, which writes a
//! line for each call, and can delay calls or make them fail.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::process::{Program, Running};

/// The calls that are written down: syncs, writes to files, and both directions of sockets.
const TRACED: &str =
    "trace=fdatasync,fsync,sync_file_range,pwrite64,pwritev,write,writev,sendto,sendmsg,recvfrom";

/// One call of one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name, such as `fdatasync`.
    pub name: String,
    /// The file or socket that it was about, as `strace -y` writes it: `21</dir/file>`.
    pub file: String,
    /// The arguments behind the file, as text; bytes that are printable stand in it as they are.
    pub rest: String,
    /// What it answered, as text: `0`, or `-1 EIO (Input/output error) (INJECTED)`.
    pub answer: String,
    /// The lines of the log at which it began and ended; what ended before another began has the
    /// lower number.
    pub begun: usize,
    /// See `begun`.
    pub ended: usize,
}

/// `program`, but under `strace` with this `-e inject=`, its calls in the file that is returned.
pub fn traced(program: &Program, inject: Option<&str>) -> (Program, PathBuf) {
    let log = program.log.with_extension("strace");
    let mut args: Vec<OsString> = ["-f", "-ttt", "-y", "-s", "65536", "-e", TRACED].map(Into::into).into();
    if let Some(inject) = inject {
        args.extend(["-e".into(), format!("inject={inject}").into()]);
    }
    // However strace ends, what it started ends with it.
    args.extend(["-o".into(), log.clone().into(), "setpriv".into(), "--pdeathsig".into(), "KILL".into()]);
    args.push(program.file.clone().into());
    args.extend(program.args.iter().cloned());
    (Program { file: "strace".into(), args, ..program.clone() }, log)
}

/// The process that strace has started.
pub fn tracee(strace: &Running) -> u32 {
    let pid = strace.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let child = children.ok().and_then(|children| children.split_whitespace().next()?.parse().ok());
    child.expect("strace has started the program")
}

/// Every call in the log, in the order in which they ended.
pub fn calls(log: &Path) -> Vec<Call> {
    let text = std::fs::read(log).expect("strace writes a log");
    parse(&String::from_utf8_lossy(&text))
}

/// Every call in a part of a log, in the order in which they ended.
///
/// A line is `THREAD TIME NAME(FILE, REST) = ANSWER`. Where another thread came in between it is
/// two: `THREAD TIME NAME(FILE, .. <unfinished ...>` and `THREAD TIME <... NAME resumed>..) = ANSWER`.
pub fn parse(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: Vec<(String, usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        // Threads are padded to one width.
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((_, text)) = rest.trim_start().split_once(' ') else { continue };
        if let Some(begin) = text.strip_suffix(" <unfinished ...>") {
            unfinished.push((thread.to_owned(), number, begin.to_owned()));
        } else if text.starts_with("<... ") {
            let Some(at) = unfinished.iter().position(|(other, ..)| other == thread) else { continue };
            let (_, begun, begin) = unfinished.swap_remove(at);
            let end = text.split_once("resumed>").map_or("", |(_, end)| end);
            calls.extend(call(&format!("{begin}{end}"), begun, number));
        } else {
            calls.extend(call(text, number, number));
        }
    }
    calls
}

fn call(text: &str, begun: usize, ended: usize) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, answer) = rest.rsplit_once(") = ").or_else(|| rest.rsplit_once(")  = "))?;
    let (file, rest) = arguments.split_once(", ").unwrap_or((arguments, ""));
    let owned = str::to_owned;
    Some(Call {
        name: owned(name),
        file: owned(file),
        rest: owned(rest),
        answer: owned(answer),
        begun,
        ended,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_threads_that_interleave_are_put_together() {
        let log = "\
7  1.1 fdatasync(9</d/a.seg> <unfinished ...>
18 1.2 sendto(20<socket:[5]>, \"OK\\n\", 3, MSG_NOSIGNAL, NULL, 0) = 3
7  1.3 <... fdatasync resumed>) = -1 EIO (Input/output error) (INJECTED)
7  1.4 +++ exited with 74 +++
";
        let calls = parse(log);
        let seen: Vec<_> = calls.iter().map(|call| (call.name.as_str(), call.begun, call.ended)).collect();
        assert_eq!(seen, [("sendto", 1, 1), ("fdatasync", 0, 2)]);
        assert_eq!((calls[0].file.as_str(), calls[0].answer.as_str()), ("20<socket:[5]>", "3"));
        assert_eq!(calls[1].file, "9</d/a.seg>");
        assert!(calls[1].answer.starts_with("-1 EIO"));
    }
}
