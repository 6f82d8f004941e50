//! An open WebSocket of `wshd connect`: sends the inputs, writes what comes, and closes as `conversation` says.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, interval_at, sleep_until, timeout};
use tungstenite::protocol::frame::coding::Control;
use wsh::close_codes::NO_STATUS;

use super::compression::Compressor;
use super::conversation::{Action, Event, Phase};
use super::frames::{Decoder, Received, ServerFault, put_control, put_message};
use super::input::Input;
use super::output::Output;
use super::socket::{Connection, Stream};
use crate::config::{CloseText, ConnectOptions};

/// One open WebSocket.
pub(super) struct Talk<'a> {
    options: &'a ConnectOptions,
    stream: Box<dyn Stream>,
    conversation: Conversation<'a>,
}

/// All of it but the connection.
struct Conversation<'a> {
    options: &'a ConnectOptions,
    phase: Phase,
    /// Since when the phase lasts, or the last message or byte went.
    since: Instant,
    decoder: Decoder,
    compressor: Option<Compressor>,
    output: Output,
    /// The bytes that are to be sent.
    unsent: Vec<u8>,
    /// How many of them there are up to the end of the last message.
    unsent_of_messages: usize,
    /// Whether the stream was given bytes that it may still have.
    is_unflushed: bool,
    /// How many messages have come.
    messages: u64,
    /// The Close frame that the client sends if it closes first.
    close: CloseText,
    /// The code of that frame, if it was sent.
    sent_code: Option<u16>,
    /// The Ping whose Pong has not come.
    ping: Option<(Vec<u8>, Instant)>,
    pings: u64,
    is_interactive: bool,
    /// The server's Close frame.
    received_close: Option<CloseText>,
    end: Option<End>,
}

/// How a conversation ended.
#[derive(Debug)]
pub(super) enum End {
    /// Both sides have sent a Close frame. `sent` is the code of the client's, if that was the first.
    Closed {
        sent: Option<u16>,
        received: CloseText,
    },
    /// The connection ended without a Close frame of the server.
    Lost,
    /// No Close frame answered the client's.
    Unanswered(Duration),
    Fault(ServerFault),
    /// Stdin could not be read on.
    Input(String),
    /// Stdout has not taken what came.
    Output(std::io::Error),
}

impl End {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            End::Closed { .. } if self.is_normal() => 0,
            End::Closed { .. } => CLOSED_OTHERWISE,
            End::Lost | End::Unanswered(_) | End::Fault(_) => BROKEN,
            End::Input(_) | End::Output(_) => STREAM_FAILED,
        }
    }

    /// What to say of it; `None` if all is well.
    pub(super) fn sentence(&self) -> Option<String> {
        match self {
            End::Closed { .. } if self.is_normal() => None,
            End::Closed { received, .. } => Some(format!("the server closed with {received}")),
            End::Lost => Some("the server ended the connection without a Close frame".to_owned()),
            End::Unanswered(limit) => Some(format!(
                "the server did not answer the Close frame within {} s",
                limit.as_secs_f64()
            )),
            End::Fault(fault @ ServerFault::TooBig) => {
                Some(format!("{fault}, which is too long for this client"))
            }
            End::Fault(fault) => Some(format!("the server breaks the protocol: {fault}")),
            End::Input(sentence) => Some(sentence.clone()),
            End::Output(error) => Some(format!("cannot write to stdout: {error}")),
        }
    }

    /// Whether the server closed without a code, with 1000, or with the code of the client.
    fn is_normal(&self) -> bool {
        match self {
            End::Closed { sent, received } => {
                matches!(received.code, 1000 | 1005) || *sent == Some(received.code)
            }
            _ => false,
        }
    }
}

