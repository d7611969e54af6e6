//! Parses a trace of strace: the receiver's changes to its journal's files, and its responses.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// The traced calls: all that change files, or send.
pub const CALLS: &str = "trace=openat,pwrite64,write,writev,sendto,fdatasync,fsync,ftruncate,unlink,rename,mkdir,\
                         pwritev,pwritev2,fallocate,unlinkat,renameat,renameat2,mkdirat,sync_file_range,msync";

/// A connection's ports: the receiver's and the sender's.
pub type Ports = (u16, u16);

/// A step of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Mkdir(PathBuf),
    /// Opened with `O_CREAT`: created if it did not exist.
    Create(PathBuf),
    Unlink(PathBuf),
    Write {
        file: PathBuf,
        at: usize,
        data: Vec<u8>,
    },
    Truncate {
        file: PathBuf,
        length: usize,
    },
    /// An fsync and its success.
    Sync {
        path: PathBuf,
        worked: bool,
    },
    /// The start of a response.
    Answer {
        on: Ports,
        status: u16,
    },
}

/// Parses a trace, limited to files below `root`.
///
/// # Panics
/// On an unknown call that changes a file, since an incomplete trace is useless.
pub fn read(text: &[u8], root: &Path) -> Vec<Step> {
    let mut begun: HashMap<&str, &str> = HashMap::new();
    let mut steps = Vec::new();
    for line in std::str::from_utf8(text).expect("strace escapes what is not ASCII").lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if let Some(start) = call.strip_suffix(" <unfinished ...>") {
            // A response may be sent before its call returns; a write or a sync counts only after its return.
            match answer(start) {
                Some(step) => steps.push(step),
                None => drop(begun.insert(thread, start)),
            }
        } else if let Some((_, end)) = call.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            if let Some(start) = begun.remove(thread) {
                steps.extend(step(&format!("{start}{end}"), root));
            }
        } else {
            steps.extend(step(call, root));
        }
    }
    steps
}

fn step(call: &str, root: &Path) -> Option<Step> {
    let (name, rest) = call.split_once('(')?;
    if let "writev" | "write" | "sendto" = name
        && let Some(step) = answer(call)
    {
        return Some(step);
    }
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let worked = !result.starts_with('-') && !result.starts_with('?');
    let arguments = arguments.trim_end().strip_suffix(')')?;
    let path = match name {
        "openat" => Path::new(arguments.split_once('"')?.1.split_once('"')?.0),
        "mkdir" | "unlink" => Path::new(arguments.split('"').nth(1)?),
        _ => Path::new(arguments.split_once('<')?.1.split_once('>')?.0),
    };
    if !path.starts_with(root) || is_ignored(path) {
        return None;
    }
    let path = path.to_owned();
    if let "fsync" | "fdatasync" = name {
        return Some(Step::Sync { path, worked });
    }
    if !worked {
        return None;
    }
    match name {
        "openat" if arguments.contains("O_TRUNC") => panic!("not understood: {call}"),
        "openat" => arguments.contains("O_CREAT").then_some(Step::Create(path)),
        "mkdir" => Some(Step::Mkdir(path)),
        "unlink" => Some(Step::Unlink(path)),
        "ftruncate" => Some(Step::Truncate { file: path, length: arguments.rsplit_once(", ")?.1.parse().ok()? }),
        "pwrite64" => {
            let (start, end) = (arguments.find('"')? + 1, arguments.rfind('"')?);
            let mut data = unescape(&arguments[start..end]);
            data.truncate(result.split(' ').next()?.parse().ok()?);
            Some(Step::Write { file: path, at: arguments.rsplit_once(", ")?.1.parse().ok()?, data })
        }
        _ => panic!("not understood: {}", &call[..call.len().min(200)]),
    }
}

/// Whether the content of a file is irrelevant: SQLite rebuilds the -shm file, an index, when the first process opens a
/// database, and the ballast has none.
pub fn is_ignored(path: &Path) -> bool {
    ["-shm", ".ballast", ".probe"].iter().any(|end| path.to_string_lossy().ends_with(end))
}

/// `writev(18<TCP:[127.0.0.1:8080->127.0.0.1:49608]>, [{iov_base="HTTP/1.1 200 OK…`
fn answer(call: &str) -> Option<Step> {
    let (head, text) = call.split_once('"')?;
    let (ours, theirs) = head.split_once("<TCP:[")?.1.split_once(']')?.0.split_once("->")?;
    let port = |address: &str| address.rsplit_once(':')?.1.parse().ok();
    let status = text.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    Some(Step::Answer { on: (port(ours)?, port(theirs)?), status: status.parse().ok()? })
}

/// Decodes strace's escapes: those of C, octal with up to three digits.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes().peekable();
    let mut data = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            data.push(byte);
            continue;
        }
        data.push(match bytes.next().expect("an escape goes on") {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'v' => 0x0b,
            b'f' => 0x0c,
            digit @ b'0'..=b'7' => {
                let mut value = u32::from(digit - b'0');
                for _ in 0..2 {
                    let Some(digit) = bytes.next_if(|next| (b'0'..=b'7').contains(next)) else { break };
                    value = value * 8 + u32::from(digit - b'0');
                }
                u8::try_from(value).expect("one byte")
            }
            itself => itself,
        });
    }
    data
}

#[test]
fn a_trace_is_read_in_order_with_its_escapes() {
    let text = br#"7 openat(AT_FDCWD</>, "/v/j/a-wal", O_RDWR|O_CREAT|O_CLOEXEC, 0644) = 12</v/j/a-wal>
7 pwrite64(12</v/j/a-wal>, "a\"\\\0\0017\377\n, \16", 11, 4120) = 11
7 fdatasync(12</v/j/a-wal> <unfinished ...>
8 writev(18<TCP:[127.0.0.1:80->127.0.0.1:49608]>, [{iov_base="HTTP/1.1 503 Service", iov_len=9}], 1) = 9
7 <... fdatasync resumed>) = -1 EIO (Input/output error) (INJECTED)
7 fsync(3</elsewhere>) = 0
7 ftruncate(12</v/j/a-wal>, 0) = 0
"#;
    let file = PathBuf::from("/v/j/a-wal");
    assert_eq!(
        read(text, Path::new("/v")),
        [
            Step::Create(file.clone()),
            Step::Write { file: file.clone(), at: 4120, data: b"a\"\\\0\x017\xff\n, \x0e".to_vec() },
            Step::Answer { on: (80, 49608), status: 503 },
            Step::Sync { path: file.clone(), worked: false },
            Step::Truncate { file, length: 0 },
        ]
    );
}
