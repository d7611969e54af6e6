//! Hostile requests, each a signed delivery except for one detail.

use super::deliveries::{Delivery, PATH};

mod framing;

/// The verdict that RFC 9110 and 9112 require.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    /// It is a valid delivery.
    Accept,
    /// It is ambiguous or forbidden: it must not count as a delivery.
    Reject,
    /// Both are allowed; the golden file has our choice.
    Choose,
}

pub struct Case {
    pub name: String,
    pub must: Must,
    pub bytes: Vec<u8>,
}

impl Case {
    /// Whether its verdict needs a timeout of the receiver.
    pub fn is_slow(&self) -> bool {
        ["length too long", "chunk last ends in LF", "chunk never last"].contains(&self.name.as_str())
    }
}

/// Creates cases, each with its own delivery.
struct Maker {
    cases: Vec<Case>,
}

/// The parts of a request.
struct Parts {
    line: String,
    /// Signature, timestamp, id; each with its line end.
    signed: String,
    body: String,
}

impl Parts {
    /// The request with the header lines `framing`, and `body` verbatim.
    fn framed(&self, framing: &str, body: &str) -> String {
        format!("{}\r\nhost: x\r\n{}{framing}\r\n{body}", self.line, self.signed)
    }

    fn sized(&self) -> String {
        self.framed(&format!("content-length: {}\r\n", self.body.len()), &self.body)
    }
}

impl Maker {
    fn add(&mut self, name: impl Into<String>, must: Must, make: impl FnOnce(&Parts) -> String) {
        self.add_bytes(name, must, |parts| make(parts).into_bytes());
    }

    fn add_bytes(&mut self, name: impl Into<String>, must: Must, make: impl FnOnce(&Parts) -> Vec<u8>) {
        let bytes = make(&parts(self.cases.len()));
        self.cases.push(Case { name: name.into(), must, bytes });
    }
}

/// The n-th delivery.
fn parts(n: usize) -> Parts {
    let text = String::from_utf8(Delivery::numbered(n).request()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let signed: String =
        head.lines().filter(|line| line.starts_with("x-linktree")).map(|line| format!("{line}\r\n")).collect();
    Parts { line: format!("POST {PATH} HTTP/1.1"), signed, body: body.to_owned() }
}

/// All cases, in the order of the golden file.
pub fn all() -> Vec<Case> {
    let mut maker = Maker { cases: Vec::new() };
    request_lines(&mut maker);
    targets(&mut maker);
    framing::lengths(&mut maker);
    framing::codings(&mut maker);
    framing::both(&mut maker);
    framing::chunks(&mut maker);
    header_bytes(&mut maker);
    header_forms(&mut maker);
    encodings(&mut maker);
    other_protocols(&mut maker);
    pipelines(&mut maker);
    maker.cases
}

fn request_lines(maker: &mut Maker) {
    let with_line = |line: String| move |parts: &Parts| Parts { line, ..copy(parts) }.sized();
    maker.add("plain", Must::Accept, Parts::sized);
    for method in
        ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "post", "POSTT", "PO ST", "P\u{f6}ST", ""]
    {
        maker.add(format!("method {method:?}"), Must::Reject, with_line(format!("{method} {PATH} HTTP/1.1")));
    }
    for version in [
        "HTTP/1.2",
        "HTTP/0.9",
        "HTTP/2.0",
        "HTTP/3",
        "HTTP/1.10",
        "http/1.1",
        "HTTP/11",
        "HTTP/1.1 x",
        "",
        "HTTP/1.1\t",
        "XTTP/1.1",
    ] {
        maker.add(format!("version {version:?}"), Must::Choose, with_line(format!("POST {PATH} {version}")));
    }
    maker.add("version 1.0", Must::Accept, with_line(format!("POST {PATH} HTTP/1.0")));
    for (name, line) in [
        ("two spaces", format!("POST  {PATH} HTTP/1.1")),
        ("tabs", format!("POST\t{PATH}\tHTTP/1.1")),
        ("leading space", format!(" POST {PATH} HTTP/1.1")),
        ("NUL", format!("POST {PATH}\0 HTTP/1.1")),
        ("bare CR", format!("POST {PATH} HTTP/1.1\rx")),
    ] {
        maker.add(format!("request line: {name}"), Must::Reject, with_line(line));
    }
    for (name, start) in [("CRLF", "\r\n"), ("two CRLF", "\r\n\r\n"), ("LF", "\n"), ("CR", "\r")] {
        maker
            .add(format!("before the request line: {name}"), Must::Choose, |parts| format!("{start}{}", parts.sized()));
    }
}

