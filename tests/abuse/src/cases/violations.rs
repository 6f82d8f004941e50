//! Each way to break the framing, and text that is none.

use crate::checks::{Checks, under_attack};
use crate::server::{Server, Setup};
use crate::wire::{CLOSE, FIN, Peer, TEXT, frame, header};
use crate::{Lab, Result};

/// Sends each violation to a session of its own.
pub(crate) fn framing(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    under_attack(&server, checks, |checks| {
        let all = violations();
        let mut others = Vec::new();
        for (what, bytes, wanted) in &all {
            let mut peer = Peer::open(server.port, "/echo")?;
            peer.send(bytes)?;
            let (code, closes) = peer.close_code()?;
            if code != *wanted || closes != 1 {
                others.push(format!(
                    "{what}: {code}, {closes} Close frames, wanted {wanted}"
                ));
            }
        }
        // A key of zeros breaks no rule.
        let mut peer = Peer::open(server.port, "/echo")?;
        let mut bytes = header(FIN | TEXT, 2, [0; 4]);
        bytes.extend_from_slice(b"hi");
        peer.send(&bytes)?;
        let echoed = peer.frame()?.is_some_and(|it| it.payload == b"hi");
        checks.holds(
            format!(
                "{} of {} violations get their code and one Close frame",
                all.len() - others.len(),
                all.len()
            ),
            others.is_empty(),
        );
        for other in others {
            checks.holds(other, false);
        }
        checks.holds("a key of zeros is taken".to_owned(), echoed);
        Ok(())
    })
}

/// What is sent, and the code that it gets.
fn violations() -> Vec<(String, Vec<u8>, u16)> {
    let mut all: Vec<(String, Vec<u8>, u16)> = Vec::new();
    let mut add = |what: String, bytes: Vec<u8>, code| all.push((what, bytes, code));
    add("an unmasked text".into(), b"\x81\x02hi".to_vec(), 1002);
    add(
        "an unmasked Close".into(),
        b"\x88\x02\x03\xe8".to_vec(),
        1002,
    );
    for bits in 1..8u8 {
        for opcode in [1, 2, 8, 9] {
            let first = FIN | bits << 4 | opcode;
            add(format!("first byte {first:#04x}"), frame(first, b""), 1002);
        }
    }
    for opcode in (3..=7).chain(0xb..=0xf) {
        add(
            format!("opcode {opcode:#x}"),
            frame(FIN | opcode, b"x"),
            1002,
        );
        add(
            format!("opcode {opcode:#x}, no FIN"),
            frame(opcode, b"x"),
            1002,
        );
    }
    for opcode in [8, 9, 10] {
        add(
            format!("opcode {opcode} in fragments"),
            frame(opcode, b""),
            1002,
        );
        add(
            format!("opcode {opcode} of 126 bytes"),
            frame(FIN | opcode, &[0; 126]),
            1002,
        );
        let mut long = header(FIN | opcode, u64::from(u32::MAX), [1; 4]);
        long.extend_from_slice(b"x");
        add(format!("opcode {opcode} of 4 GiB"), long, 1002);
    }
    add("a continuation of nothing".into(), frame(FIN, b"x"), 1002);
    let nested = [frame(TEXT, b"x"), frame(FIN | TEXT, b"y")].concat();
    add("a message in a message".into(), nested, 1002);
    let padded = b"\x81\xfe\x00\x01\0\0\0\0x".to_vec();
    add("a length in more bytes than it needs".into(), padded, 1002);
    let padded = b"\x81\xff\0\0\0\0\0\0\x00\x01\0\0\0\0x".to_vec();
    add("a length in many more bytes".into(), padded, 1002);
    add(
        "a Close of a byte".into(),
        frame(FIN | CLOSE, b"\x03"),
        1002,
    );
    let unusable = [0, 1, 500, 999, 1004, 1005, 1006, 1015, 5000, 65535];
    let reserved = (1016..=2999).step_by(97);
    for code in unusable.into_iter().chain(reserved) {
        let body = (code as u16).to_be_bytes();
        add(
            format!("a Close with {code}"),
            frame(FIN | CLOSE, &body),
            1002,
        );
    }
    add(
        "a reason that is no text".into(),
        frame(FIN | CLOSE, b"\x03\xe8\xc3\x28"),
        1007,
    );
    add(
        "a text that is none".into(),
        frame(FIN | TEXT, b"\xff"),
        1007,
    );
    all
}

/// Text with a wrong byte, cut in two at each byte; the second fragment is not the last.
pub(crate) fn invalid_text(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    under_attack(&server, checks, |checks| {
        let (mut sent, mut others) = (0, 0);
        for wrong in WRONG {
            let text = ["κόσμε".as_bytes(), wrong, b"more"].concat();
            for at in 0..=text.len() {
                let mut peer = Peer::open(server.port, "/echo")?;
                let parts = [frame(TEXT, &text[..at]), frame(0, &text[at..])];
                peer.send(&parts.concat())?;
                others += usize::from(peer.close_code()? != (1007, 1));
                sent += 1;
            }
        }
        checks.holds(
            format!("1007 {} times of {sent}", sent - others),
            others == 0,
        );
        Ok(())
    })
}

/// A byte that cannot begin, a pair cut short, a surrogate, more than Unicode has, two overlong forms.
const WRONG: [&[u8]; 7] = [
    b"\xff",
    b"\x80",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
];
