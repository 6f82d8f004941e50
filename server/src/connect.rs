//! `wshd connect URL`: a WebSocket client for the command line.
//!
//! Lines of stdin are sent as messages, and messages that come are written to stdout. What is said about the
//! connection goes to stderr.

mod address;
mod compression;
mod conversation;
mod end;
mod frames;
mod handshake;
mod input;
mod output;
mod socket;
mod talk;
mod tls;

use std::io::{self, IsTerminal, Write};

use self::address::Address;
use self::end::End;
use self::output::Output;
use self::socket::ConnectError;
use self::talk::Talk;
use crate::config::ConnectOptions;

/// Connects, sends and receives until the WebSocket is closed. Answers the exit code.
pub fn run(options: &ConnectOptions) -> u8 {
    let address = match Address::parse(&options.url) {
        Ok(address) => address,
        Err(error) => return fail(WRONG_COMMAND_LINE, &error.to_string()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, &format!("cannot start: {error}")),
    };
    let output = match Output::new(options.is_transcript) {
        Ok(output) => output,
        Err(error) => return fail(FAILED, &format!("cannot start: {error}")),
    };
    let code = match runtime.block_on(connect(&address, options, output)) {
        Ok(end) => {
            if let Some(sentence) = end.sentence() {
                tell(&sentence);
            }
            end.exit_code()
        }
        Err(error) => {
            let code = match error {
                ConnectError::Answer { .. } => REFUSED,
                _ => FAILED,
            };
            fail(code, &error.to_string())
        }
    };
    // A name may still be looked up, and a thread may wait for stdin.
    runtime.shutdown_background();
    code
}

async fn connect(
    address: &Address,
    options: &ConnectOptions,
    output: Output,
) -> Result<End, ConnectError> {
    let connection = socket::open(address, options).await?;
    let is_interactive = options.messages.is_empty() && io::stdin().is_terminal();
    if is_interactive {
        tell(&connection.sentence(&options.url));
        tell("each line is sent; `/help` lists commands, Ctrl-D closes");
    }
    let inputs = input::start(options, is_interactive);
    let talk = Talk::new(connection, options, output, is_interactive);
    Ok(talk.run(inputs).await)
}

/// Writes a sentence to stderr.
fn tell(sentence: &str) {
    // It fails when the reader has gone.
    let _ = writeln!(io::stderr(), "wshd: {sentence}");
}

fn fail(code: u8, sentence: &str) -> u8 {
    tell(sentence);
    code
}

/// Fills a buffer with random bytes.
fn fill_random(buffer: &mut [u8]) {
    let filled = rustix::rand::getrandom(&mut *buffer, rustix::rand::GetRandomFlags::empty());
    // The system gives up to 256 bytes at once, once it has started.
    assert_eq!(filled, Ok(buffer.len()), "the system has random bytes");
}

/// It cannot connect, or cannot read stdin.
const FAILED: u8 = 1;
const WRONG_COMMAND_LINE: u8 = 2;
/// The opening handshake is refused.
const REFUSED: u8 = 3;