fn targets(maker: &mut Maker) {
    let target = |target: &str| {
        let line = format!("POST {target} HTTP/1.1");
        move |parts: &Parts| Parts { line, ..copy(parts) }.sized()
    };
    for good in [format!("http://x{PATH}"), format!("https://other.example{PATH}"), format!("{PATH}?a=b")] {
        maker.add(format!("target {good}"), Must::Accept, target(&good));
    }
    for bad in [
        "*",
        "/",
        "h/abc",
        "/h/abc/",
        "//h/abc",
        "/h//abc",
        "/h/./abc",
        "/x/../h/abc",
        "/h/%61bc",
        "/h/abc%00",
        "/H/abc",
        "/h/ab",
        "/h/abcd",
        "/h/abc;x",
        "/h\\abc",
        "x:80",
        "http://",
        "http://x",
        "/h/abc#x/../",
        "/h/abc/%2e%2e",
        "/metrics",
        "/status",
    ] {
        let must = if bad.contains('#') { Must::Choose } else { Must::Reject };
        maker.add(format!("target {bad}"), must, target(bad));
    }
    for length in [1_000, 10_000, 60_000] {
        maker.add(format!("target of {length}"), Must::Reject, target(&format!("/{}", "x".repeat(length))));
    }
    maker.add("target of \u{fc}", Must::Reject, target("/h/\u{fc}"));
}

