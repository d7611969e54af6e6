//! Body framing: lengths, codings, both at once, chunks.

use super::{Maker, Must, Parts, chunked, copy, smuggled};
use crate::deliveries::PATH;

/// Makes something of a body.
type Framing = (&'static str, fn(&str) -> String);

pub(super) fn lengths(maker: &mut Maker) {
    let framed = |value: String| {
        move |parts: &Parts| {
            let value = value.replace("N", &parts.body.len().to_string());
            parts.framed(
                &value.split('|').map(|one| format!("content-length:{one}\r\n")).collect::<String>(),
                &parts.body,
            )
        }
    };
    for good in [" N", "N", "\tN", " N ", "  N\t"] {
        maker.add(format!("length {good:?}"), Must::Accept, framed(good.into()));
    }
    for choose in [" 0N", " 000N", " N| N", " N, N", " N,N"] {
        maker.add(format!("length {choose:?}"), Must::Choose, framed(choose.into()));
    }
    for bad in [
        " +N",
        " -N",
        " -1",
        " 0xN",
        " Nabc",
        " N.0",
        " Ne0",
        " N;",
        " N N",
        "",
        " ",
        " N| 7",
        " 7| N",
        " N, 7",
        " 7,N",
        " N,",
        " ,N",
        " \u{ff11}",
        " \u{661}",
        " \"N\"",
        " 99999999999999999999",
        " 18446744073709551615",
        " 18446744073709551616",
        " 9223372036854775808",
        " 262145",
        " 1000000000000",
        " N\0",
        " N\u{b}",
        " N\rx",
    ] {
        maker.add(format!("length {bad:?}"), Must::Reject, framed(bad.into()));
    }
    maker.add("no length", Must::Reject, |parts| parts.framed("", &parts.body));
    maker.add("length too short", Must::Reject, |parts| {
        parts.framed(&format!("content-length: {}\r\n", parts.body.len() - 9), &parts.body)
    });
    maker.add("length too long", Must::Reject, |parts| {
        parts.framed(&format!("content-length: {}\r\n", parts.body.len() + 1000), &parts.body)
    });
    for name in ["content-length ", " content-length", "content_length", "content-length\t", "content-length\0"] {
        maker.add(format!("named {name:?}"), Must::Reject, |parts| {
            parts.framed(&format!("{name}: {}\r\n", parts.body.len()), &parts.body)
        });
    }
}

pub(super) fn codings(maker: &mut Maker) {
    let coded = |lines: String| move |parts: &Parts| parts.framed(&lines, &chunked(&parts.body));
    for good in ["chunked", "Chunked", "CHUNKED", " chunked", "chunked ", "\tchunked\t"] {
        maker.add(format!("coding {good:?}"), Must::Accept, coded(format!("transfer-encoding: {good}\r\n")));
    }
    for bad in [
        "identity",
        "xchunked",
        "chunkedx",
        "gzip",
        "chunked, identity",
        "chunked, gzip",
        "\"chunked\"",
        "chunked;q=1",
        "chunked\u{b}",
        "chunked\0",
        "ch unked",
        "",
        "chun\u{212a}ed",
        "deflate, gzip",
    ] {
        maker.add(format!("coding {bad:?}"), Must::Reject, coded(format!("transfer-encoding: {bad}\r\n")));
    }
    for choose in ["gzip, chunked", "identity, chunked", "chunked, chunked", "chunked,", ",chunked"] {
        maker.add(format!("coding {choose:?}"), Must::Choose, coded(format!("transfer-encoding: {choose}\r\n")));
    }
    for (name, lines) in [
        ("space before the colon", "transfer-encoding : chunked\r\n"),
        ("folded", "transfer-encoding:\r\n chunked\r\n"),
        ("folded into", "x: y\r\n transfer-encoding: chunked\r\n"),
        ("underscore", "transfer_encoding: chunked\r\n"),
        ("behind a CR", "x: y\rtransfer-encoding: chunked\r\n"),
    ] {
        maker.add(format!("coding {name}"), Must::Reject, coded(lines.into()));
    }
    for (name, lines) in [
        ("twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
        ("then identity", "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n"),
        ("after identity", "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n"),
        ("behind an LF", "x: y\ntransfer-encoding: chunked\r\n"),
    ] {
        maker.add(format!("coding {name}"), Must::Choose, coded(lines.into()));
    }
    maker.add("coding in HTTP/1.0", Must::Reject, |parts| {
        Parts { line: format!("POST {PATH} HTTP/1.0"), ..copy(parts) }
            .framed("transfer-encoding: chunked\r\n", &chunked(&parts.body))
    });
}

/// Length and coding at once, with a second delivery that one of both interpretations parses as a request.
pub(super) fn both(maker: &mut Maker) {
    for (name, coding) in [
        ("chunked", "transfer-encoding: chunked\r\n"),
        ("Chunked", "Transfer-Encoding: Chunked\r\n"),
        ("x, chunked", "transfer-encoding: x, chunked\r\n"),
        ("xchunked", "transfer-encoding: xchunked\r\n"),
        ("identity", "transfer-encoding: identity\r\n"),
        ("space before the colon", "transfer-encoding : chunked\r\n"),
        ("VT", "transfer-encoding: \u{b}chunked\r\n"),
        ("twice", "transfer-encoding: chunked\r\ntransfer-encoding: x\r\n"),
    ] {
        for first in ["length", "coding"] {
            for what in ["all", "the first", "none"] {
                maker.add(format!("length of {what} and coding {name}, {first} first"), Must::Choose, |parts| {
                    let hidden = smuggled(parts);
                    let body = format!("{}{hidden}", chunked(&parts.body));
                    let length = match what {
                        "all" => body.len(),
                        "the first" => body.len() - hidden.len(),
                        _ => 0,
                    };
                    let length = format!("content-length: {length}\r\n");
                    let lines =
                        if first == "length" { format!("{length}{coding}") } else { format!("{coding}{length}") };
                    parts.framed(&lines, &body)
                });
            }
        }
    }
}

pub(super) fn chunks(maker: &mut Maker) {
    let coded = |make: fn(&str) -> String| {
        move |parts: &Parts| parts.framed("transfer-encoding: chunked\r\n", &make(&parts.body))
    };
    let good: [Framing; 7] = [
        ("in capitals", |body| format!("{:X}\r\n{body}\r\n0\r\n\r\n", body.len())),
        ("leading zeros", |body| format!("000{:x}\r\n{body}\r\n000\r\n\r\n", body.len())),
        ("extension", |body| format!("{:x};a=b\r\n{body}\r\n0;c\r\n\r\n", body.len())),
        ("quoted extension", |body| format!("{:x};a=\"b;c\"\r\n{body}\r\n0\r\n\r\n", body.len())),
        ("of one byte", |body| body.chars().map(|c| format!("1\r\n{c}\r\n")).collect::<String>() + "0\r\n\r\n"),
        ("trailer", |body| format!("{:x}\r\n{body}\r\n0\r\nx: y\r\n\r\n", body.len())),
        ("trailer that signs", |body| format!("{:x}\r\n{body}\r\n0\r\nx-linktree-signature: 0\r\n\r\n", body.len())),
    ];
    for (name, make) in good {
        maker.add(format!("chunk {name}"), Must::Accept, coded(make));
    }
    let bad: [Framing; 19] = [
        ("+", |body| format!("+{:x}\r\n{body}\r\n0\r\n\r\n", body.len())),
        ("-", |body| format!("-{:x}\r\n{body}\r\n0\r\n\r\n", body.len())),
        ("0x", |body| format!("0x{:x}\r\n{body}\r\n0\r\n\r\n", body.len())),
        ("decimal point", |body| format!("{:x}.0\r\n{body}\r\n0\r\n\r\n", body.len())),
        ("no size", |body| format!("\r\n{body}\r\n0\r\n\r\n")),
        ("not hex", |body| format!("g\r\n{body}\r\n0\r\n\r\n")),
        ("overflow", |body| format!("1{:016x}\r\n{body}\r\n0\r\n\r\n", body.len())),
        ("overflow by far", |body| format!("{}\r\n{body}\r\n0\r\n\r\n", "F".repeat(40))),
        ("too long", |body| format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len() + 1)),
        ("too short", |body| format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len() - 1)),
        ("ends in LF", |body| format!("{:x}\r\n{body}\n0\r\n\r\n", body.len())),
        ("ends in CR", |body| format!("{:x}\r\n{body}\r0\r\n\r\n", body.len())),
        ("ends in nothing", |body| format!("{:x}\r\n{body}0\r\n\r\n", body.len())),
        ("size ends in CR", |body| format!("{:x}\r{body}\r\n0\r\n\r\n", body.len())),
        ("LF in an extension", |body| format!("{:x};a\nb\r\n{body}\r\n0\r\n\r\n", body.len())),
        ("NUL in the size", |body| format!("{:x}\0\r\n{body}\r\n0\r\n\r\n", body.len())),
        ("unicode", |body| format!("{:x}\u{ff11}\r\n{body}\r\n0\r\n\r\n", body.len())),
        ("a comma", |body| format!("{:x},1\r\n{body}\r\n0\r\n\r\n", body.len())),
        ("never last", |body| format!("{:x}\r\n{body}\r\n", body.len())),
    ];
    for (name, make) in bad {
        maker.add(format!("chunk {name}"), Must::Reject, coded(make));
    }
    let choose: [Framing; 6] = [
        ("space before the size", |body| format!(" {:x}\r\n{body}\r\n0\r\n\r\n", body.len())),
        ("space after the size", |body| format!("{:x} \r\n{body}\r\n0\r\n\r\n", body.len())),
        ("size ends in LF", |body| format!("{:x}\n{body}\r\n0\r\n\r\n", body.len())),
        ("last ends in LF", |body| format!("{:x}\r\n{body}\r\n0\r\n\n", body.len())),
        ("extension of 20000", |body| format!("{:x};{}\r\n{body}\r\n0\r\n\r\n", body.len(), "x".repeat(20_000))),
        ("trailers of 40000", |body| {
            format!("{:x}\r\n{body}\r\n0\r\n{}\r\n", body.len(), "x: yyyyyyyyyyyyyyy\r\n".repeat(2_000))
        }),
    ];
    for (name, make) in choose {
        maker.add(format!("chunk {name}"), Must::Choose, coded(make));
    }
}