impl<'a> Talk<'a> {
    pub(super) fn new(
        connection: Connection,
        options: &'a ConnectOptions,
        output: Output,
        is_interactive: bool,
    ) -> Talk<'a> {
        let (compressor, decompressor) = match connection.opened.compression {
            Some(agreed) => (agreed.compressor, Some(agreed.decompressor)),
            None => (None, None),
        };
        Talk {
            options,
            stream: connection.stream,
            conversation: Conversation {
                options,
                phase: Phase::Open,
                since: Instant::now(),
                decoder: Decoder::new(connection.early, decompressor),
                compressor,
                output,
                unsent: Vec::new(),
                unsent_of_messages: 0,
                is_unflushed: false,
                messages: 0,
                close: options.close.clone(),
                sent_code: None,
                ping: None,
                pings: 0,
                is_interactive,
                received_close: None,
                end: None,
            },
        }
    }

    /// Sends and receives to the end.
    pub(super) async fn run(self, mut inputs: mpsc::Receiver<Input>) -> End {
        let Talk {
            options,
            stream,
            mut conversation,
        } = self;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut pings = options.ping_interval.map(|every| {
            let first = Instant::now() + every;
            interval_at(first, every)
        });
        conversation.take_received();
        while conversation.phase != Phase::Over {
            conversation
                .turn(&mut reader, &mut writer, &mut inputs, pings.as_mut())
                .await;
        }
        // A Close frame with the code of a fault may wait. A server that does not read it has its own fault to look for.
        let last = async {
            writer.write_all(&conversation.unsent).await?;
            writer.shutdown().await
        };
        let _ = timeout(LAST_PATIENCE, last).await;
        conversation.end.unwrap_or(End::Lost)
    }
}