fn header_bytes(maker: &mut Maker) {
    for byte in (0..=0x20u8).chain([
        0x22, 0x28, 0x29, 0x2c, 0x2f, 0x3b, 0x3c, 0x3d, 0x3e, 0x40, 0x5b, 0x5c, 0x5d, 0x7b, 0x7d, 0x7f, 0x80, 0xff,
    ]) {
        // A line end or colon in a name results in another header, which is another case.
        maker.add_bytes(format!("byte {byte:#04x} in a name"), Must::Choose, |parts| {
            let (line, rest) = parts.sized().split_once("\r\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
            [line.as_bytes(), b"\r\na", &[byte], b"b: c\r\n", rest.as_bytes()].concat()
        });
    }
    for byte in (0..=0x1fu8).chain([0x7f]) {
        let must = if byte == b'\t' { Must::Reject } else { Must::Choose };
        maker.add_bytes(format!("byte {byte:#04x} in the signature"), must, |parts| {
            let mut bytes = parts.sized().into_bytes();
            let at = bytes.windows(11).position(|window| window == b"signature: ").unwrap() + 20;
            bytes.insert(at, byte);
            bytes
        });
    }
}

fn header_forms(maker: &mut Maker) {
    let lines = |extra: String| {
        move |parts: &Parts| parts.framed(&format!("content-length: {}\r\n{extra}", parts.body.len()), &parts.body)
    };
    for (name, extra, must) in [
        ("no colon", "abc\r\n", Must::Reject),
        ("no name", ": abc\r\n", Must::Reject),
        ("no value", "abc:\r\n", Must::Accept),
        ("folded", "abc: d\r\n e\r\n", Must::Reject),
        ("space before the colon", "abc : d\r\n", Must::Reject),
        ("second host", "host: y\r\n", Must::Reject),
        ("expects", "expect: 200-ok\r\n", Must::Choose),
        ("continues", "expect: 100-continue\r\n", Must::Accept),
        ("upgrade", "connection: upgrade\r\nupgrade: websocket\r\n", Must::Choose),
        (
            "h2c",
            "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
            Must::Choose,
        ),
        ("connection names the signature", "connection: x-linktree-signature\r\n", Must::Choose),
        (
            "forwarded",
            "x-forwarded-for: 127.0.0.1\r\nx-original-url: /metrics\r\nx-http-method-override: GET\r\n",
            Must::Accept,
        ),
    ] {
        maker.add(format!("header {name}"), must, lines(extra.into()));
    }
    for (count, must) in [(10, Must::Accept), (55, Must::Accept), (70, Must::Choose), (1000, Must::Choose)] {
        maker.add(format!("{count} headers more"), must, lines("a: b\r\n".repeat(count)));
    }
    for (length, must) in
        [(1_000, Must::Accept), (8_000, Must::Accept), (20_000, Must::Choose), (300_000, Must::Choose)]
    {
        maker.add(format!("a value of {length}"), must, lines(format!("a: {}\r\n", "x".repeat(length))));
        maker.add(format!("a name of {length}"), Must::Choose, lines(format!("{}: x\r\n", "a".repeat(length))));
    }
    for (name, host) in [("no host", ""), ("an odd host", "host: a b/c\r\n"), ("a user at the host", "host: u@x\r\n")] {
        maker.add(name, Must::Reject, |parts| parts.sized().replace("host: x\r\n", host));
    }
    maker.add("no host in HTTP/1.0", Must::Accept, |parts| {
        Parts { line: format!("POST {PATH} HTTP/1.0"), ..copy(parts) }.sized().replace("host: x\r\n", "")
    });
    for (name, old, new) in [
        ("an empty host", "host: x", "host:"),
        ("a host with a port", "host: x", "host: [::1]:8080"),
        ("bare LF everywhere", "\r\n", "\n"),
        ("one bare LF", "host: x\r\n", "host: x\n"),
        ("one bare CR", "host: x\r\n", "host: x\r"),
        ("LFCR", "host: x\r\n", "host: x\n\r"),
    ] {
        maker.add(name, Must::Choose, |parts| parts.sized().replace(old, new));
    }
    for (name, old, new) in [
        ("signature folded", "x-linktree-signature: ", "x-linktree-signature:\r\n "),
        ("signature behind a space", "x-linktree-signature: ", " x-linktree-signature: "),
        ("signature with a space before the colon", "x-linktree-signature:", "x-linktree-signature :"),
        ("timestamp folded", "x-linktree-timestamp: ", "x-linktree-timestamp:\r\n\t"),
        ("underscores", "x-linktree-signature", "x_linktree_signature"),
    ] {
        maker.add(name, Must::Reject, |parts| parts.sized().replace(old, new));
    }
}

fn encodings(maker: &mut Maker) {
    for encoding in ["gzip", "br", "deflate", "zstd", "x-gzip", "GZIP", "identity, gzip", "aes128gcm", "\"\"", "*"] {
        maker.add(format!("encoded {encoding}"), Must::Reject, |parts| {
            parts.framed(
                &format!("content-encoding: {encoding}\r\ncontent-length: {}\r\n", parts.body.len()),
                &parts.body,
            )
        });
    }
    maker.add_bytes("a gzip bomb", Must::Reject, |parts| {
        // A deflate stream that repeats one byte: 10 KiB that decompress to 10 MiB.
        let bomb = [b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xec\xc1\x01\x01".as_slice(), &[0; 10_000]].concat();
        let head = parts.framed(&format!("content-encoding: gzip\r\ncontent-length: {}\r\n", bomb.len()), "");
        [head.into_bytes(), bomb].concat()
    });
}

fn other_protocols(maker: &mut Maker) {
    let starts: [(&str, &[u8]); 8] = [
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        ("TLS", b"\x16\x03\x01\0\xc8\x01\0\0\xc4\x03\x03"),
        ("SSH", b"SSH-2.0-x\r\n"),
        ("SMTP", b"EHLO x\r\nMAIL FROM:<x>\r\n"),
        ("PROXY", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n"),
        ("Redis", b"*1\r\n$4\r\nPING\r\n"),
        ("NUL", &[0; 100]),
        ("0xff", &[0xff; 100]),
    ];
    for (name, bytes) in starts {
        maker.add_bytes(format!("{name} instead"), Must::Reject, |_| bytes.to_vec());
    }
    for byte in (0..=255u8).step_by(8) {
        maker.add_bytes(format!("first byte {byte:#04x}"), Must::Choose, |parts| {
            [&[byte], parts.sized().as_bytes()].concat()
        });
    }
}

fn pipelines(maker: &mut Maker) {
    maker.add("the same twice", Must::Accept, |parts| parts.sized().repeat(2));
    maker.add("the same twenty times", Must::Accept, |parts| parts.sized().repeat(20));
    maker.add("close, and one more", Must::Accept, |parts| {
        parts.framed(&format!("connection: close\r\ncontent-length: {}\r\n", parts.body.len()), &parts.body)
            + &smuggled(parts)
    });
    // Requests rejected before their body is read: the body must not count as a request.
    for (name, line, signed) in [
        ("unsigned", format!("POST {PATH} HTTP/1.1"), ""),
        ("badly signed", format!("POST {PATH} HTTP/1.1"), "x-linktree-signature: 1\r\nx-linktree-timestamp: 1\r\n"),
        ("elsewhere", "POST /other HTTP/1.1".to_owned(), ""),
        ("GET", format!("GET {PATH} HTTP/1.1"), ""),
        ("encoded", format!("POST {PATH} HTTP/1.1"), "content-encoding: gzip\r\n"),
    ] {
        for chunks in [false, true] {
            maker.add(format!("a request in the body, {name}, chunked: {chunks}"), Must::Reject, |parts| {
                let hidden = smuggled(parts);
                let parts = Parts { line: line.clone(), signed: signed.into(), body: hidden };
                if chunks {
                    parts.framed("transfer-encoding: chunked\r\n", &chunked(&parts.body))
                } else {
                    parts.sized()
                }
            });
        }
    }
}

fn copy(parts: &Parts) -> Parts {
    Parts { line: parts.line.clone(), signed: parts.signed.clone(), body: parts.body.clone() }
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

/// A complete delivery with the id `smuggled-…`, which counts only if it is parsed as a separate request.
fn smuggled(parts: &Parts) -> String {
    let body = format!("{{\"smuggled\":{:?}}}", parts.signed);
    let delivery = Delivery { id: "smuggled".into(), body, sent_at: super::deliveries::now() };
    String::from_utf8(delivery.request()).unwrap()
}
