//! Which sentence a refusal gets.

use super::*;

#[test]
fn a_rule_says_which_argument_breaks_which_limit() {
    for (rule, sentence) in [
        (
            Rule::close(abi::INVALID, 999, ""),
            "`code` is 999, wanted 1000 to 1003, 1007 to 1014 or 3000 to 4999, or 0 without a reason",
        ),
        (
            Rule::close(abi::INVALID, 0, "bye"),
            "`reason` has 3 bytes, wanted none with `code` 0",
        ),
        (
            Rule::close(abi::TOO_BIG, 1000, &"x".repeat(124)),
            "`reason` has 124 bytes, wanted at most 123",
        ),
        (
            Rule::ping(&[0; 126]),
            "`data` has 126 bytes, wanted at most 125",
        ),
        (
            Rule::topic(abi::INVALID, ""),
            "`topic` has 0 bytes, wanted 1 to 255 bytes without NUL",
        ),
        (
            Rule::topic(abi::TOO_BIG, &"x".repeat(256)),
            "`topic` has 256 bytes, wanted 1 to 255 bytes without NUL",
        ),
        (
            Rule::topic(abi::TOO_BIG, "tea"),
            "`topic` is one too many, wanted at most `topics_max` topics of one session",
        ),
        (
            Rule::publish(abi::INVALID, "a\0b", b""),
            "`topic` contains NUL, wanted 1 to 255 bytes without NUL",
        ),
        (
            Rule::topic(abi::UNSUPPORTED, "/news"),
            "`topic` is not for this handler, wanted the handler among the `handlers` in its table of `[topics]` in config.toml",
        ),
        (
            Rule::publish(abi::TOO_BIG, "tea", b"x"),
            "`message` is larger than its history may be, wanted at most `bytes` of the topic, and `history_bytes_max` in all",
        ),
        (
            Rule::publish_acked(abi::UNSUPPORTED, "tea", b"x"),
            "`topic` has no history, wanted a `history` in its table of `[topics]` in config.toml",
        ),
        (
            Rule::history("/news"),
            "`topic` has no history, or is not for this handler, wanted a `history`, and the handler among the `handlers`, in its table of `[topics]` in config.toml",
        ),
        (
            Rule::enter(abi::UNSUPPORTED, "tea", b"ann"),
            "`topic` may have no members, wanted no `presence = false` in its table of `[topics]` in config.toml",
        ),
        (
            Rule::publish(abi::UNSUPPORTED, "tea", b"x").or_unsupported(),
            "`call` is not known to this server, or not allowed to this handler, wanted a newer server, or another configuration",
        ),
        (
            Rule::message(abi::INVALID, b"x"),
            "`message` comes between the parts of another, wanted the last part of that one first, by `send_part`",
        ),
        (
            Rule::part(abi::INVALID, 1),
            "`part` is of another kind than the parts before it, wanted text or binary for all of a message",
        ),
        (
            Rule::message(abi::TOO_BIG, b"x"),
            "`message` has 1 bytes, wanted no more than `outbound_bytes_max` allows, with what waits for the peer",
        ),
        (
            Rule::watermark(7),
            "`low` is 7, wanted not more than `high`",
        ),
        (
            Rule::header(abi::INVALID, "X-A", b"a\nb"),
            "`value` contains a control character, wanted none but the tab",
        ),
        (
            Rule::header(abi::INVALID, "Upgrade", b"x"),
            "`name` is a header of the handshake itself, wanted any other",
        ),
        (
            Rule::header(abi::INVALID, "X A", b"x"),
            "`name` is no token, wanted a token (RFC 9110 §5.6.2)",
        ),
        (
            Rule::header(abi::TOO_BIG, "X-A", &[b'x'; 20_000]),
            "`value` has 20000 bytes, wanted at most 16 KiB in all header lines",
        ),
        (
            Rule::protocol(),
            "`name` was not offered, wanted a subprotocol that the client offers",
        ),
        (
            Rule::rejection(abi::INVALID, 200, b""),
            "`status` is 200, wanted 300 to 599",
        ),
    ] {
        assert_eq!(rule.to_string(), sentence);
    }
}