impl Conversation<'_> {
    /// Waits for one thing, and does what follows from it.
    async fn turn(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
        inputs: &mut mpsc::Receiver<Input>,
        pings: Option<&mut Interval>,
    ) {
        let deadline = self.deadline();
        let takes_input = self.phase == Phase::Open && self.unsent.len() < UNSENT_BYTES_MAX;
        let sends = !self.unsent.is_empty() || self.is_unflushed;
        let may_ping = matches!(self.phase, Phase::Open | Phase::Listening);
        // Reading and writing wait together: a server that waits for its answers to be read takes nothing more.
        tokio::select! {
            read = reader.read_buf(self.decoder.input()) => match read {
                Ok(1..) => self.take_received(),
                Ok(0) | Err(_) => self.happened(Event::Disconnected),
            },
            sent = send(writer, &self.unsent), if sends => match sent {
                Ok(sent) => {
                    self.is_unflushed = sent > 0;
                    self.unsent.drain(..sent);
                    self.messages_sent(sent);
                }
                // What the server has sent before can still be read.
                Err(_) => {
                    self.is_unflushed = false;
                    self.unsent.clear();
                    self.unsent_of_messages = 0;
                }
            },
            input = inputs.recv(), if takes_input => match input {
                Some(input) => self.take_input(input),
                None if self.is_interactive => self.happened(Event::CloseAsked),
                None => self.happened(Event::InputEnded),
            },
            () = until(deadline) => self.happened(Event::TimeOver),
            () = tick(pings), if may_ping => {
                self.pings += 1;
                self.send_ping(self.pings.to_string().into_bytes());
            }
        }
    }

    /// When the time of the phase is over, if it has any.
    fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open | Phase::Over => None,
            // Silence counts from the moment at which all messages are sent.
            Phase::Listening if self.unsent_of_messages > 0 => None,
            Phase::Listening => self.options.wait.map(|wait| self.since + wait),
            Phase::Closing => Some(self.since + self.options.timeout),
            Phase::Closed => Some(self.since + LAST_PATIENCE),
        }
    }

    /// Notes that so many bytes were written. Pings are no messages, and do not break the silence.
    fn messages_sent(&mut self, sent: usize) {
        if self.unsent_of_messages > 0 && self.phase == Phase::Listening {
            self.since = Instant::now();
        }
        self.unsent_of_messages = self.unsent_of_messages.saturating_sub(sent);
    }

    fn take_input(&mut self, input: Input) {
        match input {
            Input::Message(payload) => self.send_message(&payload),
            Input::Ping(payload) => self.send_ping(payload),
            Input::Close(close) => {
                self.close = close;
                self.happened(Event::CloseAsked);
            }
            Input::Tell(sentence) => super::tell(&sentence),
            Input::Failed(sentence) => {
                self.end = Some(End::Input(sentence));
                self.happened(Event::CloseAsked);
            }
        }
    }

    fn send_message(&mut self, payload: &[u8]) {
        let is_text = !self.options.is_binary;
        put_message(&mut self.unsent, is_text, payload, self.compressor.as_mut());
        self.unsent_of_messages = self.unsent.len();
        self.told(|output| output.sent("", is_text, payload));
    }

    fn send_ping(&mut self, payload: Vec<u8>) {
        put_control(&mut self.unsent, Control::Ping, &payload);
        self.told(|output| output.sent("ping", false, &[]));
        self.ping = Some((payload, Instant::now()));
    }

    fn send_close(&mut self, what: &str, code: u16, reason: &str) {
        let body = match code {
            NO_STATUS => Vec::new(),
            code => [&code.to_be_bytes(), reason.as_bytes()].concat(),
        };
        put_control(&mut self.unsent, Control::Close, &body);
        self.told(|output| output.sent(what, false, &[]));
    }

    /// Takes everything that has come whole.
    fn take_received(&mut self) {
        loop {
            match self.decoder.next() {
                Ok(None) => return,
                Ok(Some(received)) => self.take(received),
                Err(fault) => {
                    self.end = Some(End::Fault(fault));
                    return self.happened(Event::Fault);
                }
            }
            // Nothing counts behind a Close frame (RFC 6455 §5.5.1).
            if matches!(self.phase, Phase::Closed | Phase::Over) {
                return;
            }
        }
    }

    fn take(&mut self, received: Received) {
        let is_message = matches!(received, Received::Text(_) | Received::Binary(_));
        // More may come before the server answers the Close frame.
        if is_message && self.has_all() {
            return;
        }
        let is_answer = self.phase == Phase::Closing;
        self.told(|output| output.received(&received, is_answer));
        match received {
            Received::Text(_) | Received::Binary(_) => {
                self.messages += 1;
                if self.phase == Phase::Listening {
                    self.since = Instant::now();
                }
                if self.has_all() {
                    self.happened(Event::CloseAsked);
                }
            }
            Received::Ping(payload) => put_control(&mut self.unsent, Control::Pong, &payload),
            Received::Pong(payload) => {
                if let Some((_, sent)) = self.ping.take_if(|(ping, _)| *ping == payload) {
                    let millis = sent.elapsed().as_secs_f64() * 1_000.0;
                    super::tell(&format!("pong after {millis:.3} ms"));
                }
            }
            Received::Close { code, reason } => {
                self.received_close = Some(CloseText { code, reason });
                self.happened(Event::CloseReceived);
            }
        }
    }

    /// Whether as many messages have come as were asked for.
    fn has_all(&self) -> bool {
        let count = self.options.count;
        count.is_some_and(|count| self.messages >= count)
    }

    /// Writes to stdout. Where that fails, the conversation ends: well if the reader has gone, as it does in a pipe.
    fn told(&mut self, write: impl FnOnce(&mut Output) -> std::io::Result<()>) {
        if let Err(error) = write(&mut self.output) {
            if error.kind() != std::io::ErrorKind::BrokenPipe {
                self.ended(End::Output(error));
            }
            self.happened(Event::CloseAsked);
        }
    }

    /// Steps to the next phase, and does what it asks for.
    fn happened(&mut self, event: Event) {
        let before = self.phase;
        let (phase, action) = before.step(event);
        self.phase = phase;
        if phase != before {
            self.since = Instant::now();
        }
        match action {
            Action::Nothing => {}
            Action::SendClose => {
                let CloseText { code, reason } = self.close.clone();
                self.sent_code = Some(code);
                self.send_close("close", code, &reason);
            }
            Action::AnswerClose => {
                let code = self.received_close.as_ref().map_or(1000, |it| it.code);
                self.send_close("ack", code, "");
            }
            Action::SendFault => {
                if let Some(End::Fault(fault)) = self.end {
                    self.send_close("close", fault.close_code(), "");
                }
            }
            Action::Lost => self.ended(End::Lost),
            Action::Unanswered => self.ended(End::Unanswered(self.options.timeout)),
            Action::Leave => {
                if let Some(received) = self.received_close.clone() {
                    let sent = self.sent_code;
                    self.ended(End::Closed { sent, received });
                }
            }
        }
    }

    /// Keeps the end that was known first.
    fn ended(&mut self, end: End) {
        self.end.get_or_insert(end);
    }
}

/// Writes some of the bytes and answers how many. Without any, flushes: TLS keeps what the socket has not taken.
async fn send(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<usize> {
    match bytes {
        [] => writer.flush().await.map(|()| 0),
        bytes => writer.write(bytes).await,
    }
}

/// Waits for a time, or for ever.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits for the next tick, or for ever.
async fn tick(interval: Option<&mut Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// How much may wait to be sent before stdin is read on.
const UNSENT_BYTES_MAX: usize = 64 * 1024;
/// How long the server may take to end the connection after both Close frames.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// Stdin cannot be read, or stdout cannot be written.
const STREAM_FAILED: u8 = 1;
/// The server closed with another code than 1000 or the client's.
const CLOSED_OTHERWISE: u8 = 4;
/// The connection was lost, or the server broke the protocol.
const BROKEN: u8 = 5;
